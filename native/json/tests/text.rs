//! The pieces of JSON text, held against a parser that is not ours.

use proptest::prelude::*;
use sockeye_json::text::{push_big, push_bytes, push_f64, push_i64, push_string, push_u64};

#[cfg(test)]
fn written(push: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = b"#".to_vec();
    push(&mut out);
    String::from_utf8(out).unwrap()[1..].to_owned()
}

fn string(s: &str) -> String {
    let text = written(|out| push_string(out, s));
    assert_eq!(
        written(|out| assert!(push_bytes(out, s.as_bytes()))),
        text,
        "both writers agree"
    );
    text
}

#[test]
fn bytes_that_are_no_text_leave_nothing() {
    for place in 0..20 {
        let mut bytes = vec![b'a'; 20];
        bytes[place] = 0xff;
        assert_eq!(written(|out| assert!(!push_bytes(out, &bytes))), "");
    }
}

#[test]
fn escapes() {
    assert_eq!(string(""), r#""""#);
    assert_eq!(string("a/b é€𝄞 \u{7f}"), "\"a/b é€𝄞 \u{7f}\"");
    assert_eq!(string("\"\\"), r#""\"\\""#);
    assert_eq!(
        string("\u{8}\t\n\u{c}\r\0\u{1f}"),
        r#""\b\t\n\f\r\u0000\u001f""#
    );
}

/// At every place of the words that the scan takes at a time, beside every neighbour.
#[test]
fn each_byte_at_each_place() {
    // Miri needs minutes for all of them.
    let (bytes, places) = if cfg!(miri) { (29, 8) } else { (1, 1) };
    for b in (0..128u8).step_by(bytes) {
        for neighbour in ["a", "!", "#", "[", "]", " ", "\u{1f}", "\u{80}", "ÿ", "\""] {
            for before in (0..17).step_by(places) {
                let plain = format!(
                    "{}{}{}",
                    neighbour.repeat(before),
                    char::from(b),
                    neighbour.repeat(9)
                );
                let text = string(&plain);
                let inner = &text[1..text.len() - 1];
                assert!(inner.bytes().all(|b| b >= 0x20));
                let back: String = serde_json::from_str(&text).unwrap();
                assert_eq!(back, plain);
            }
        }
    }
}

#[test]
fn floats() {
    for (v, text) in [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (0.1, "0.1"),
        (f64::NAN, "null"),
        (f64::INFINITY, "null"),
        (f64::NEG_INFINITY, "null"),
    ] {
        assert_eq!(written(|out| push_f64(out, v)), text);
    }
    // A float must come back as one, whatever its size.
    for v in [1e21, 1e22, 1e100, f64::MAX, 9007199254740992.0, 1e15, 1e16] {
        let text = written(|out| push_f64(out, v));
        assert!(text.contains(['.', 'e']), "{text}");
    }
}

#[test]
fn integers_at_the_ends() {
    assert_eq!(
        written(|out| push_i64(out, i64::MIN)),
        "-9223372036854775808"
    );
    assert_eq!(
        written(|out| push_u64(out, u64::MAX)),
        "18446744073709551615"
    );
}

#[test]
fn big_zero_has_no_sign() {
    for magnitude in [&[][..], &[0], &[0, 0, 0, 0, 0]] {
        assert_eq!(written(|out| push_big(out, true, magnitude)), "0");
    }
}

#[test]
fn powers_of_ten() {
    // 10^n by multiplying by ten, byte by byte.
    let mut magnitude = vec![1u8];
    for n in 1..if cfg!(miri) { 60 } else { 400 } {
        let mut carry = 0;
        for b in &mut magnitude {
            let wide = u32::from(*b) * 10 + carry;
            *b = wide as u8;
            carry = wide >> 8;
        }
        if carry > 0 {
            magnitude.push(carry as u8);
        }
        let text = written(|out| push_big(out, false, &magnitude));
        assert_eq!(text, format!("1{}", "0".repeat(n)));
    }
}

proptest! {
    #[test]
    fn strings_round_trip(s in any::<String>()) {
        prop_assert_eq!(serde_json::from_str::<String>(&string(&s)).unwrap(), s);
    }

    #[test]
    fn floats_round_trip(bits in any::<u64>()) {
        let v = f64::from_bits(bits);
        prop_assume!(v.is_finite());
        let text = written(|out| push_f64(out, v));
        prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), bits);
        // Not longer than the standard library's shortest.
        let digits = |s: &str| s.bytes().filter(u8::is_ascii_digit).count();
        let shortest = format!("{v:e}");
        let mantissa = |s: &str| s.split('e').next().map(str::to_owned).unwrap_or_default();
        let ours = mantissa(&text);
        let ours = ours.trim_matches(['-', '0', '.']).trim_start_matches(['0', '.']);
        prop_assert!(digits(ours.trim_end_matches('0')) <= digits(&mantissa(&shortest)).max(1));
    }

    #[test]
    fn integers_round_trip(i in any::<i64>(), u in any::<u64>(), n in any::<i128>()) {
        prop_assert_eq!(written(|out| push_i64(out, i)), i.to_string());
        prop_assert_eq!(written(|out| push_u64(out, u)), u.to_string());
        let magnitude = n.unsigned_abs().to_le_bytes();
        prop_assert_eq!(written(|out| push_big(out, n < 0, &magnitude)), n.to_string());
    }
}

/// Every byte at every place of a short string: words overlap where the length is no multiple.
#[test]
fn one_odd_byte() {
    let (lens, bytes) = if cfg!(miri) { (8, 31) } else { (1, 1) };
    for len in (1..=25).step_by(lens) {
        for at in 0..len {
            for byte in (0..=127u8).step_by(bytes) {
                let mut text = vec![b'x'; len];
                text[at] = byte;
                let text = String::from_utf8(text).unwrap();
                let mut out = Vec::new();
                assert!(push_bytes(&mut out, text.as_bytes()));
                let mut want = Vec::new();
                push_string(&mut want, &text);
                assert_eq!(out, want);
                let escaped = out.len() > len + 2;
                assert_eq!(escaped, byte < 0x20 || byte == b'"' || byte == b'\\');
            }
            let mut text = vec![b'x'; len];
            text[at] = 0xff;
            assert!(!push_bytes(&mut Vec::new(), &text));
        }
    }
}
