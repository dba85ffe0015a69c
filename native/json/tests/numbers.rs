//! Numbers: exact integers of any length, floats, their limits, and where errors beside them are.

#[cfg(test)]
mod support;

use sockeye_json::{
    BinaryKeys, Duplicates, Error, ErrorKind, MAX_DIGITS, Options, decimal_etf, decode,
};
use support::{Term, bin, err, float, int, list, ok, read};
#[test]
fn integers_are_exact_around_every_boundary() {
    for bits in [7, 8, 15, 16, 31, 32, 53, 62, 63, 64, 65, 126] {
        for d in [-2, -1, 0, 1, 2] {
            let n = (1i128 << bits) + d;
            for n in [n, -n] {
                assert_eq!(ok(n.to_string()), int(n));
            }
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "it takes minutes there")]
fn integers_of_hundreds_of_digits() {
    // 2040 bits is where the small form of the external format ends; 309 digits is where the
    // parser gives up.
    for digits in [19, 20, 38, 39, 307, 308, 309, 310, 613, 614, 615, 616, 5000] {
        for digit in ["1", "9"] {
            let n = digit.repeat(digits);
            let text = format!("[0,-{n},0,0.5,{n},\"{n}\",-0]");
            let want = list([
                int(0),
                int(format!("-{n}")),
                int(0),
                float(0.5),
                int(&n),
                bin(&n),
                int(0),
            ]);
            assert_eq!(ok(text), want);
        }
    }
}

#[test]
fn big_integers_are_found_among_other_tokens() {
    let n = "123456789012345678901234567890";
    let text = format!(r#"{{"1":["2\"3",4.5e300,{n},"\\",-{n},1e19,-0,-0.0],"{n}":{n}}}"#);
    let elements = [
        bin("2\"3"),
        float(4.5e300),
        int(n),
        bin("\\"),
        int(format!("-{n}")),
        float(1e19),
        int(0),
        float(-0.0),
    ];
    let want = Term::Map(vec![(bin("1"), list(elements)), (bin(n), int(n))]);
    assert_eq!(ok(text), want);
}

#[test]
fn zero_has_a_sign_only_as_a_float() {
    assert_eq!(
        ok("[0,-0,0.0,-0.0,-0e0]"),
        list([int(0), int(0), float(0.0), float(-0.0), float(-0.0)])
    );
}

#[test]
#[cfg_attr(miri, ignore = "it takes minutes there")]
fn limit_of_digits() {
    // Not read back: the reader's division would take seconds.
    let mut out = vec![];
    let longest = "7".repeat(MAX_DIGITS);
    let options = Options::default();
    decode(
        longest.as_bytes(),
        &options,
        &mut BinaryKeys,
        Duplicates::Assume,
        &mut out,
    )
    .unwrap();
    assert_eq!(out[..6], [131, 111, 0, 0, 0x6a, 0x4e]);
    let text = format!("[1, {}]", "7".repeat(MAX_DIGITS + 1));
    let want = Error {
        kind: ErrorKind::NumberRange,
        offset: 4,
    };
    assert_eq!(err(text), want);
}

#[test]
fn floats_out_of_range() {
    assert_eq!(ok("1.7976931348623157e308"), float(f64::MAX));
    assert_eq!(ok("5e-324"), float(5e-324));
    assert_eq!(ok("1e-400"), float(0.0));
    for text in ["1e400", "-1e400", "1.8e308", "[1,2,1e999]"] {
        assert_eq!(err(text).kind, ErrorKind::NumberRange, "{text}");
    }
    // A long integer before it does not hide it.
    let text = format!("[{},1e400]", "1".repeat(400));
    assert_eq!(err(text).kind, ErrorKind::NumberRange);
}

#[test]
fn floats_are_the_nearest() {
    for v in [0.1, 1.1e-7, 9007199254740993.0, 2.2250738585072014e-308] {
        assert_eq!(ok(format!("{v:e}")), float(v));
    }
    // Halfway cases and more digits than a double has.
    assert_eq!(ok("9007199254740993.0"), float(9007199254740992.0));
    assert_eq!(
        ok("9007199254740993.00000000000000000000000000000000001"),
        float(9007199254740994.0)
    );
    assert_eq!(
        ok("1.3074447714446715e-106"),
        float(1.3074447714446715e-106)
    );
}

#[test]
fn offsets_after_long_integers() {
    let long = "1".repeat(400);
    let text = format!("[{long},\n{long},x]");
    let want = Error {
        kind: ErrorKind::Syntax,
        offset: 804,
    };
    assert_eq!(err(&text), Error { ..want });
    assert_eq!(text.as_bytes()[want.offset], b'x');
}

/// At the place of a long integer itself, and before one that is too long.
#[test]
fn errors_at_and_before_long_integers() {
    let long = "1".repeat(400);
    let error = |text: String| {
        let error = err(text);
        (error.kind, error.offset)
    };
    assert_eq!(error(format!("[{long} {long}]")), (ErrorKind::Syntax, 402));
    assert_eq!(error(format!("[{long},{long}:]")), (ErrorKind::Syntax, 802));
    let longest = "7".repeat(MAX_DIGITS + 1);
    assert_eq!(error(format!("[x,{longest}]")), (ErrorKind::Syntax, 1));
    assert_eq!(
        error(format!("[1,{longest},x]")),
        (ErrorKind::NumberRange, 3)
    );
}

/// What each kind of number before it adds to the place of one that has to be looked up.
#[test]
#[cfg_attr(miri, ignore = "it takes minutes there")]
fn long_integers_behind_each_kind_of_number() {
    for digits in [20, 400] {
        let n = "3".repeat(digits);
        for (before, term) in [
            ("7", int(7)),
            ("-7", int(-7)),
            ("0", int(0)),
            ("-0", int(0)),
            ("0.5", float(0.5)),
            ("1e30", float(1e30)),
            (&n, int(&n)),
        ] {
            let text = format!("[{before},{n},{before},-{n},{before}]");
            let (minus, term) = (format!("-{n}"), || term.clone());
            assert_eq!(
                ok(text),
                list([term(), int(&n), term(), int(minus), term()])
            );
        }
    }
}

/// They alone have stand-ins: what is short keeps its short form.
#[test]
fn long_integers_leave_the_others_as_they_are() {
    let text = format!("[7,{}]", "3".repeat(400));
    let (mut out, options) = (vec![], Options::default());
    let result = decode(
        text.as_bytes(),
        &options,
        &mut BinaryKeys,
        Duplicates::Assume,
        &mut out,
    );
    assert_eq!(result, Ok(()));
    assert_eq!(out[..8], [131, 108, 0, 0, 0, 2, 97, 7]);
}

#[test]
fn digits_alone_are_a_term() {
    for digits in ["0", "255", "4294967296", "18446744073709551616"] {
        for negative in [false, true] {
            let mut out = b"before".to_vec();
            decimal_etf(&mut out, negative, digits.as_bytes());
            let sign = if negative && digits != "0" { "-" } else { "" };
            assert_eq!(read(&out[6..]), int(format!("{sign}{digits}")));
        }
    }
}
