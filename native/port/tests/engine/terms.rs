//! Terms, as the VM's side writes and reads them. The simulation has this file, too.

use sockeye_etf as etf;
use sockeye_seam::value::{Value, read_etf};

pub type Term = Value<Vec<u8>>;

pub fn atom(name: &str) -> Term {
    Value::Atom(name.into())
}

pub fn int(n: i64) -> Term {
    Value::Integer(n)
}

pub fn binary(bytes: impl AsRef<[u8]>) -> Term {
    Value::Binary(bytes.as_ref().into())
}

pub fn tuple(parts: Vec<Term>) -> Term {
    Value::Tuple(parts)
}

pub fn list(elements: Vec<Term>) -> Term {
    Value::List(elements)
}

/// `{Tag, Value}`
pub fn tagged(tag: &str, value: Term) -> Term {
    tuple(vec![atom(tag), value])
}

/// A pid of this test's VM.
pub fn pid(n: u8) -> Term {
    process(n.into())
}

/// One of many.
pub fn process(n: u32) -> Term {
    let mut bytes = vec![88];
    etf::atom(&mut bytes, "nonode@nohost");
    bytes.extend_from_slice(&n.to_be_bytes());
    bytes.extend_from_slice(&[0; 8]);
    Value::Process(bytes)
}

pub fn bytes(term: &Term) -> Vec<u8> {
    let mut out = vec![etf::VERSION];
    write(term, &mut out);
    out
}

fn write(term: &Term, out: &mut Vec<u8>) {
    match term {
        Value::Atom(name) => etf::atom(out, name),
        Value::Integer(n) if *n < 0 => etf::negative(out, *n),
        Value::Integer(n) => etf::unsigned(out, *n as u64),
        Value::Float(v) => etf::float(out, *v),
        Value::Binary(bytes) => etf::binary(out, bytes),
        Value::List(elements) => {
            etf::list(out, elements.len() as u32);
            elements.iter().for_each(|element| write(element, out));
            etf::nil(out);
        }
        Value::Tuple(parts) => {
            etf::tuple(out, parts.len() as u32);
            parts.iter().for_each(|part| write(part, out));
        }
        Value::Map(pairs) => {
            etf::map(out, pairs.len() as u32);
            for (key, value) in pairs {
                write(key, out);
                write(value, out);
            }
        }
        Value::Process(pid) => out.extend_from_slice(pid),
        Value::Other => panic!("what should that be"),
    }
}

pub fn term(bytes: &[u8]) -> Term {
    let mut cursor = etf::Cursor::of_term(bytes).unwrap();
    let term = read_etf(&mut cursor, &mut <[u8]>::to_vec).unwrap();
    assert!(cursor.is_at_end(), "more than a term");
    term
}
