//! Terms that come, on the hot ways: looked at where they are, and not copied.

use std::borrow::Cow;

use sockeye_engine::ConnId;
use sockeye_etf::{Cursor, Token};
use sockeye_json::Null;

use crate::atoms::Atom;

/// Why a term has no JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError<T> {
    /// This part of it cannot be JSON.
    NotJson(T),
    /// Two keys of an object have the same text: this one, for example.
    DuplicateKey(T),
    /// A struct of Elixir, of this module.
    Struct(T),
    /// It takes more than the limit; try again where there is time, with `usize::MAX`.
    TooLarge,
}

/// Why an io list has no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoError {
    /// It is none.
    BadArg,
    /// There are more bytes than the limit, or looking takes too long.
    TooLarge,
}

/// Looks at terms.
pub trait Reader<'a>: Copy {
    /// A term.
    type Term: Copy;
    /// The parts of a tuple.
    type Parts: AsRef<[Self::Term]>;

    /// Whether it is this atom.
    fn is(self, term: Self::Term, atom: Atom) -> bool;
    /// Whether it is a map.
    fn is_map(self, term: Self::Term) -> bool;
    /// The parts of a tuple. None if it is no tuple, or may be if it has more than four.
    fn parts(self, term: Self::Term) -> Option<Self::Parts>;
    /// An integer that is not negative.
    fn unsigned(self, term: Self::Term) -> Option<u64>;
    /// A small integer.
    fn int(self, term: Self::Term) -> Option<i32>;
    /// The bytes of a binary.
    fn bytes(self, term: Self::Term) -> Option<&'a [u8]>;
    /// Head and tail of a list that is not empty.
    fn cell(self, list: Self::Term) -> Option<(Self::Term, Self::Term)>;
    /// Whether it is the empty list.
    fn is_nil(self, term: Self::Term) -> bool;
    /// The bytes of an io list, not more than so many.
    ///
    /// # Errors
    /// See [`IoError`].
    fn iolist(self, term: Self::Term, limit: usize) -> Result<Cow<'a, [u8]>, IoError>;
    /// Appends the JSON text of a term.
    ///
    /// # Errors
    /// See [`EncodeError`]; `out` is then as it was.
    fn json(
        self,
        term: Self::Term,
        null: Null,
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError<Self::Term>>;
    /// Whether two terms are one and the same. May say no of those that are only equal.
    fn is_same(self, a: Self::Term, b: Self::Term) -> bool;
    /// Names the process that calls.
    fn caller(self) -> u64;

    /// A connection.
    #[inline]
    fn conn(self, term: Self::Term) -> Option<ConnId> {
        match self.parts(term)?.as_ref() {
            [tag, id] if self.is(*tag, Atom::sockeye_conn) => ConnId::from_u64(self.unsigned(*id)?),
            _ => None,
        }
    }
}

/// Looks at external term format.
#[derive(Clone, Copy, Debug)]
pub struct EtfReader {
    /// Names the process that calls.
    pub caller: u64,
}

/// A term within bytes, or what is left of a list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EtfTerm<'a> {
    at: Cursor<'a>,
    form: Form<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Form<'a> {
    Term,
    /// So many elements, at least one, and a tail.
    List(u32),
    /// What is left of a list of small integers.
    Bytes(&'a [u8]),
    /// One of them.
    Byte(u8),
}

impl<'a> EtfTerm<'a> {
    /// The term that begins here.
    pub fn new(at: Cursor<'a>) -> Self {
        let form = Form::Term;
        EtfTerm { at, form }
    }

    /// A byte of a list of them.
    pub(crate) fn byte(at: Cursor<'a>, byte: u8) -> Self {
        let form = Form::Byte(byte);
        EtfTerm { at, form }
    }

    fn token(self) -> Option<Token<'a>> {
        match self.form {
            Form::Term => { self.at }.token().ok(),
            Form::List(n) => Some(Token::List(n)),
            Form::Bytes(bytes) => Some(Token::Bytes(bytes)),
            Form::Byte(byte) => Some(Token::Integer(byte.into())),
        }
    }

    /// Appends it, without a version byte.
    pub fn copy_to(self, out: &mut Vec<u8>) {
        match self.form {
            Form::Term => out.extend_from_slice({ self.at }.term().unwrap_or_default()),
            Form::Byte(byte) => sockeye_etf::unsigned(out, byte.into()),
            // Nobody is told of a part of a list.
            Form::List(_) | Form::Bytes(_) => sockeye_etf::nil(out),
        }
    }

    /// Where the first element of a list begins, and how many come after it. None for a list of small integers, too.
    #[inline]
    pub(crate) fn head(self) -> Option<(Cursor<'a>, u32)> {
        let mut at = self.at;
        let elements = match self.form {
            Form::Term => match at.token().ok()? {
                Token::List(n) => n,
                _ => return None,
            },
            Form::List(n) => n,
            Form::Bytes(_) | Form::Byte(_) => return None,
        };
        Some((at, elements.checked_sub(1)?))
    }

    /// What is left of a list: so many elements and a tail, from there.
    #[inline]
    pub(crate) fn tail(at: Cursor<'a>, left: u32) -> Self {
        let form = match left {
            0 => Form::Term,
            _ => Form::List(left),
        };
        EtfTerm { at, form }
    }

    /// Whether it is the end of a list, and nothing stands behind it.
    pub(crate) fn is_end(self) -> bool {
        let mut at = self.at;
        match self.form {
            Form::Term => matches!(at.token(), Ok(Token::Nil)) && at.is_at_end(),
            Form::Bytes([]) => at.is_at_end(),
            Form::List(_) | Form::Bytes(_) | Form::Byte(_) => false,
        }
    }

    /// The term as a cursor. None for a part of a list.
    pub fn cursor(self) -> Option<Cursor<'a>> {
        matches!(self.form, Form::Term).then_some(self.at)
    }
}

