//! JSON to terms and back to text, beside serde_json.

use serde::de::Deserialize as _;
use serde_json::Value;
use sockeye_json::{BinaryKeys, Duplicates, Error, ErrorKind, MAX_DEPTH, Options, decode, text};

use crate::Choices;
use crate::term::{self, Term};

/// Byte 0: the depth that is allowed, 0 for the default. The rest is the text.
pub fn check(data: &[u8]) {
    let mut choices = Choices(data);
    let mut options = Options::default();
    match choices.byte() {
        0 => {}
        depth => options.max_depth = depth.into(),
    }
    let input = choices.0;
    strings(input);
    let ours = run(input, &options, Duplicates::Resolve);
    let assumed = run(input, &options, Duplicates::Assume);
    assert_eq!(
        assumed.is_ok(),
        ours.is_ok(),
        "acceptance depends on duplicates"
    );
    let theirs = reference(input);
    match (&ours, &theirs) {
        (Ok(term), Ok(value)) => {
            let depth = depth(value);
            assert!(
                depth <= options.max_depth.into(),
                "deeper than allowed: {depth}"
            );
            agrees(term, value);
        }
        (Err(error), Err(_)) => assert!(error.offset <= input.len()),
        (Ok(_), Err(error)) => assert!(long_digits(input), "not JSON for serde_json: {error}"),
        (Err(error), Ok(value)) => match error.kind {
            ErrorKind::Depth => assert!(depth(value) > options.max_depth.into(), "not deep"),
            other => panic!("JSON for serde_json: {other:?} at {}", error.offset),
        },
    }
}

/// The output is a term, complete and minimal, or nothing.
fn run(input: &[u8], options: &Options, duplicates: Duplicates) -> Result<Term, Error> {
    let mut out = b"before".to_vec();
    let result = decode(input, options, &mut BinaryKeys, duplicates, &mut out);
    let etf = out.strip_prefix(b"before").expect("output is appended");
    match result {
        Ok(()) => Ok(term::read(etf)),
        Err(error) => {
            assert!(etf.is_empty(), "output is left after an error");
            Err(error)
        }
    }
}

fn reference(input: &[u8]) -> serde_json::Result<Value> {
    // Far beyond any depth that is allowed, and well within this thread's stack.
    let deep = input.iter().filter(|b| matches!(b, b'[' | b'{')).count() > 2000;
    let mut reader = serde_json::Deserializer::from_slice(input);
    if !deep {
        reader.disable_recursion_limit();
    }
    let value = Value::deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// Integers of a length that serde_json makes infinite.
fn long_digits(input: &[u8]) -> bool {
    input
        .split(|b| !b.is_ascii_digit())
        .any(|digits| digits.len() > 300)
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(all) => 1 + all.iter().map(depth).max().unwrap_or(0),
        Value::Object(all) => 1 + all.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn agrees(term: &Term, value: &Value) {
    let same = match (term, value) {
        (Term::Atom(name), Value::Null) => name == "null",
        (Term::Atom(name), Value::Bool(b)) => *name == b.to_string(),
        (Term::Bin(bytes), Value::String(s)) => bytes == s.as_bytes(),
        (Term::Float(bits), Value::Number(n)) => {
            n.is_f64() && n.as_f64().map(f64::to_bits) == Some(*bits)
        }
        // Beyond 64 bits serde_json has only a float, and -0 is one.
        (Term::Int(digits), Value::Number(n)) => {
            *digits == n.to_string() || n.is_f64() && digits.parse::<f64>().ok() == n.as_f64()
        }
        (Term::List(terms), Value::Array(values)) => {
            terms
                .iter()
                .zip(values)
                .for_each(|(term, value)| agrees(term, value));
            terms.len() == values.len()
        }
        (Term::Map(pairs), Value::Object(members)) => {
            for (key, term) in pairs {
                let Term::Bin(key) = key else {
                    panic!("key {key:?}")
                };
                let key = str::from_utf8(key).expect("UTF-8");
                agrees(term, members.get(key).expect("a member"));
            }
            pairs.len() == members.len()
        }
        _ => false,
    };
    assert!(same, "{term:?} is not {value}");
}

/// What we write, serde_json reads.
fn strings(input: &[u8]) {
    let mut out = Vec::new();
    let valid = text::push_bytes(&mut out, input);
    let s = str::from_utf8(input);
    assert_eq!(valid, s.is_ok());
    let Ok(s) = s else { return };
    let mut other = Vec::new();
    text::push_string(&mut other, s);
    assert_eq!(out, other);
    assert_eq!(
        serde_json::from_slice::<String>(&out).ok().as_deref(),
        Some(s)
    );
    if let Some(bytes) = input.first_chunk() {
        let float = f64::from_be_bytes(*bytes);
        let mut out = Vec::new();
        text::push_f64(&mut out, float);
        if float.is_finite() {
            assert_eq!(serde_json::from_slice(&out).ok(), Some(float));
        }
    }
}

const _: () = assert!(MAX_DEPTH >= u8::MAX as u16);
