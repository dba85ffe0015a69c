//! JSON beside two decoders that share nothing with ours: Jansson, in C, and sonic-rs, in Rust, on texts that are made at
//! random and on mutations of the seeds. The same are taken, and mean the same, but for what [`Known`] lists.
//!
//! Environment: SOCKEYE_JANSSON, the program that `differential/jansson.c` makes; SOCKEYE_DIFFERENTIAL, how many texts
//! (200000); SOCKEYE_SEED, else the time.

#[path = "../../json/tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::SystemTime;

use sockeye_fuzz::mutate::{Random, mutate};
use sockeye_fuzz::seeds;
use sockeye_json::{Duplicates, Error, ErrorKind, Options};
use sonic_rs::{JsonContainerTrait, JsonValueTrait};
use support::{Term, term_with};

/// Where others differ by design.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
    /// Jansson keeps integers in 64 bits, and refuses longer ones.
    LongInteger,
    /// Jansson keeps keys as strings of C, and refuses one with a NUL in it.
    NulInKey,
    /// sonic-rs takes an integer beyond 64 bits for a double, and -0 for one as well, and drops the sign of -0.0.
    Double,
    /// Jansson passes over a NUL behind a value.
    NulBehind,
    /// sonic-rs refuses an integer beyond the range of a double.
    HugeInteger,
    /// We bound the depth.
    Depth,
}

/// What a decoder makes of a text. Objects have each key once, with its last value.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Null,
    Bool(bool),
    Int(String),
    Double(u64),
    Text(Vec<u8>),
    List(Vec<Value>),
    Object(BTreeMap<Vec<u8>, Value>),
}

impl From<Term> for Value {
    fn from(term: Term) -> Self {
        match term {
            Term::Atom(name) => match name.as_str() {
                "null" => Value::Null,
                name => Value::Bool(name == "true"),
            },
            Term::Int(digits) => Value::Int(digits),
            Term::Float(bits) => Value::Double(bits),
            Term::Bin(bytes) => Value::Text(bytes),
            Term::List(terms) => Value::List(terms.into_iter().map(Value::from).collect()),
            Term::Map(pairs) => {
                let key = |key| match key {
                    Term::Bin(bytes) => bytes,
                    other => panic!("key {other:?}"),
                };
                let pairs = pairs.into_iter();
                Value::Object(pairs.map(|(k, value)| (key(k), value.into())).collect())
            }
            Term::Tuple(_) => panic!("objects are maps here"),
        }
    }
}

impl From<&sonic_rs::Value> for Value {
    fn from(value: &sonic_rs::Value) -> Self {
        if value.is_null() {
            Value::Null
        } else if let Some(b) = value.as_bool() {
            Value::Bool(b)
        } else if let Some(n) = value.as_i64() {
            Value::Int(n.to_string())
        } else if let Some(n) = value.as_u64() {
            Value::Int(n.to_string())
        } else if let Some(n) = value.as_f64() {
            Value::Double(n.to_bits())
        } else if let Some(text) = value.as_str() {
            Value::Text(text.into())
        } else if let Some(list) = value.as_array() {
            Value::List(list.iter().map(Value::from).collect())
        } else {
            let members = value.as_object().expect("an object").iter();
            Value::Object(members.map(|(k, v)| (k.into(), v.into())).collect())
        }
    }
}

