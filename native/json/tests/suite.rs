//! JSONTestSuite: what must be accepted is, what must be refused is, and the rest is pinned.

#[cfg(test)]
mod support;

use sockeye_json::{Duplicates, ErrorKind};
use support::{Term, float, int, term_of};

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = vec![];
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => return bytes,
            [b'\\', b'x', hi, lo, rest @ ..] => {
                let digit = |b: &u8| char::from(*b).to_digit(16).map_or(0, |d| d as u8);
                bytes.push(digit(hi) << 4 | digit(lo));
                rest
            }
            [b'\\', b'\\', rest @ ..] => {
                bytes.push(b'\\');
                rest
            }
            [b, rest @ ..] => {
                bytes.push(*b);
                rest
            }
        }
    }
}

fn cases() -> Vec<(String, Vec<u8>)> {
    let mut cases: Vec<_> = include_str!("suite/cases.txt")
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, text)| (name.to_owned(), unescape(text)))
        .collect();
    let mut add = |name: &str, text: String| cases.push((name.to_owned(), text.into_bytes()));
    add("n_structure_100000_opening_arrays", "[".repeat(100_000));
    add(
        "n_structure_open_array_object",
        "[{\"\":".repeat(50_000) + "\n",
    );
    add(
        "i_structure_500_nested_arrays",
        "[".repeat(500) + &"]".repeat(500),
    );
    cases
}

#[test]
fn has_all_cases() {
    let count = |prefix| {
        cases()
            .iter()
            .filter(|(name, _)| name.starts_with(prefix))
            .count()
    };
    assert_eq!((count("y_"), count("n_"), count("i_")), (95, 188, 35));
}

#[test]
fn accepts_and_refuses() {
    for (name, text) in cases() {
        for duplicates in [Duplicates::Assume, Duplicates::Resolve] {
            let result = term_of(&text, duplicates);
            match name.as_bytes()[0] {
                b'y' => assert!(result.is_ok(), "{name}: {result:?}"),
                b'n' => assert!(result.is_err(), "{name}: {result:?}"),
                _ => assert_eq!(result.map_err(|e| e.kind), choice(&name), "{name}"),
            }
        }
    }
}

/// What we do where the suite leaves the choice.
fn choice(name: &str) -> Result<Term, ErrorKind> {
    let one = |term| Ok(Term::List(vec![term]));
    match name {
        // A float too small for a double is zero, one too large an error.
        "i_number_double_huge_neg_exp" | "i_number_real_underflow" => one(float(0.0)),
        "i_number_huge_exp"
        | "i_number_neg_int_huge_exp"
        | "i_number_pos_double_huge_exp"
        | "i_number_real_neg_overflow"
        | "i_number_real_pos_overflow" => Err(ErrorKind::NumberRange),
        // Integers are exact at any size.
        "i_number_too_big_neg_int" => one(int("-123123123123123123123123123123")),
        "i_number_too_big_pos_int" => one(int("100000000000000000000")),
        "i_number_very_big_negative_int" => {
            one(int("-237462374673276894279832749832423479823246327846"))
        }
        // Half a surrogate pair is no character, so it cannot be in a string.
        "i_object_key_lone_2nd_surrogate"
        | "i_string_1st_surrogate_but_2nd_missing"
        | "i_string_1st_valid_surrogate_2nd_invalid"
        | "i_string_incomplete_surrogate_and_escape_valid"
        | "i_string_incomplete_surrogate_pair"
        | "i_string_incomplete_surrogates_escape_valid"
        | "i_string_invalid_lonely_surrogate"
        | "i_string_invalid_surrogate"
        | "i_string_inverted_surrogates_U+1D11E"
        | "i_string_lone_second_surrogate" => Err(ErrorKind::Syntax),
        // UTF-8 it must be, and without a byte order mark.
        "i_string_utf16BE_no_BOM" | "i_string_utf16LE_no_BOM" => Err(ErrorKind::Utf8),
        "i_structure_UTF-8_BOM_empty_object" => Err(ErrorKind::Syntax),
        "i_structure_500_nested_arrays" => Err(ErrorKind::Depth),
        _ => Err(ErrorKind::Utf8),
    }
}
