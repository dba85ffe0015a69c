//! A reader of external term format that shares no code with the crate.

#![allow(dead_code)]

use sockeye_json::{BinaryKeys, Duplicates, Error, Options, decode};

/// A term, with integers in decimal so that any size compares.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Term {
    Atom(String),
    Int(String),
    Float(u64),
    Bin(Vec<u8>),
    List(Vec<Term>),
    Map(Vec<(Term, Term)>),
    Tuple(Vec<Term>),
}

pub(crate) fn atom(name: &str) -> Term {
    Term::Atom(name.to_owned())
}

pub(crate) fn int(n: impl ToString) -> Term {
    Term::Int(n.to_string())
}

pub(crate) fn float(v: f64) -> Term {
    Term::Float(v.to_bits())
}

pub(crate) fn bin(s: &str) -> Term {
    Term::Bin(s.as_bytes().to_vec())
}

/// Decodes with binary keys and reads the result.
pub(crate) fn term_of(text: impl AsRef<[u8]>, duplicates: Duplicates) -> Result<Term, Error> {
    term_with(text, &Options::default(), duplicates)
}

/// The term of a text that is right; of equal keys there are none.
pub(crate) fn ok(text: impl AsRef<[u8]>) -> Term {
    term_of(text, Duplicates::Assume).unwrap()
}

/// What is wrong with a text.
pub(crate) fn err(text: impl AsRef<[u8]>) -> Error {
    term_of(text, Duplicates::Assume).unwrap_err()
}

pub(crate) fn list(terms: impl IntoIterator<Item = Term>) -> Term {
    Term::List(terms.into_iter().collect())
}

pub(crate) fn term_with(
    text: impl AsRef<[u8]>,
    options: &Options,
    duplicates: Duplicates,
) -> Result<Term, Error> {
    let mut out = b"before".to_vec();
    let result = decode(
        text.as_ref(),
        options,
        &mut BinaryKeys,
        duplicates,
        &mut out,
    );
    let etf = out.strip_prefix(b"before").expect("output is appended");
    if let Err(error) = result {
        assert!(etf.is_empty(), "output is left after an error");
        return Err(error);
    }
    Ok(read(etf))
}

/// Reads a term with its version byte; nothing may follow.
pub(crate) fn read(etf: &[u8]) -> Term {
    assert_eq!(etf[0], 131, "version byte");
    let mut reader = Reader(&etf[1..]);
    let term = reader.term();
    assert!(reader.0.is_empty(), "bytes after the term");
    term
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(n);
        self.0 = tail;
        head
    }

    fn u8(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().unwrap())
    }

    fn term(&mut self) -> Term {
        match self.u8() {
            97 => int(self.u8()),
            98 => int(self.u32() as i32),
            70 => Term::Float(u64::from_be_bytes(self.take(8).try_into().unwrap())),
            104 => {
                let n = self.u8();
                Term::Tuple((0..n).map(|_| self.term()).collect())
            }
            106 => Term::List(vec![]),
            108 => {
                let n = self.u32();
                assert_ne!(n, 0, "an empty list is NIL");
                let list = (0..n).map(|_| self.term()).collect();
                assert_eq!(self.u8(), 106, "the tail of a list is NIL");
                Term::List(list)
            }
            109 => {
                let n = self.u32() as usize;
                Term::Bin(self.take(n).to_vec())
            }
            110 => {
                let n = self.u8() as usize;
                self.big(n)
            }
            111 => {
                let n = self.u32() as usize;
                self.big(n)
            }
            116 => {
                let n = self.u32();
                Term::Map((0..n).map(|_| (self.term(), self.term())).collect())
            }
            118 => {
                let n = u16::from_be_bytes(self.take(2).try_into().unwrap()) as usize;
                self.atom(n)
            }
            119 => {
                let n = self.u8() as usize;
                self.atom(n)
            }
            tag => panic!("tag {tag}"),
        }
    }

    fn atom(&mut self, n: usize) -> Term {
        let name = str::from_utf8(self.take(n)).unwrap();
        assert!(name.chars().count() <= 255, "an atom this long");
        atom(name)
    }

    /// By long division, a digit at a time.
    fn big(&mut self, n: usize) -> Term {
        let negative = self.u8() == 1;
        let mut magnitude = self.take(n).to_vec();
        assert_ne!(magnitude.last(), Some(&0), "not the shortest form");
        let mut digits = vec![];
        while !magnitude.is_empty() {
            let mut rest = 0;
            for b in magnitude.iter_mut().rev() {
                let wide = rest * 256 + u32::from(*b);
                *b = (wide / 10) as u8;
                rest = wide % 10;
            }
            digits.push(b'0' + rest as u8);
            while magnitude.last() == Some(&0) {
                magnitude.pop();
            }
        }
        if negative {
            digits.push(b'-');
        }
        digits.reverse();
        int(String::from_utf8(digits).unwrap())
    }
}
