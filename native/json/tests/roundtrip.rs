//! Any value, written as text in any style, decodes to that value.

#[cfg(test)]
mod support;

use proptest::collection::vec;
use proptest::prelude::*;
use sockeye_json::{BinaryKeys, Duplicates, Options, decode, text};
use support::{Term, atom, bin, float, int, term_of};

#[derive(Clone, Debug)]
enum Json {
    Null,
    Bool(bool),
    /// Decimal digits of any number.
    Int(String),
    Float(f64),
    Str(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// How to write what JSON lets be written in more than one way.
#[derive(Clone, Copy, Debug)]
struct Style {
    space: &'static str,
    escape_all: bool,
}

impl Json {
    fn write(&self, style: Style, out: &mut Vec<u8>) {
        out.extend_from_slice(style.space.as_bytes());
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(v) => out.extend_from_slice(v.to_string().as_bytes()),
            Self::Int(digits) => out.extend_from_slice(digits.as_bytes()),
            Self::Float(v) => text::push_f64(out, *v),
            Self::Str(s) => style.string(s, out),
            Self::Array(elements) => {
                out.push(b'[');
                for (i, element) in elements.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    element.write(style, out);
                }
                out.push(b']');
            }
            Self::Object(pairs) => {
                out.push(b'{');
                for (i, (key, value)) in pairs.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(style.space.as_bytes());
                    style.string(key, out);
                    out.extend_from_slice(style.space.as_bytes());
                    out.push(b':');
                    value.write(style, out);
                }
                out.extend_from_slice(style.space.as_bytes());
                out.push(b'}');
            }
        }
        out.extend_from_slice(style.space.as_bytes());
    }

    fn term(&self) -> Term {
        match self {
            Self::Null => atom("null"),
            Self::Bool(v) => atom(&v.to_string()),
            Self::Int(digits) if digits == "-0" => int(0),
            Self::Int(digits) => int(digits),
            Self::Float(v) => float(*v),
            Self::Str(s) => bin(s),
            Self::Array(elements) => Term::List(elements.iter().map(Self::term).collect()),
            Self::Object(pairs) => {
                let last = |i: usize, key: &String| pairs[i + 1..].iter().all(|(k, _)| k != key);
                let kept = pairs.iter().enumerate().filter(|(i, (k, _))| last(*i, k));
                Term::Map(kept.map(|(_, (k, v))| (bin(k), v.term())).collect())
            }
        }
    }
}

impl Style {
    fn string(self, s: &str, out: &mut Vec<u8>) {
        if !self.escape_all {
            return text::push_string(out, s);
        }
        out.push(b'"');
        for unit in s.encode_utf16() {
            out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
        }
        out.push(b'"');
    }
}

fn integer() -> impl Strategy<Value = Json> {
    let digits = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<u64>().prop_map(|n| n.to_string()),
        any::<i16>().prop_map(|n| n.to_string()),
        "-?(0|[1-9][0-9]{0,40})",
        "-?[1-9][0-9]{295,320}",
    ];
    digits.prop_map(Json::Int)
}

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        integer(),
        any::<u64>()
            .prop_map(f64::from_bits)
            .prop_filter("JSON has no such number", |v| v.is_finite())
            .prop_map(Json::Float),
        (-1e6..1e6).prop_map(Json::Float),
        any::<String>().prop_map(Json::Str),
    ];
    // Few keys to choose from, so that some come twice.
    let key = prop_oneof!["[a-c]?", any::<String>()];
    leaf.prop_recursive(6, 60, 8, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Json::Array),
            vec((key.clone(), inner), 0..8).prop_map(Json::Object),
        ]
    })
}

fn style() -> impl Strategy<Value = Style> {
    let space = prop_oneof![Just(""), Just(" "), Just("\r\n\t")];
    (space, any::<bool>()).prop_map(|(space, escape_all)| Style { space, escape_all })
}

proptest! {
    #[test]
    fn text_decodes_to_its_value(value in json(), style in style()) {
        let mut text = vec![];
        value.write(style, &mut text);
        prop_assert_eq!(term_of(&text, Duplicates::Resolve).unwrap(), value.term());
    }

    /// Both ways to treat duplicates write the same bytes when there are none.
    #[test]
    fn resolving_nothing_changes_nothing(value in json(), style in style()) {
        let mut text = vec![];
        value.write(style, &mut text);
        let assumed = term_of(&text, Duplicates::Assume).unwrap();
        let resolved = term_of(&text, Duplicates::Resolve).unwrap();
        prop_assert_eq!(assumed == value.term(), assumed == resolved);
    }

    /// Whatever comes, there is an answer, and the parser agrees on whether it is JSON.
    #[test]
    fn any_bytes_have_an_answer(bytes in vec(any::<u8>(), 0..64)) {
        agrees_with_the_parser(&bytes);
    }

    /// The same for texts that are nearly JSON.
    #[test]
    fn any_damage_has_an_answer(value in json(), style in style(), at in any::<u16>(), b in any::<u8>()) {
        let mut text = vec![];
        value.write(style, &mut text);
        if !text.is_empty() {
            let at = usize::from(at) % text.len();
            text[at] = b;
        }
        agrees_with_the_parser(&text);
    }
}

fn agrees_with_the_parser(text: &[u8]) {
    let mut out = vec![];
    let options = Options::default();
    let ours = decode(
        text,
        &options,
        &mut BinaryKeys,
        Duplicates::Resolve,
        &mut out,
    );
    let theirs = serde_json::from_slice::<serde_json::Value>(text);
    match theirs {
        Ok(_) => assert_eq!(ours, Ok(())),
        // We take integers that it does not.
        Err(error) if ours.is_ok() => assert!(error.to_string().contains("number out of range")),
        Err(_) => {}
    }
    if let Err(error) = ours {
        assert!(out.is_empty());
        assert!(error.offset <= text.len());
    }
}