/// The parts of a small tuple.
#[derive(Clone, Copy, Debug)]
pub struct EtfParts<'a> {
    parts: [EtfTerm<'a>; 4],
    len: usize,
}

impl<'a> AsRef<[EtfTerm<'a>]> for EtfParts<'a> {
    #[inline]
    fn as_ref(&self) -> &[EtfTerm<'a>] {
        self.parts.get(..self.len).unwrap_or_default()
    }
}

/// Steps that walking an io list may take for each of its bytes, and more.
const STEPS: usize = 64;

impl<'a> Reader<'a> for EtfReader {
    type Term = EtfTerm<'a>;
    type Parts = EtfParts<'a>;

    #[inline]
    fn is(self, term: EtfTerm<'a>, atom: Atom) -> bool {
        matches!(term.token(), Some(Token::Atom(name)) if name.is(atom.name()))
    }

    fn is_map(self, term: EtfTerm<'a>) -> bool {
        matches!(term.token(), Some(Token::Map(_)))
    }

    #[inline]
    fn parts(self, term: EtfTerm<'a>) -> Option<EtfParts<'a>> {
        let mut cursor = term.cursor()?;
        let Ok(Token::Tuple(arity)) = cursor.token() else {
            return None;
        };
        let len = arity as usize;
        let mut parts = [EtfTerm::new(cursor); 4];
        for (i, part) in parts.get_mut(..len)?.iter_mut().enumerate() {
            *part = EtfTerm::new(cursor);
            // Nobody asks where the last one ends.
            if i + 1 < len {
                cursor.term().ok()?;
            }
        }
        Some(EtfParts { parts, len })
    }

    #[inline]
    fn unsigned(self, term: EtfTerm<'a>) -> Option<u64> {
        match term.token()? {
            Token::Integer(n) => u64::try_from(n).ok(),
            Token::Big(false, magnitude) => {
                let mut low = [0; 8];
                low.get_mut(..magnitude.len())?.copy_from_slice(magnitude);
                Some(u64::from_le_bytes(low))
            }
            _ => None,
        }
    }

    fn int(self, term: EtfTerm<'a>) -> Option<i32> {
        match term.token()? {
            Token::Integer(n) => i32::try_from(n).ok(),
            _ => None,
        }
    }

    #[inline]
    fn bytes(self, term: EtfTerm<'a>) -> Option<&'a [u8]> {
        match term.token()? {
            Token::Binary(bytes) => Some(bytes),
            _ => None,
        }
    }

    #[inline]
    fn cell(self, list: EtfTerm<'a>) -> Option<(EtfTerm<'a>, EtfTerm<'a>)> {
        if let Some((mut at, left)) = list.head() {
            let head = EtfTerm::new(at);
            at.term().ok()?;
            return Some((head, EtfTerm::tail(at, left)));
        }
        let mut at = list.at;
        let bytes = match list.form {
            Form::Term => match at.token().ok()? {
                Token::Bytes(bytes) => bytes,
                _ => return None,
            },
            Form::Bytes(bytes) => bytes,
            Form::List(_) | Form::Byte(_) => return None,
        };
        let (first, rest) = bytes.split_first()?;
        let form = Form::Bytes(rest);
        Some((EtfTerm::byte(at, *first), EtfTerm { at, form }))
    }

    fn is_nil(self, term: EtfTerm<'a>) -> bool {
        matches!(
            term.token(),
            Some(Token::Nil | Token::Bytes([]) | Token::List(0))
        )
    }

    fn iolist(self, term: EtfTerm<'a>, limit: usize) -> Result<Cow<'a, [u8]>, IoError> {
        let within = |len: usize| {
            if len > limit {
                Err(IoError::TooLarge)
            } else {
                Ok(())
            }
        };
        match term.token().ok_or(IoError::BadArg)? {
            Token::Binary(bytes) | Token::Bytes(bytes) => {
                within(bytes.len())?;
                return Ok(bytes.into());
            }
            Token::Nil => return Ok(Cow::default()),
            Token::List(_) => {}
            _ => return Err(IoError::BadArg),
        }
        let mut out = Vec::new();
        let mut cursor = term.cursor().ok_or(IoError::BadArg)?;
        let mut steps = limit.saturating_mul(2).saturating_add(STEPS);
        // Of each open list: elements to come before its tail.
        let mut open: Vec<u32> = Vec::new();
        loop {
            steps = steps.checked_sub(1).ok_or(IoError::TooLarge)?;
            let is_tail = open.last() == Some(&0);
            if is_tail {
                open.pop();
            } else if let Some(left) = open.last_mut() {
                *left -= 1;
            }
            let is_element = !is_tail && !open.is_empty();
            match cursor.token().map_err(|_| IoError::BadArg)? {
                Token::Binary(bytes) | Token::Bytes(bytes) => out.extend_from_slice(bytes),
                Token::Integer(n) if is_element => {
                    out.push(u8::try_from(n).map_err(|_| IoError::BadArg)?);
                }
                Token::Nil => {}
                Token::List(n) => open.push(n),
                _ => return Err(IoError::BadArg),
            }
            within(out.len())?;
            if open.is_empty() {
                return Ok(out.into());
            }
        }
    }

    fn json(
        self,
        term: EtfTerm<'a>,
        null: Null,
        _limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError<EtfTerm<'a>>> {
        crate::encode::encode(term, null, out)
    }

    #[inline]
    fn is_same(self, a: EtfTerm<'a>, b: EtfTerm<'a>) -> bool {
        let (a, b) = (a.at.rest(), b.at.rest());
        std::ptr::eq(a, b)
    }

    fn caller(self) -> u64 {
        self.caller
    }
}
