//! Where a string of JSON stops to be plain, without a step for each byte.

/// Most strings end within so many bytes; what is longer is looked at in larger blocks.
const SHORT: usize = 32;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// How many bytes from the start are neither `"`, `\` nor below U+0020.
#[inline]
pub(crate) fn plain_len(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    let mut len = 0;
    for word in words.iter().take(SHORT / 8) {
        let marks = marks(u64::from_le_bytes(*word));
        if marks != 0 {
            return len + (marks.trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    if len == SHORT {
        return len + long_plain_len(bytes.get(len..).unwrap_or_default());
    }
    len + tail.iter().take_while(|b| is_plain(**b)).count()
}

/// High bits mark the bytes that are not plain; a borrow can mark too much only above the first true one.
#[inline]
fn marks(w: u64) -> u64 {
    let quote = w ^ (ONES * 0x22);
    let backslash = w ^ (ONES * 0x5c);
    let marks = (w.wrapping_sub(ONES * 0x20) & !w)
        | (quote.wrapping_sub(ONES) & !quote)
        | (backslash.wrapping_sub(ONES) & !backslash);
    marks & HIGHS
}

#[inline]
fn is_plain(b: u8) -> bool {
    b >= 0x20 && b != b'"' && b != b'\\'
}

/// Whether a block is plain is a question for which the compiler has instructions; where it is not, words say.
#[inline(never)]
fn long_plain_len(bytes: &[u8]) -> usize {
    let (blocks, _) = bytes.as_chunks::<SHORT>();
    let is_plain_block =
        |block: &&[u8; SHORT]| block.iter().fold(true, |all, b| all & is_plain(*b));
    let len = blocks.iter().take_while(is_plain_block).count() * SHORT;
    let (words, tail) = bytes.get(len..).unwrap_or_default().as_chunks::<8>();
    let mut len = len;
    for word in words {
        let marks = marks(u64::from_le_bytes(*word));
        if marks != 0 {
            return len + (marks.trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    len + tail.iter().take_while(|b| is_plain(**b)).count()
}