/// The program that has Jansson.
struct Jansson {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

/// Of Jansson's errors: an integer or a double is too large; a NUL in a key.
const OVERFLOW: u8 = 15;
const NUL_IN_KEY: u8 = 13;

impl Jansson {
    fn start() -> Self {
        let program = std::env::var("SOCKEYE_JANSSON").expect("SOCKEYE_JANSSON is not set");
        let mut child = Command::new(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        Jansson {
            input: child.stdin.take().expect("a pipe"),
            output: child.stdout.take().expect("a pipe"),
            child,
        }
    }

    fn decode(&mut self, text: &[u8]) -> Result<Value, u8> {
        let all = [&(text.len() as u32).to_be_bytes(), text].concat();
        self.input.write_all(&all).expect("it reads");
        let mut len = [0; 4];
        self.output.read_exact(&mut len).expect("it answers");
        let mut answer = vec![0; u32::from_be_bytes(len) as usize];
        self.output.read_exact(&mut answer).expect("it answers");
        match answer.split_first() {
            Some((b'+', value)) => {
                let mut rest = value;
                let value = read(&mut rest);
                assert!(rest.is_empty());
                Ok(value)
            }
            _ => Err(answer[1]),
        }
    }
}

impl Drop for Jansson {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A value as `jansson.c` writes it.
fn read(from: &mut &[u8]) -> Value {
    fn take<'a>(from: &mut &'a [u8], len: usize) -> &'a [u8] {
        let (now, later) = from.split_at(len);
        *from = later;
        now
    }
    fn count(from: &mut &[u8]) -> usize {
        u32::from_be_bytes(take(from, 4).try_into().expect("four")) as usize
    }
    fn text(from: &mut &[u8]) -> Vec<u8> {
        let len = count(from);
        take(from, len).to_vec()
    }
    match take(from, 1)[0] {
        b'n' => Value::Null,
        b't' => Value::Bool(true),
        b'f' => Value::Bool(false),
        b'i' => {
            let end = from.iter().position(|b| *b == b';').expect("an end");
            let digits = String::from_utf8(take(from, end).to_vec()).expect("digits");
            take(from, 1);
            Value::Int(digits)
        }
        b'd' => Value::Double(u64::from_be_bytes(take(from, 8).try_into().expect("8"))),
        b's' => Value::Text(text(from)),
        b'[' => Value::List((0..count(from)).map(|_| read(from)).collect()),
        b'{' => Value::Object((0..count(from)).map(|_| (text(from), read(from))).collect()),
        other => panic!("{other}"),
    }
}

impl Value {
    /// The same, but for numbers that sonic-rs has only as doubles: integers beyond 64 bits, and zeros with a sign, whose sign
    /// it drops.
    fn is_nearly(&self, theirs: &Value) -> bool {
        match (self, theirs) {
            (Value::Int(digits), Value::Double(bits)) => {
                let fits = digits.parse::<i64>().is_ok() || digits.parse::<u64>().is_ok();
                let rounded = digits.parse::<f64>().map(f64::to_bits);
                (!fits || digits == "0") && rounded == Ok(*bits)
            }
            (Value::Double(ours), Value::Double(0)) => f64::from_bits(*ours) == 0.0,
            (Value::List(ours), Value::List(theirs)) => {
                let mut both = ours.iter().zip(theirs);
                ours.len() == theirs.len() && both.all(|(ours, theirs)| ours.is_nearly(theirs))
            }
            (Value::Object(ours), Value::Object(theirs)) => {
                let mut both = ours.iter().zip(theirs);
                ours.len() == theirs.len() && both.all(|(a, b)| a.0 == b.0 && a.1.is_nearly(b.1))
            }
            _ => self == theirs,
        }
    }
}

/// How two decoders differ, if they do, or that they must not.
type Beside = Result<Option<Known>, String>;

/// Of the text, since a value with one may be dropped for another with its key.
fn has_long_integer(text: &[u8]) -> bool {
    let mut runs = text.split(|b| !b.is_ascii_digit());
    runs.any(|digits| digits.len() >= 19)
}

fn beside_jansson(ours: &Result<Value, Error>, theirs: &Result<Value, u8>, text: &[u8]) -> Beside {
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) if ours == theirs => Ok(None),
        (Err(_), Err(_)) => Ok(None),
        (Err(error), Ok(_)) if error.kind == ErrorKind::Depth => Ok(Some(Known::Depth)),
        (Ok(_), Err(OVERFLOW)) if has_long_integer(text) => Ok(Some(Known::LongInteger)),
        (Ok(_), Err(NUL_IN_KEY)) if text.windows(6).any(|six| six == b"\\u0000") => {
            Ok(Some(Known::NulInKey))
        }
        (Err(error), Ok(_)) if text.get(error.offset) == Some(&0) => Ok(Some(Known::NulBehind)),
        _ => Err(format!("ours {ours:?}, Jansson's {theirs:?}")),
    }
}

fn beside_sonic(ours: &Result<Value, Error>, text: &[u8]) -> Beside {
    let theirs = sonic_rs::from_slice::<sonic_rs::Value>(text);
    let theirs = theirs.as_ref().map(Value::from);
    match (ours, &theirs) {
        (Ok(ours), Ok(theirs)) if ours == theirs => Ok(None),
        (Err(_), Err(_)) => Ok(None),
        (Ok(ours), Ok(theirs)) if ours.is_nearly(theirs) => Ok(Some(Known::Double)),
        (Err(error), Ok(_)) if error.kind == ErrorKind::Depth => Ok(Some(Known::Depth)),
        (Ok(_), Err(_)) if has_long_integer(text) => Ok(Some(Known::HugeInteger)),
        _ => Err(format!("ours {ours:?}, sonic-rs's {theirs:?}")),
    }
}

/// A text out of the grammar, with what is rare in it as often as what is not.
fn make(random: &mut Random, depth: usize, out: &mut String) {
    let white = [" ", "\n", "\t\r", "", "", "", ""];
    out.push_str(white[random.below(white.len())]);
    match random.below(if depth == 0 { 5 } else { 7 }) {
        0 => out.push_str(["null", "true", "false"][random.below(3)]),
        1 | 2 => number(random, out),
        3 | 4 => string(random, out),
        kind => {
            out.push(if kind == 5 { '[' } else { '{' });
            for n in 0..random.below(5) {
                if n > 0 {
                    out.push(',');
                }
                if kind == 6 {
                    out.push_str(white[random.below(white.len())]);
                    string(random, out);
                    out.push_str(white[random.below(white.len())]);
                    out.push(':');
                }
                make(random, depth - 1, out);
            }
            out.push(if kind == 5 { ']' } else { '}' });
        }
    }
    out.push_str(white[random.below(white.len())]);
}

