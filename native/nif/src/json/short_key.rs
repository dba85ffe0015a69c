//! Keys that are short enough to be compared as words.

/// A key of at most 32 bytes: all of them in words that may overlap, and their number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct ShortKey {
    words: [u64; 4],
    len: u8,
}

impl ShortKey {
    pub(super) const EMPTY: ShortKey = ShortKey {
        words: [0; 4],
        len: 0,
    };

    /// One byte of it.
    #[inline]
    pub(super) fn hash(self) -> usize {
        let [head, tail, second, third] = self.words;
        let folded = head
            ^ tail.rotate_left(29)
            ^ second.rotate_left(13)
            ^ third.rotate_left(47)
            ^ u64::from(self.len);
        (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize
    }
}

/// None beyond 32 bytes. Read in whole words: a copy of a few bytes, read as one, makes the
/// processor wait for its own writing.
#[inline]
pub(super) fn short(key: &str) -> Option<ShortKey> {
    let bytes = key.as_bytes();
    let len = u8::try_from(bytes.len()).ok().filter(|len| *len <= 32)?;
    let words = match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(head), Some(tail)) => {
            let (head, tail) = (u64::from_le_bytes(*head), u64::from_le_bytes(*tail));
            match (bytes.first_chunk::<16>(), bytes.last_chunk::<16>()) {
                (Some(first), Some(last)) => {
                    let words = |chunk: &[u8; 16]| u128::from_le_bytes(*chunk);
                    [head, tail, (words(first) >> 64) as u64, words(last) as u64]
                }
                _ => [head, tail, 0, 0],
            }
        }
        _ => match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
            (Some(head), Some(tail)) => {
                let word = |chunk: &[u8; 4]| u64::from(u32::from_le_bytes(*chunk));
                [word(head), word(tail), 0, 0]
            }
            _ => {
                let at = |i: usize| u64::from(bytes.get(i).copied().unwrap_or_default());
                [at(0) | at(1) << 8 | at(2) << 16, 0, 0, 0]
            }
        },
    };
    Some(ShortKey { words, len })
}
