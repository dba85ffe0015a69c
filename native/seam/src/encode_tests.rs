//! Which text a term has, and which part of it has none. What the VM's own walk says of the same terms is in
//! `test/sockeye_json_objects_tests.erl` and beside it.

#![allow(clippy::unwrap_used)]

use super::*;

/// What came of it: the text, or the part that is to blame, in external term format.
fn encoded(bytes: &[u8]) -> Result<String, (&'static str, Vec<u8>)> {
    let mut out = b"before".to_vec();
    let result = encode(EtfTerm::new(Cursor::new(bytes)), Null::Nil, &mut out);
    let part = |tag, term: EtfTerm<'_>| {
        let mut part = Vec::new();
        term.copy_to(&mut part);
        (tag, part)
    };
    let result = result.map_err(|why| match why {
        NotJson(term) => part("not_json", term),
        DuplicateKey(term) => part("duplicate_key", term),
        Struct(term) => part("struct", term),
        EncodeError::TooLarge => ("too_large", Vec::new()),
    });
    let text = String::from_utf8(out).unwrap();
    match result {
        Ok(()) => Ok(text.strip_prefix("before").unwrap().to_owned()),
        Err(why) => {
            assert_eq!(text, "before", "as it was");
            Err(why)
        }
    }
}

/// A piece of a term.
fn atom(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    sockeye_etf::atom(&mut out, name);
    out
}

fn binary(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    sockeye_etf::binary(&mut out, bytes);
    out
}

fn list(elements: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    sockeye_etf::list(&mut out, elements.len() as u32);
    out.extend(elements.concat());
    sockeye_etf::nil(&mut out);
    out
}

fn tuple(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    sockeye_etf::tuple(&mut out, parts.len() as u32);
    out.extend(parts.concat());
    out
}

fn map(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    sockeye_etf::map(&mut out, pairs.len() as u32);
    for (key, value) in pairs {
        out.extend_from_slice(key);
        out.extend_from_slice(value);
    }
    out
}

fn one() -> Vec<u8> {
    vec![97, 1]
}

#[test]
fn each_kind_of_value() {
    let big = [&[110, 9, 1][..], &[0; 8], &[1]].concat();
    let raw = tuple(&[
        atom("json_raw"),
        list(&[binary(b"[1,"), vec![97, b'2'], binary(b"]")]),
    ]);
    for (term, text) in [
        (one(), "1"),
        (big, "-18446744073709551616"),
        (
            vec![110, 8, 0, 0, 0, 0, 0, 0, 0, 0, 128],
            "9223372036854775808",
        ),
        ([&[70][..], &1.5f64.to_be_bytes()].concat(), "1.5"),
        (atom("true"), "true"),
        (atom("null"), "null"),
        (atom("nil"), "null"),
        (atom("undefined"), "\"undefined\""),
        (binary("ä\"".as_bytes()), "\"ä\\\"\""),
        (vec![106], "[]"),
        (vec![107, 0, 2, 1, 255], "[1,255]"),
        (list(&[one(), list(&[one()]), one()]), "[1,[1],1]"),
        (vec![116, 0, 0, 0, 0], "{}"),
        (
            map(&[(atom("a"), one()), (binary(b"b"), list(&[]))]),
            "{\"a\":1,\"b\":[]}",
        ),
        (map(&[(one(), one())]), "{\"1\":1}"),
        (raw, "[1,2]"),
        (tuple(&[list(&[])]), "{}"),
        (
            tuple(&[list(&[
                tuple(&[atom("z"), one()]),
                tuple(&[atom("a"), one()]),
            ])]),
            "{\"z\":1,\"a\":1}",
        ),
    ] {
        assert_eq!(encoded(&term), Ok(text.to_owned()), "{term:?}");
    }
}

#[test]
fn the_part_that_is_to_blame() {
    let bad = tuple(&[]);
    let improper = vec![108, 0, 0, 0, 1, 97, 1, 97, 2];
    let no_pair = tuple(&[atom("b")]);
    let pairs = |pairs: &[Vec<u8>]| tuple(&[list(pairs)]);
    let pair = tuple(&[atom("a"), one()]);
    let raw = tuple(&[atom("json_raw"), binary(b"\xff")]);
    let reference = vec![90, 0, 1, 119, 1, b'n', 0, 0, 0, 0, 0, 0, 0, 1];
    for (term, part) in [
        (bad.clone(), bad.clone()),
        (binary(b"\xff"), binary(b"\xff")),
        (improper.clone(), improper),
        (reference.clone(), reference),
        (vec![77, 0, 0, 0, 1, 4, 16], vec![77, 0, 0, 0, 1, 4, 16]),
        (raw.clone(), raw),
        (pairs(&[pair.clone(), no_pair.clone()]), no_pair),
        (tuple(&[vec![107, 0, 1, 7]]), vec![97, 7]),
        (map(&[(list(&[]), one())]), list(&[])),
        (pairs(&[tuple(&[bad.clone(), one()])]), bad),
    ] {
        let inside = list(&[one(), map(&[(one(), term)])]);
        assert_eq!(encoded(&inside), Err(("not_json", part)), "{inside:?}");
    }
    let made = map(&[(atom("__struct__"), atom("m"))]);
    assert_eq!(encoded(&made), Err(("struct", atom("m"))));
    let no_struct = map(&[(atom("__struct__"), one())]);
    assert_eq!(encoded(&no_struct), Ok("{\"__struct__\":1}".into()));
}

#[test]
fn two_keys_of_one_text_are_found_and_the_later_kind_is_named() {
    let duplicate = |a: Vec<u8>, b: Vec<u8>| {
        let pairs = [(a, one()), (b, one())];
        let object = tuple(&[list(&pairs.clone().map(|(k, v)| tuple(&[k, v])))]);
        let of_pairs = encoded(&object);
        assert_eq!(encoded(&map(&pairs)), of_pairs, "{pairs:?}");
        of_pairs
    };
    for (a, b) in [
        (atom("a"), binary(b"a")),
        (one(), binary(b"1")),
        (one(), atom("1")),
    ] {
        let told = Err(("duplicate_key", b.clone()));
        assert_eq!(duplicate(a.clone(), b.clone()), told);
        assert_eq!(duplicate(b, a), told);
    }
    let same = tuple(&[atom("a"), one()]);
    let twice = tuple(&[list(&[same.clone(), same])]);
    assert_eq!(encoded(&twice), Err(("duplicate_key", atom("a"))));
}

#[test]
#[cfg_attr(miri, ignore = "arithmetic of 65,536 digits takes hours there")]
fn integers_have_so_many_digits_at_most() {
    // 10^65,536 has one more digit than may be.
    let digits = |n: usize| {
        let decimal = "9".repeat(n);
        let mut out = Vec::new();
        sockeye_json::decimal_etf(&mut out, false, decimal.as_bytes());
        (out.split_off(1), decimal)
    };
    let (term, text) = digits(MAX_DIGITS);
    assert!(encoded(&term) == Ok(text), "as many as may be");
    let (term, _) = digits(MAX_DIGITS + 1);
    assert!(
        encoded(&term) == Err(("not_json", term.clone())),
        "one more"
    );
}

#[test]
fn nesting_costs_no_stack() {
    let levels = if cfg!(miri) { 1_000 } else { 1_000_000 };
    let deep = [
        &[108, 0, 0, 0, 1].repeat(levels)[..],
        &vec![106; levels + 1],
    ]
    .concat();
    let text = encoded(&deep).unwrap();
    assert_eq!(text.len(), 2 * levels + 2);
}
