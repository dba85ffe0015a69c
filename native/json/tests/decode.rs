//! Terms, limits and errors of decoding; numbers are in `numbers.rs`.

#[cfg(test)]
mod support;

use proptest::prelude::*;
use sockeye_json::{
    BinaryKeys, Duplicates, Error, ErrorKind, MAX_DEPTH, Null, Objects, Options, decode,
};
use support::{Term, atom, bin, err, float, int, list, ok, read, term_of, term_with};

#[test]
fn each_kind_of_value() {
    assert_eq!(
        ok(br#" {"a": [1, -2, 2.5, "x", true, false, null], "": {}, "l": []} "#),
        Term::Map(vec![
            (
                bin("a"),
                list([
                    int(1),
                    int(-2),
                    float(2.5),
                    bin("x"),
                    atom("true"),
                    atom("false"),
                    atom("null"),
                ])
            ),
            (bin(""), Term::Map(vec![])),
            (bin("l"), list([])),
        ])
    );
}

#[test]
fn objects_are_pairs_in_their_order() {
    let options = Options {
        objects: Objects::Pairs,
        ..Options::default()
    };
    let object = |pairs: &[(&str, Term)]| {
        let pairs = pairs
            .iter()
            .map(|(key, value)| Term::Tuple(vec![bin(key), value.clone()]));
        Term::Tuple(vec![Term::List(pairs.collect())])
    };
    let inner = object(&[("y", list([])), ("x", object(&[]))]);
    let text = r#"{"z":{"y":[],"x":{}},"a":[{}]}"#;
    assert_eq!(
        term_with(text, &options, Duplicates::Resolve),
        Ok(object(&[("z", inner), ("a", list([object(&[])]))]))
    );
    // Few keys and many: the last pair of a key stays, in its place.
    for more in [0, 20] {
        let names: Vec<_> = (0..more).map(|n| n.to_string()).collect();
        let mut text = r#"{"a":1,"b":2,"#.to_owned();
        let mut pairs = vec![("b", int(2))];
        for name in &names {
            text += &format!(r#""{name}":0,"#);
            pairs.push((name, int(0)));
        }
        pairs.push(("a", int(3)));
        text += r#""a":3}"#;
        assert_eq!(
            term_with(&text, &options, Duplicates::Resolve),
            Ok(object(&pairs))
        );
    }
}

#[test]
fn null_is_the_atom_of_choice() {
    for (null, name) in [
        (Null::Null, "null"),
        (Null::Undefined, "undefined"),
        (Null::Nil, "nil"),
    ] {
        let options = Options {
            null,
            ..Options::default()
        };
        let term = term_with("[null]", &options, Duplicates::Assume);
        assert_eq!(term, Ok(list([atom(name)])));
    }
}

#[test]
fn strings_are_unescaped() {
    assert_eq!(
        ok(r#"["\"\\\/\b\f\n\r\t\u0000\u00e9\u20ac\ud834\udd1e","é€𝄞"]"#),
        list([bin("\"\\/\u{8}\u{c}\n\r\t\0é€𝄞"), bin("é€𝄞")])
    );
}

fn nested(open: &str, close: &str, n: usize) -> String {
    open.repeat(n) + "1" + &close.repeat(n)
}

#[test]
#[cfg_attr(miri, ignore = "it takes minutes there")]
fn limit_of_depth() {
    for max_depth in [1, 2, 127, 128, 256] {
        let options = Options {
            max_depth,
            ..Options::default()
        };
        let run = |text: String| term_with(text, &options, Duplicates::Resolve);
        let n = usize::from(max_depth);
        for (open, close) in [("[", "]"), ("{\"k\":", "}")] {
            assert!(run(nested(open, close, n - 1)).is_ok());
            assert!(run(nested(open, close, n)).is_ok());
            let error = run(nested(open, close, n + 1)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Depth);
            assert_eq!(error.offset, open.len() * n, "where the last one opens");
        }
        // Depth is not length.
        assert!(run(format!("[{}1]", "1,".repeat(1000))).is_ok());
    }
}

#[test]
fn depth_has_bounds_of_its_own() {
    for (max_depth, allowed) in [(0, 1), (257, 256), (u16::MAX, 256)] {
        let options = Options {
            max_depth,
            ..Options::default()
        };
        let run = |n| term_with(nested("[", "]", n), &options, Duplicates::Assume);
        assert!(run(allowed).is_ok());
        assert_eq!(run(allowed + 1).unwrap_err().kind, ErrorKind::Depth);
    }
}

#[test]
fn siblings_do_not_add_up_to_depth() {
    let options = Options {
        max_depth: 2,
        ..Options::default()
    };
    let text = "[[],{},[1],{\"a\":1},[]]";
    assert!(term_with(text, &options, Duplicates::Assume).is_ok());
}

/// A thread with less stack than a dirty scheduler has.
#[test]
#[cfg_attr(miri, ignore = "the stack of Miri is none of the machine")]
fn deepest_nesting_fits_a_dirty_scheduler() {
    let deep = usize::from(MAX_DEPTH);
    let text = nested("[{\"k\":", "}]", deep / 2);
    let options = Options {
        max_depth: MAX_DEPTH,
        ..Options::default()
    };
    let here = |_: &str| {
        let mark = 0u8;
        std::ptr::from_ref(std::hint::black_box(&mark)).addr()
    };
    let run = move || {
        let mut marks = vec![];
        let mut keys = |key: &str| {
            marks.push(here(key));
            false
        };
        let mut out = vec![];
        decode(
            text.as_bytes(),
            &options,
            &mut keys,
            Duplicates::Resolve,
            &mut out,
        )
        .unwrap();
        (marks[0] - marks[marks.len() - 1]) / (deep - 2)
    };
    let thread = std::thread::Builder::new().stack_size(256 << 10);
    let per_level = thread.spawn(run).unwrap().join().unwrap();
    println!("{per_level} bytes of stack a level");
    assert!(
        per_level < 800,
        "{per_level} bytes of stack a level: 320 KiB would be too little"
    );
}

#[test]
fn duplicate_keys() {
    let text = r#"{"a":1,"b":{"x":1,"y":[{"q":1,"q":2}],"x":3},"\u0061":[2],"c":4,"b":5,"a":6}"#;
    let pair = |k: &str, v| (bin(k), v);
    assert_eq!(
        term_of(text, Duplicates::Resolve),
        Ok(Term::Map(vec![
            pair("c", int(4)),
            pair("b", int(5)),
            pair("a", int(6)),
        ]))
    );
    let Ok(Term::Map(all)) = term_of(text, Duplicates::Assume) else {
        panic!("not a map");
    };
    assert_eq!(all.len(), 6, "assuming keeps them all");
    // Inner maps are resolved when the outer has nothing to drop.
    assert_eq!(
        term_of(r#"[{"a":{"x":1,"x":2},"b":0},7]"#, Duplicates::Resolve),
        Ok(list([
            Term::Map(vec![
                pair("a", Term::Map(vec![pair("x", int(2))])),
                pair("b", int(0)),
            ]),
            int(7),
        ]))
    );
}

/// A hundred thousand pairs at the cost of about as many, not of their square.
#[test]
fn many_duplicate_keys() {
    let count = if cfg!(miri) { 700 } else { 100_000 };
    let pairs: Vec<_> = (0..count).map(|i| format!("\"{}\":{i}", i % 7)).collect();
    let text = format!("{{{}}}", pairs.join(","));
    let Ok(Term::Map(left)) = term_of(text, Duplicates::Resolve) else {
        panic!("not a map");
    };
    let want: Vec<_> = (count - 7..count)
        .map(|i| (bin(&(i % 7).to_string()), int(i)))
        .collect();
    assert_eq!(left, want);
}

/// As many of which none comes twice: comparing each with each would take minutes.
#[test]
#[cfg_attr(miri, ignore)]
fn many_keys() {
    let count = 300_000;
    let pairs: Vec<_> = (0..count).map(|i| format!("\"{i}\":0")).collect();
    let Ok(Term::Map(all)) = term_of(format!("{{{}}}", pairs.join(",")), Duplicates::Resolve)
    else {
        panic!("not a map");
    };
    assert_eq!(all.len(), count);
}

#[test]
fn keys_that_become_atoms() {
    let longest = "é".repeat(255);
    let too_long = "é".repeat(256);
    let text = format!(r#"{{"a":1,"b":{{"\u0061":2}},"{longest}":3,"{too_long}":4,"c":"a"}}"#);
    let mut asked = vec![];
    let mut keys = |key: &str| {
        asked.push(key.to_owned());
        key != "b"
    };
    let mut out = vec![];
    let options = Options::default();
    decode(
        text.as_bytes(),
        &options,
        &mut keys,
        Duplicates::Resolve,
        &mut out,
    )
    .unwrap();
    assert_eq!(asked, ["a", "b", "a", longest.as_str(), "c"]);
    assert_eq!(
        read(&out),
        Term::Map(vec![
            (atom("a"), int(1)),
            (bin("b"), Term::Map(vec![(atom("a"), int(2))])),
            (atom(&longest), int(3)),
            (bin(&too_long), int(4)),
            (atom("c"), bin("a")),
        ])
    );
}

#[test]
fn errors_say_what_and_where() {
    let cases: &[(&[u8], ErrorKind, usize)] = &[
        (b"", ErrorKind::Eof, 0),
        (b"  ", ErrorKind::Eof, 2),
        (b"[1,", ErrorKind::Eof, 3),
        (b"{\"a\":\n\"b", ErrorKind::Eof, 8),
        (b"[1,x]", ErrorKind::Syntax, 3),
        (b"[1,\n\n  x]", ErrorKind::Syntax, 7),
        (b"\"\\ud800\"", ErrorKind::Syntax, 7),
        (b"[1] 2", ErrorKind::TrailingData, 4),
        (b"1\n2", ErrorKind::TrailingData, 2),
        // Line ends count as the bytes they are.
        (b"\"\n\"", ErrorKind::Syntax, 1),
        (b"\n\"\n", ErrorKind::Syntax, 2),
        (b"tru\n", ErrorKind::Syntax, 3),
        (b"-\n", ErrorKind::Syntax, 1),
        (b"[\r\n1,\r\n\rx]", ErrorKind::Syntax, 8),
        (b"\"\r\"", ErrorKind::Syntax, 1),
        // So do characters of several bytes.
        ("[\"é€😀\",\n\"é\",x]".as_bytes(), ErrorKind::Syntax, 19),
        ("\"é\n\"".as_bytes(), ErrorKind::Syntax, 3),
        (b"[\"ab\xff\"]", ErrorKind::Utf8, 4),
        (b"1e999", ErrorKind::NumberRange, 4),
    ];
    for (text, kind, offset) in cases {
        let (kind, offset) = (*kind, *offset);
        let shown = String::from_utf8_lossy(text);
        assert_eq!(err(text), Error { kind, offset }, "{shown:?}");
    }
}

proptest! {
    /// A line feed is a byte like a tab, which the parser does not count: white space between values, and not allowed
    /// inside a string.
    #[test]
    fn line_feeds_do_not_move_offsets(text in "[\\[\\]{}:,\"\\\\eu0-9tru\n\r é😀-]{0,24}") {
        let tabs = text.replace('\n', "\t");
        prop_assert_eq!(term_of(&text, Duplicates::Assume), term_of(tabs, Duplicates::Assume));
    }

    #[test]
    fn line_feeds_do_not_move_offsets_behind_long_integers(lines in 0..3_usize, place in 0..800_usize) {
        let mut text = format!("[1,{}{},{}]", "\n".repeat(lines), "1".repeat(400), "2".repeat(400));
        let place = place.min(text.len());
        text.insert_str(place, "\nx");
        prop_assert_eq!(term_of(&text, Duplicates::Assume), term_of(text.replace('\n', "\t"), Duplicates::Assume));
    }
}

#[test]
fn errors_have_names_and_words() {
    let mut seen = vec![];
    for (kind, name) in [
        (ErrorKind::Syntax, "syntax"),
        (ErrorKind::Eof, "eof"),
        (ErrorKind::Depth, "depth"),
        (ErrorKind::NumberRange, "number_range"),
        (ErrorKind::Utf8, "utf8"),
        (ErrorKind::TrailingData, "trailing_data"),
        (ErrorKind::TooLarge, "too_large"),
    ] {
        assert_eq!(kind.name(), name);
        let words = kind.to_string();
        assert_eq!(
            Error { kind, offset: 12 }.to_string(),
            format!("{words} at byte 12")
        );
        assert!(words.len() > 5 && !seen.contains(&words), "{words}");
        seen.push(words);
    }
}

#[test]
fn output_is_appended() {
    let mut out = vec![1, 2];
    let options = Options::default();
    let mut run = |text: &[u8]| {
        let result = decode(
            text,
            &options,
            &mut BinaryKeys,
            Duplicates::Assume,
            &mut out,
        );
        (result.is_ok(), out.clone())
    };
    assert_eq!(run(b"[1,2"), (false, vec![1, 2]));
    assert_eq!(run(b"7"), (true, vec![1, 2, 131, 97, 7]));
}
