//! Words and numbers of JSON that fit into one register or two: they are copied and checked as such, with no loop and no call.

/// All bytes the same.
const fn all(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Whether these bytes are ASCII that needs no escape. A word that is not may pass for one that is only in the other direction.
#[inline(always)]
fn is_plain(word: u64) -> bool {
    const ONES: u64 = all(1);
    const SPACES: u64 = all(b' ');
    const HIGHS: u64 = all(0x80);
    let quote = word ^ const { all(b'"') };
    let backslash = word ^ const { all(b'\\') };
    let marks =
        word | word.wrapping_sub(SPACES) | quote.wrapping_sub(ONES) | backslash.wrapping_sub(ONES);
    marks & HIGHS == 0
}

/// A word with letters behind its first `len` bytes.
#[inline(always)]
fn only(word: u64, len: usize) -> u64 {
    let behind = u64::MAX.checked_shl(8 * len as u32).unwrap_or(0);
    (word & !behind) | (const { all(b'a') } & behind)
}

/// Appends the first `len` of these bytes as a string, with its quotes. False, and nothing is appended, if they need more than that.
#[inline(always)]
pub(crate) fn push_plain(out: &mut Vec<u8>, window: &[u8; 16], len: usize) -> bool {
    // What stands behind them is another's, and passes for letters.
    let (halves, []) = window.as_chunks::<8>() else {
        return false;
    };
    let [low, high] = *halves else {
        return false;
    };
    let low = only(u64::from_le_bytes(low), len);
    let high = only(u64::from_le_bytes(high), len.saturating_sub(8));
    if !(is_plain(low) && is_plain(high)) {
        return false;
    }
    out.push(b'"');
    let start = out.len();
    // All of them, since their number is known here, and then no more than there are.
    out.extend_from_slice(window);
    out.truncate(start + len);
    out.push(b'"');
    true
}

/// Numbers below have at most eight digits.
const DIGITS_END: u32 = 100_000_000;

/// Appends the digits of a number below [`DIGITS_END`]. False, and nothing is appended, if it is not.
#[inline(always)]
pub(crate) fn push_digits(out: &mut Vec<u8>, n: u32) -> bool {
    if n < 10 {
        out.push(b'0' + n as u8);
        return true;
    }
    if n >= DIGITS_END {
        return false;
    }
    // Two halves of four digits, then four quarters of two, then eight digits, the first one in the lowest byte.
    let halves = u64::from(n / 10_000) | u64::from(n % 10_000) << 32;
    let hundreds = ((halves * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let quarters = hundreds | (halves - 100 * hundreds) << 16;
    let tens = ((quarters * 103) >> 10) & 0x000f_000f_000f_000f;
    let digits = tens | (quarters - 10 * tens) << 8;
    let zeros = digits.trailing_zeros() / 8;
    let text = (digits | const { all(b'0') }) >> (8 * zeros);
    let start = out.len();
    out.extend_from_slice(&text.to_le_bytes());
    out.truncate(start + 8 - zeros as usize);
    true
}

/// Appends a number of at most two places, as prices are. False, and nothing is appended, if it is another, or long.
#[inline(always)]
pub(crate) fn push_cents(out: &mut Vec<u8>, v: f64) -> bool {
    const END: f64 = (DIGITS_END / 100) as f64;
    // Not below 0, nor -0.0.
    if v.is_sign_negative() || v >= END {
        return false;
    }
    // Of all numbers with so few digits one at most is read as this float: if one is, there is no shorter text.
    let cents = (v * 100.0 + 0.5) as u32;
    if f64::from(cents) / 100.0 != v {
        return false;
    }
    push_digits(out, cents / 100);
    let [tens, ones] = [cents / 10 % 10, cents % 10].map(|digit| b'0' + digit as u8);
    out.extend_from_slice(&[b'.', tens, ones]);
    if ones == b'0' {
        out.pop();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_number() {
        let around = |n: u32| n.saturating_sub(2)..=n.saturating_add(2);
        let powers = (0..8).flat_map(|e| around(10_u32.pow(e)));
        let (first, step) = if cfg!(miri) {
            (120, 999_983)
        } else {
            (20_000, 4_999)
        };
        let steps = (0..DIGITS_END).step_by(step);
        let all = (0..first)
            .chain(powers)
            .chain(steps)
            .chain([DIGITS_END - 1]);
        for n in all {
            let mut out = b"-".to_vec();
            assert!(push_digits(&mut out, n));
            assert_eq!(out, format!("-{n}").into_bytes());
        }
        for n in [DIGITS_END, u32::MAX] {
            let mut out = Vec::new();
            assert!(!push_digits(&mut out, n) && out.is_empty());
        }
    }

    #[test]
    fn prices_are_written_as_any_float() {
        let check = |v: f64| {
            let (mut short, mut any) = (Vec::new(), Vec::new());
            let is_taken = push_cents(&mut short, v);
            sockeye_json::text::push_f64(&mut any, v);
            assert_eq!(short, if is_taken { any } else { Vec::new() }, "{v}");
            is_taken
        };
        let (first, step) = if cfg!(miri) {
            (120, 999_983)
        } else {
            (30_000, 997)
        };
        let all = (0..first).chain((0..DIGITS_END).step_by(step));
        for cents in all.chain([DIGITS_END - 1]) {
            let v = f64::from(cents) / 100.0;
            assert!(check(v));
            assert!(!check(v.next_up()) && (cents == 0 || !check(v.next_down())));
            assert!(!check(-v) && !check(v + 0.001));
        }
        for v in [1e6, 1e9, 1e300, f64::MIN_POSITIVE, -0.0] {
            assert!(!check(v), "{v}");
        }
    }

    /// What one byte at one place does, in words of every length, and what stands behind them.
    #[test]
    fn only_what_needs_no_escape_is_taken() {
        for len in 0..=16 {
            for place in 0..16 {
                for byte in (0..=255).step_by(if cfg!(miri) { 17 } else { 1 }) {
                    let mut window = *b"abcdefghijklmnop";
                    window[place] = byte;
                    let mut out = b"-".to_vec();
                    let is_taken = push_plain(&mut out, &window, len);
                    let is_plain =
                        matches!(byte, b' '..=b'~' | 0x7f) && !matches!(byte, b'"' | b'\\');
                    let expected = match is_taken {
                        true => [b"-\"", &window[..len], b"\""].concat(),
                        false => b"-".to_vec(),
                    };
                    assert_eq!(out, expected);
                    assert_eq!(is_taken, place >= len || is_plain, "{len} {place} {byte}");
                }
            }
        }
    }
}
