//! How much work a text will be, before it is parsed.

/// The most separators and brackets of a light text. The terms of a text cost what it has of these, its strings next to
/// nothing: some 15 to 35 ns each, but for keys that did not come before.
const MAX_MARKS: usize = 12_000;

/// A run of twice as many digits has a block of them. Numbers are converted in quadratic time.
const BLOCK: usize = 128;

/// Whether a text is less work than its length could be: it has few separators, and no long numbers.
///
/// ```
/// assert!(sockeye_json::is_light(br#"{"name":"Ada"}"#));
/// assert!(!sockeye_json::is_light("{},".repeat(6_001).as_bytes()));
/// assert!(!sockeye_json::is_light("1".repeat(255).as_bytes()));
/// ```
pub fn is_light(text: &[u8]) -> bool {
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    let mut marks = count(rest, is_mark);
    for block in blocks {
        marks += count(block, is_mark);
        if count(block, |byte| byte.is_ascii_digit()) == BLOCK {
            return false;
        }
    }
    marks <= MAX_MARKS
}

#[inline]
fn is_mark(byte: u8) -> bool {
    // One bit is between `[` and `{`.
    byte == b',' || byte == b':' || byte | 0x20 == b'{'
}

/// Of a block or less: sums of bytes are what the compiler turns into vector instructions.
#[inline]
fn count(bytes: &[u8], counts: impl Fn(u8) -> bool) -> usize {
    let sum: u8 = bytes.iter().map(|byte| u8::from(counts(*byte))).sum();
    usize::from(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_at_the_bound() {
        // A megabyte in all, which takes Miri minutes.
        let large = if cfg!(miri) { 2 * MAX_MARKS } else { 64 * 1024 };
        let marks = if cfg!(miri) {
            &[","][..]
        } else {
            &[",", ":", "[", "{"]
        };
        for mark in marks {
            for size in [MAX_MARKS, large] {
                let text = |marks: usize| mark.repeat(marks) + &"x".repeat(size - marks);
                assert!(is_light(text(MAX_MARKS - 1).as_bytes()), "{mark}");
                assert!(is_light(text(MAX_MARKS).as_bytes()), "{mark}");
            }
            let over = mark.repeat(MAX_MARKS + 1);
            assert!(!is_light(over.as_bytes()), "{mark}");
            let spread = format!("{mark}xyz").repeat(MAX_MARKS + 1);
            assert!(!is_light(spread.as_bytes()), "{mark}");
        }
        let others = ["]", "\u{e9}", "}", ";", "\u{7f}", "z", "\""];
        for other in if cfg!(miri) { &others[..2] } else { &others } {
            assert!(is_light(other.repeat(MAX_MARKS + 1).as_bytes()), "{other}");
        }
    }

    #[test]
    fn long_numbers_anywhere() {
        for before in (0..2 * BLOCK).step_by(if cfg!(miri) { 7 } else { 1 }) {
            let at = |digits: usize| " ".repeat(before) + &"7".repeat(digits) + " ";
            assert!(is_light(at(BLOCK - 1).as_bytes()), "{before}");
            assert!(!is_light(at(2 * BLOCK - 1).as_bytes()), "{before}");
        }
        for other in ["/", ":", "7/", "7.", "7e"] {
            assert!(is_light(other.repeat(BLOCK).as_bytes()), "{other}");
        }
    }
}
