//! The pieces of JSON text. Each function appends one value.

use crate::bigint;

/// Appends a string with its quotes.
///
/// Escapes `"`, `\` and control characters below U+0020; everything else is left as UTF-8.
///
/// ```
/// let mut out = Vec::new();
/// sockeye_json::text::push_string(&mut out, "a\"b\n");
/// assert_eq!(out, br#""a\"b\n""#);
/// ```
pub fn push_string(out: &mut Vec<u8>, s: &str) {
    let mut rest = s.as_bytes();
    out.reserve(rest.len() + 2);
    out.push(b'"');
    loop {
        let (plain, tail) = rest.split_at(plain_len(rest));
        out.extend_from_slice(plain);
        let [b, tail @ ..] = tail else { break };
        push_escape(out, *b);
        rest = tail;
    }
    out.push(b'"');
}

/// As [`push_string`], for bytes that may not be UTF-8. False, and nothing is appended, if they
/// are not.
///
/// Plain ASCII, which most keys and words are, is checked and scanned in one pass.
///
/// ```
/// let mut out = Vec::new();
/// assert!(sockeye_json::text::push_bytes(&mut out, b"plain"));
/// assert!(!sockeye_json::text::push_bytes(&mut out, b"\xff"));
/// assert_eq!(out, br#""plain""#);
/// ```
#[inline]
pub fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    if is_plain_ascii(bytes) {
        out.reserve(bytes.len() + 2);
        out.push(b'"');
        out.extend_from_slice(bytes);
        out.push(b'"');
        return true;
    }
    let Ok(s) = simdutf8::basic::from_utf8(bytes) else {
        return false;
    };
    push_string(out, s);
    true
}

/// Whether these bytes are ASCII that needs no escape.
#[inline]
fn is_plain_ascii(bytes: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let marks = |w: u64| {
        let quote = w ^ (ONES * 0x22);
        let backslash = w ^ (ONES * 0x5c);
        w | w.wrapping_sub(ONES * 0x20) | quote.wrapping_sub(ONES) | backslash.wrapping_sub(ONES)
    };
    // A byte with its high bit set is no ASCII; of the others, a subtraction that borrows marks
    // one that needs an escape. What a borrow marks too much lies above a true mark.
    let plain = |w: u64| marks(w) & HIGHS == 0;
    // What is no whole word is looked at in words that overlap.
    if let Some(last) = bytes.last_chunk::<8>() {
        let (words, _) = bytes.as_chunks::<8>();
        return words.iter().all(|word| plain(u64::from_le_bytes(*word)))
            && plain(u64::from_le_bytes(*last));
    }
    plain(short_word(bytes))
}

/// All of less than eight bytes, in any order and number, and letters.
#[inline]
fn short_word(bytes: &[u8]) -> u64 {
    match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
        }
        _ => {
            let at = |i: usize| bytes.get(i).copied().unwrap_or(b'a');
            u64::from_le_bytes([at(0), at(1), at(2), b'a', b'a', b'a', b'a', b'a'])
        }
    }
}

/// How many bytes from the start need no escape.
#[inline]
fn plain_len(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let (words, tail) = bytes.as_chunks::<8>();
    let mut len = 0;
    for word in words {
        let w = u64::from_le_bytes(*word);
        let quote = w ^ (ONES * 0x22);
        let backslash = w ^ (ONES * 0x5c);
        // High bits mark the bytes below 0x20 or equal to one of the two; a borrow can mark too
        // much only above the first true one.
        let marks = (w.wrapping_sub(ONES * 0x20) & !w)
            | (quote.wrapping_sub(ONES) & !quote)
            | (backslash.wrapping_sub(ONES) & !backslash);
        let marks = marks & HIGHS;
        if marks != 0 {
            return len + (marks.trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    len + tail
        .iter()
        .position(|&b| b < 0x20 || b == b'"' || b == b'\\')
        .unwrap_or(tail.len())
}

#[cold]
fn push_escape(out: &mut Vec<u8>, b: u8) {
    let short = match b {
        b'"' | b'\\' => b,
        0x08 => b'b',
        0x09 => b't',
        0x0a => b'n',
        0x0c => b'f',
        0x0d => b'r',
        _ => {
            let hex = |n: u8| if n < 10 { b'0' + n } else { b'a' - 10 + n };
            return out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(b >> 4), hex(b & 15)]);
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Appends a signed integer.
#[inline]
pub fn push_i64(out: &mut Vec<u8>, n: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

/// Appends an unsigned integer.
#[inline]
pub fn push_u64(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

/// Appends the shortest text that reads back as the same float, with a `.` or an exponent so that
/// it stays a float. JSON has no infinities and no NaN: these become `null`.
#[inline]
pub fn push_f64(out: &mut Vec<u8>, v: f64) {
    if v.is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(v).as_bytes());
    } else {
        out.extend_from_slice(b"null");
    }
}

/// Appends an integer of any size, given as sign and little-endian magnitude (as the external term
/// format has it). Takes time quadratic in the length: keep to
/// [`MAX_DIGITS`](crate::MAX_DIGITS) digits.
///
/// ```
/// let mut out = Vec::new();
/// sockeye_json::text::push_big(&mut out, true, &[0, 0, 0, 0, 0, 0, 0, 0, 1]);
/// assert_eq!(out, b"-18446744073709551616");
/// ```
pub fn push_big(out: &mut Vec<u8>, negative: bool, magnitude: &[u8]) {
    if negative && magnitude.iter().any(|b| *b != 0) {
        out.push(b'-');
    }
    bigint::push_decimal(out, magnitude);
}

#[cfg(test)]
mod tests {
    use super::{is_plain_ascii, plain_len};

    /// Each byte at each place of each length up to three words. What is taken for plain and is not would be seen in the text; what
    /// is not and could be would only be slow.
    #[test]
    fn scans_find_what_is_escaped_and_nothing_else() {
        // Miri takes half an hour for all bytes: those around each bound there.
        let bounds = [
            0, 0x1f, 0x20, b'!', b'"', b'#', b'[', b'\\', b']', 0x7f, 0x80, 0xff,
        ];
        let all: Vec<u8> = (0..=255).collect();
        let some = if cfg!(miri) { &bounds[..] } else { &all };
        for len in 1..=25 {
            for at in 0..len {
                for &byte in some {
                    let mut bytes = vec![b'x'; len];
                    bytes[at] = byte;
                    let escaped = byte < 0x20 || byte == b'"' || byte == b'\\';
                    assert_eq!(
                        is_plain_ascii(&bytes),
                        byte.is_ascii() && !escaped,
                        "{bytes:x?}"
                    );
                    assert_eq!(
                        plain_len(&bytes),
                        if escaped { at } else { len },
                        "{bytes:x?}"
                    );
                }
            }
        }
        assert!(is_plain_ascii(b""));
    }
}
