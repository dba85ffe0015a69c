//! What the reader makes of terms that others wrote, and of bytes that are none.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use erltf::OwnedTerm;
use erltf::types::{Atom, BigInt, ExternalFun, ExternalPid, ExternalPort, ExternalReference, Sign};
use proptest::prelude::*;
use sockeye_etf::{Cursor, Malformed, Token};

fn rebuilt(cursor: &mut Cursor<'_>) -> Result<OwnedTerm, Malformed> {
    let start = cursor.rest();
    let several = |n: u32, cursor: &mut Cursor<'_>| {
        (0..n)
            .map(|_| rebuilt(cursor))
            .collect::<Result<Vec<_>, _>>()
    };
    Ok(match cursor.token()? {
        Token::Integer(n) => OwnedTerm::Integer(n),
        Token::Big(negative, digits) => {
            let sign = if negative {
                Sign::Negative
            } else {
                Sign::Positive
            };
            OwnedTerm::BigInt(BigInt::new(sign, digits.to_vec()))
        }
        Token::Float(v) => OwnedTerm::Float(v),
        Token::Atom(name) => OwnedTerm::Atom(Atom::new(name.text()?)),
        Token::Binary(bytes) => OwnedTerm::Binary(bytes.to_vec()),
        Token::Nil => OwnedTerm::Nil,
        Token::Bytes(bytes) => OwnedTerm::List(
            bytes
                .iter()
                .map(|b| OwnedTerm::Integer((*b).into()))
                .collect(),
        ),
        Token::List(n) => {
            let elements = several(n, cursor)?;
            match rebuilt(cursor)? {
                OwnedTerm::Nil => OwnedTerm::List(elements),
                tail => OwnedTerm::ImproperList {
                    elements,
                    tail: Box::new(tail),
                },
            }
        }
        Token::Tuple(n) => OwnedTerm::Tuple(several(n, cursor)?),
        Token::Map(n) => {
            let mut map = BTreeMap::new();
            for _ in 0..n {
                map.insert(rebuilt(cursor)?, rebuilt(cursor)?);
            }
            OwnedTerm::Map(map)
        }
        Token::Pid(bytes) | Token::Other(bytes) => {
            assert_eq!(bytes.len(), start.len() - cursor.rest().len());
            erltf::decode(&[&[131], bytes].concat()).map_err(|_| Malformed)?
        }
    })
}

fn leaf() -> impl Strategy<Value = OwnedTerm> {
    let node = || Atom::new("a@b");
    prop_oneof![
        any::<i64>().prop_map(OwnedTerm::Integer),
        (0i64..300).prop_map(OwnedTerm::Integer),
        any::<f64>()
            .prop_filter("finite", |v| v.is_finite())
            .prop_map(OwnedTerm::Float),
        "[a-zäλ]{0,12}".prop_map(|name| OwnedTerm::Atom(Atom::new(name))),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(OwnedTerm::Binary),
        (any::<bool>(), prop::collection::vec(1u8.., 9..300)).prop_map(|(negative, digits)| {
            let sign = if negative {
                Sign::Negative
            } else {
                Sign::Positive
            };
            OwnedTerm::BigInt(BigInt::new(sign, digits))
        }),
        any::<[u32; 3]>().prop_map(move |[a, b, c]| OwnedTerm::Pid(ExternalPid::new(
            node(),
            a,
            b,
            c
        ))),
        (any::<u64>(), any::<u32>()).prop_map(move |(a, b)| OwnedTerm::Port(ExternalPort::new(
            node(),
            a,
            b
        ))),
        (any::<u32>(), prop::collection::vec(any::<u32>(), 1..5)).prop_map(move |(a, ids)| {
            OwnedTerm::Reference(ExternalReference::new(node(), a, ids))
        }),
        any::<u8>().prop_map(|arity| {
            OwnedTerm::ExternalFun(ExternalFun::new(Atom::new("m"), Atom::new("f"), arity))
        }),
        Just(OwnedTerm::Nil),
    ]
}

fn term() -> impl Strategy<Value = OwnedTerm> {
    leaf().prop_recursive(5, 64, 8, |inner| {
        let several = |least| prop::collection::vec(inner.clone(), least..8);
        prop_oneof![
            several(1).prop_map(OwnedTerm::List),
            several(0).prop_map(OwnedTerm::Tuple),
            (several(1), leaf()).prop_map(|(elements, tail)| match tail {
                OwnedTerm::Nil => OwnedTerm::List(elements),
                tail => OwnedTerm::ImproperList {
                    elements,
                    tail: Box::new(tail)
                },
            }),
            // The other's order of terms is not one for all terms.
            prop::collection::btree_map((0i64..300).prop_map(OwnedTerm::Integer), inner, 0..6)
                .prop_map(OwnedTerm::Map),
        ]
    })
}