fn number(random: &mut Random, out: &mut String) {
    if random.below(2) == 0 {
        out.push('-');
    }
    match random.below(6) {
        0 => out.push('0'),
        1 => _ = write!(out, "{}", random.bits() >> random.below(64)),
        // Around the bounds of 64 bits.
        2 => _ = write!(out, "{}", (1_u128 << 63) + random.below(5) as u128 - 2),
        3 => _ = write!(out, "{}", (1_u128 << 64) + random.below(5) as u128 - 2),
        4 => _ = write!(out, "{}{}", random.bits() | 1, random.bits()),
        _ => {
            let float = f64::from_bits(random.bits() >> 1);
            match float.is_finite() && random.below(2) == 0 {
                true => _ = write!(out, "{float:e}"),
                false => {
                    let exponent = random.below(700) as i64 - 350;
                    _ = write!(out, "{}.{}", random.below(100), random.bits());
                    _ = write!(out, "{}{exponent}", ["e", "E"][random.below(2)]);
                }
            }
        }
    }
}

fn string(random: &mut Random, out: &mut String) {
    out.push('"');
    let most = if random.below(9) == 0 { 90 } else { 6 };
    for _ in 0..random.below(most) {
        match random.below(9) {
            0 => out.push_str(["\\n", "\\\"", "\\/", "\\\\", "\\b", "\\t"][random.below(6)]),
            1 => _ = write!(out, "\\u{:04x}", random.below(0xd800)),
            2 => {
                let (high, low) = (random.below(0x400), random.below(0x400));
                _ = write!(out, "\\uD{:03X}\\ud{:03x}", 0x800 + high, 0xc00 + low);
            }
            3 => out.push(char::from_u32(random.below(0x11_0000) as u32).unwrap_or('\u{7f}')),
            // Keys that come twice.
            _ => out.push(char::from(b'a' + random.below(3) as u8)),
        }
    }
    // What must not stand in one.
    out.retain(|c| c >= ' ');
    out.push('"');
}

/// A text of the suite: `\\` for a backslash, `\xNN` for a byte.
fn unescaped(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, behind @ ..] = rest {
        rest = match behind {
            [b'x', high, low, behind @ ..] if *first == b'\\' => {
                let digits = String::from_utf8(vec![*high, *low]).expect("digits");
                out.push(u8::from_str_radix(&digits, 16).expect("digits"));
                behind
            }
            [b'\\', behind @ ..] if *first == b'\\' => {
                out.push(b'\\');
                behind
            }
            _ => {
                out.push(*first);
                behind
            }
        };
    }
    out
}

#[test]
fn json() {
    let count = std::env::var("SOCKEYE_DIFFERENTIAL").ok();
    let count: u64 = count.map_or(200_000, |count| count.parse().expect("a number"));
    let seed = std::env::var("SOCKEYE_SEED").ok();
    let seed = seed.map_or_else(
        || {
            SystemTime::UNIX_EPOCH
                .elapsed()
                .map_or(1, |now| now.as_secs())
        },
        |seed| seed.parse().expect("a number"),
    );
    eprintln!("SOCKEYE_SEED={seed}");
    let mut random = Random::new(seed);
    let mut others: Vec<_> = seeds::of("json").expect("seeds");
    // Their first byte is no text.
    others.iter_mut().for_each(|(_, seed)| _ = seed.remove(0));
    let cases = include_str!("../../json/tests/suite/cases.txt").lines();
    others.extend(cases.filter_map(|line| {
        let (name, text) = line.split_once('\t')?;
        Some((name.to_owned(), unescaped(text)))
    }));
    let mut jansson = Jansson::start();
    let options = Options::default();
    let (mut taken, mut unexplained, mut known) = (0, 0, BTreeMap::<_, u64>::new());
    for number in 0..count {
        let mut text = match random.below(2) {
            0 => {
                let mut made = String::new();
                make(&mut random, 5, &mut made);
                if random.below(50) == 0 {
                    // Around our bound.
                    let depth = random.below(16) + 120;
                    made = "[".repeat(depth) + &made + &"]".repeat(depth);
                }
                made.into_bytes()
            }
            _ => others[random.below(others.len())].1.clone(),
        };
        if number % 3 > 0 {
            mutate(&mut text, &others, &mut random);
        }
        let ours = term_with(&text, &options, Duplicates::Resolve);
        let ours = ours.map(Value::from);
        let theirs = jansson.decode(&text);
        taken += u64::from(ours.is_ok());
        for beside in [
            beside_jansson(&ours, &theirs, &text),
            beside_sonic(&ours, &text),
        ] {
            match beside {
                Ok(None) => {}
                Ok(Some(difference)) => *known.entry(difference).or_default() += 1,
                Err(difference) => {
                    eprintln!("text {number}, \"{}\": {difference}", text.escape_ascii());
                    unexplained += 1;
                }
            }
        }
        assert!(unexplained < 20, "too many to go on");
    }
    eprintln!("{count} texts, {taken} of them JSON; known differences: {known:?}");
    assert_eq!(unexplained, 0, "differences that are not known");
    assert!(taken > count / 20, "hardly any text is JSON");
}
