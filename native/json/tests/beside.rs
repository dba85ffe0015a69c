//! Beside serde_json: the same texts are JSON, with the same values, and what is none is so for the same reason at the same byte.

#[cfg(test)]
mod support;

use std::fmt;

use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use sockeye_json::{Duplicates, Error, ErrorKind, MAX_DEPTH, Options};
use support::{Term, atom, bin, float, int, term_with};

/// A value as serde_json gives it.
struct Other(Term);

impl<'de> Deserialize<'de> for Other {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Values).map(Other)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Term;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Term, E> {
        Ok(atom("null"))
    }

    fn visit_bool<E>(self, v: bool) -> Result<Term, E> {
        Ok(atom(if v { "true" } else { "false" }))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Term, E> {
        Ok(int(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Term, E> {
        Ok(int(v))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Term, E> {
        Ok(float(v))
    }

    fn visit_str<E>(self, v: &str) -> Result<Term, E> {
        Ok(bin(v))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Term, A::Error> {
        let mut all = vec![];
        while let Some(Other(term)) = seq.next_element()? {
            all.push(term);
        }
        Ok(Term::List(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Term, A::Error> {
        let mut all = vec![];
        while let Some((Other(key), Other(value))) = map.next_entry()? {
            all.push((key, value));
        }
        Ok(Term::Map(all))
    }
}

fn other(text: &str) -> Result<Term, Error> {
    let mut parser = serde_json::Deserializer::from_str(text);
    parser.disable_recursion_limit();
    let value = Other::deserialize(&mut parser);
    let value = value
        .map(|Other(term)| term)
        .map_err(|e| match e.classify() {
            Category::Eof => (ErrorKind::Eof, e),
            _ if e.to_string().starts_with("number out of range") => (ErrorKind::NumberRange, e),
            _ => (ErrorKind::Syntax, e),
        });
    let value = value.and_then(|term| match parser.end() {
        Ok(()) => Ok(term),
        Err(e) => Err((ErrorKind::TrailingData, e)),
    });
    value.map_err(|(kind, error)| {
        // It counts lines from 1, and columns behind the byte.
        let line_start: usize = text
            .split_inclusive('\n')
            .take(error.line() - 1)
            .map(str::len)
            .sum();
        let offset = match kind {
            ErrorKind::Eof => text.len(),
            _ => (line_start + error.column())
                .saturating_sub(1)
                .min(text.len()),
        };
        Error { kind, offset }
    })
}

/// Integers beyond 64 bits are floats there, and so is -0; a float that may be one of them is left out.
fn alike(ours: &Term, theirs: &Term) -> bool {
    match (ours, theirs) {
        (Term::Int(digits), Term::Float(bits)) => {
            digits.parse()
                == Ok(f64::from_bits(*bits).abs() * if digits.starts_with('-') { -1.0 } else { 1.0 })
        }
        (Term::List(a), Term::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b))
        }
        (Term::Map(a), Term::Map(b)) => {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|(a, b)| a.0 == b.0 && alike(&a.1, &b.1))
        }
        (a, b) => a == b,
    }
}

fn same(text: &str) -> Result<(), TestCaseError> {
    let options = Options {
        max_depth: MAX_DEPTH,
        ..Options::default()
    };
    let ours = term_with(text, &options, Duplicates::Assume);
    let theirs = other(text);
    let is_same = match (&ours, &theirs) {
        (Ok(ours), Ok(theirs)) => alike(ours, theirs),
        (ours, theirs) => ours == theirs,
    };
    prop_assert!(is_same, "{text:?}: {ours:?}, serde_json {theirs:?}");
    Ok(())
}

#[test]
fn places_of_errors() -> Result<(), TestCaseError> {
    let texts = [
        "",
        " ",
        "-",
        "-x",
        "01",
        "-01",
        "1.",
        "1.x",
        "1.5.",
        "1e",
        "1e+",
        "1ex",
        "1e+x",
        "1.e5",
        "1e999",
        "-1e400",
        "1e99999999999",
        "0e99999999999",
        "1e-99999999999",
        "1.5e2147483648",
        "[1e2147483647]",
        "[1e-2147483649,x]",
        "nul",
        "nulk",
        "truE",
        "fals",
        "[",
        "[,",
        "[1",
        "[1,",
        "[1,]",
        "[1 2]",
        "[1}",
        "{",
        "{\"a",
        "{\"a\"",
        "{\"a\"x",
        "{\"a\":",
        "{\"a\":}",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{\"a\":1 \"b\"",
        "{1:2}",
        "{,",
        "{\"a\":1]",
        "\"",
        "\"\\",
        "\"\\x",
        "\"\\u",
        "\"\\u12",
        "\"\\u12x4\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\ud800\\",
        "\"\\ud800\\n",
        "\"\\ud800\\u",
        "\"\\ud800\\u0041\"",
        "\"\\ud800\\ud800\"",
        "\"\\udc00\"",
        "\"\\udc00\\ud800\"",
        "\"\\ud834\\udd1e\"",
        "\"\u{1}",
        "\"abc\n\"",
        "1 2",
        "1]",
        "[]x",
        "{}{}",
        "\u{0}",
        "1\u{0}",
        "é",
        "\"é",
        "[\"\\u00é\"]",
        " \n[\n1,\n\n2,\n x]",
    ];
    texts.into_iter().try_for_each(same)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn texts_of_pieces(pieces in prop::collection::vec(prop::sample::select(vec![
        "{", "}", "[", "]", ",", ":", "\"", "\\", "\"a\":", "\"abcdefgh\"", "\"é€😀\\n\"", "\\u00e9", "\\ud83d", "\\ude00", "\\u", "0", "1",
        "-", "-0", "12", ".5", "e", "e5", "E-7", "e+", "9007199254740993", "18446744073709551616", "-9223372036854775809", "123456.789e3",
        "true", "false", "null", "nul", " ", "\n", "\r", "\t", "\u{7}", "x", "[1,2]", "{\"k\":[]}", "0.1", "1e22", "1e23", "4.9e-324", "1e400",
    ]), 0..24)) {
        same(&pieces.concat())?;
    }

    /// A document with a byte put in, taken away or changed.
    #[test]
    fn texts_that_are_almost_json(at in 0..400_usize, what in 0..3, piece in "[\\[\\]{}:,\"\\\\eu0-9tru.\n +-]") {
        let text = r#"{"id": 1234567890123, "items": [{"name":"item \u00e9\n 1","n":7,"price":3.25,"ok":true,"tag":null},
            {"name":"a string of more than thirty-two bytes, with a quote \" in it","n":-0.5e-3,"big":123456789012345678901234567890}], "s":"\ud83d\ude00 é"}"#;
        let at = text.char_indices().map(|(i, _)| i).nth(at % text.chars().count()).unwrap_or(0);
        let mut text = text.to_owned();
        if what > 0 {
            text.remove(at);
        }
        if what != 1 {
            text.insert_str(at, &piece);
        }
        same(&text)?;
    }

    /// Digits around every bound of the quick ways.
    #[test]
    fn numbers(sign in "-?", whole in "0|[1-9][0-9]{0,24}", point in "(\\.[0-9]{1,25})?", exponent in "([eE][+-]?[0-9]{1,3})?") {
        same(&format!("[{sign}{whole}{point}{exponent}]"))?;
    }

    /// Strings of each length around those of a step.
    #[test]
    fn strings(before in "[a-z]{0,70}", odd in "[\"\\\\\u{0}-\u{1f}é😀]", after in "[ -~]{0,20}") {
        same(&format!("\"{before}{odd}{after}\""))?;
        same(&format!("{{\"{before}\\n{after}\":\"{before}{after}\"}}"))?;
    }
}