proptest! {
    #[test]
    #[cfg_attr(miri, ignore = "to make random terms takes minutes there")]
    fn terms_of_another_writer_are_read(term in term()) {
        let bytes = erltf::encode(&term).unwrap();
        let mut cursor = Cursor::of_term(&bytes).unwrap();
        prop_assert_eq!(rebuilt(&mut cursor), Ok(term));
        prop_assert!(cursor.is_at_end());
        let mut cursor = Cursor::of_term(&bytes).unwrap();
        prop_assert_eq!(cursor.term(), Ok(&bytes[1..]));
        prop_assert!(cursor.is_at_end());
    }

    #[test]
    #[cfg_attr(miri, ignore = "to make random terms takes minutes there")]
    fn a_term_that_is_cut_off_is_none(term in term(), part in 0.0..1.0) {
        let bytes = erltf::encode(&term).unwrap();
        let len = 1 + ((bytes.len() - 1) as f64 * part) as usize;
        prop_assert_eq!(Cursor::of_term(&bytes[..len]).unwrap().term(), Err(Malformed));
    }

    #[test]
    #[cfg_attr(miri, ignore = "to make random terms takes minutes there")]
    fn no_bytes_are_too_wild(bytes in prop::collection::vec(prop_oneof![any::<u8>(), 97u8..120], 0..64)) {
        let mut cursor = Cursor::new(&bytes);
        if let Ok(term) = cursor.term() {
            prop_assert_eq!(term.len() + cursor.rest().len(), bytes.len());
        }
    }
}

fn token(bytes: &[u8]) -> Result<Token<'_>, Malformed> {
    Cursor::of_term(bytes)?.token()
}

fn text(token: Token<'_>) -> String {
    match token {
        Token::Atom(name) => name.text().unwrap().into_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn atoms_in_each_of_their_forms() {
    assert_eq!(text(token(b"\x83\x64\0\x02ok").unwrap()), "ok");
    assert_eq!(text(token(b"\x83\x73\x02ok").unwrap()), "ok");
    assert_eq!(text(token(b"\x83\x64\0\x01\xe4").unwrap()), "ä");
    assert_eq!(text(token(b"\x83\x73\x02\xc3\xa4").unwrap()), "Ã¤");
    assert_eq!(text(token(b"\x83\x76\0\x02\xc3\xa4").unwrap()), "ä");
    assert_eq!(text(token(b"\x83\x77\x02\xc3\xa4").unwrap()), "ä");
    let Ok(Token::Atom(name)) = token(b"\x83\x77\x01\xe4") else {
        panic!("no atom");
    };
    assert_eq!(name.text(), Err(Malformed));
}

#[test]
fn integers_at_the_bounds_of_their_forms() {
    for (n, bytes) in [
        (255, &[97, 255][..]),
        (-1, &[98, 255, 255, 255, 255]),
        (
            i64::MAX,
            &[110, 8, 0, 255, 255, 255, 255, 255, 255, 255, 127],
        ),
        (i64::MIN, &[110, 8, 1, 0, 0, 0, 0, 0, 0, 0, 128]),
        (-7, &[111, 0, 0, 0, 1, 1, 7]),
    ] {
        assert_eq!(Cursor::new(bytes).token(), Ok(Token::Integer(n)));
    }
    let beyond = [110, 8, 1, 1, 0, 0, 0, 0, 0, 0, 128];
    assert!(matches!(
        Cursor::new(&beyond).token(),
        Ok(Token::Big(true, _))
    ));
    let beyond = [110, 8, 0, 0, 0, 0, 0, 0, 0, 0, 128];
    assert!(matches!(
        Cursor::new(&beyond).token(),
        Ok(Token::Big(false, _))
    ));
}

#[test]
fn floats_are_finite() {
    let mut text = [0; 32];
    text[0] = 99;
    text[1..9].copy_from_slice(b"-1.50e+1");
    assert_eq!(Cursor::new(&text).token(), Ok(Token::Float(-15.0)));
    text[1..4].copy_from_slice(b"inf");
    assert_eq!(Cursor::new(&text).token(), Err(Malformed));
    let nan = [&[70][..], &f64::NAN.to_be_bytes()].concat();
    assert_eq!(Cursor::new(&nan).token(), Err(Malformed));
}

#[test]
fn terms_that_the_vm_never_writes_are_refused() {
    // Compressed, from an atom cache, local, and a tag that is none.
    for tag in [80, 82, 121, 0, 255] {
        let bytes = [131, tag, 0, 0, 0, 1, 0, 0, 0, 0];
        assert_eq!(token(&bytes), Err(Malformed), "{tag}");
    }
    assert_eq!(Cursor::of_term(&[130, 106]), Err(Malformed));
    assert_eq!(Cursor::of_term(&[]), Err(Malformed));
}

#[test]
fn counts_that_the_bytes_cannot_hold_are_refused_at_once() {
    for bytes in [
        [108, 255, 255, 255, 255],
        [116, 255, 255, 255, 255],
        [105, 255, 255, 255, 255],
        [109, 255, 255, 255, 255],
        [111, 255, 255, 255, 255],
        [112, 0, 0, 0, 3],
    ] {
        assert_eq!(Cursor::new(&bytes).token(), Err(Malformed));
    }
}

#[test]
fn nesting_costs_no_stack() {
    // Miri has no stack to run out of.
    let depth = if cfg!(miri) { 1_000 } else { 1_000_000 };
    let deep = [&[108, 0, 0, 0, 1].repeat(depth)[..], &vec![106; depth + 1]].concat();
    assert_eq!(Cursor::new(&deep).term(), Ok(&deep[..]));
    // An export is made of atoms alone, and a pid's node is one.
    for tag in [113, 103, 88, 101, 102] {
        let deep = vec![tag; depth];
        assert_eq!(Cursor::new(&deep).term(), Err(Malformed), "{tag}");
    }
}
