//! A term in external term format, read in place.

use std::borrow::Cow;

use sockeye_etf::{Cursor, Token};

use crate::read::IoError;

/// Steps that walking an io list may take for each of its bytes, and more.
const STEPS: usize = 64;

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

    #[inline]
    pub(crate) fn token(self) -> Option<Token<'a>> {
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

    /// Its bytes, without a version byte.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.copy_to(&mut bytes);
        bytes
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

    /// A small integer.
    pub(crate) fn int(self) -> Option<i32> {
        match self.token()? {
            Token::Integer(n) => i32::try_from(n).ok(),
            _ => None,
        }
    }

    /// Head and tail of a list that is not empty.
    #[inline]
    pub(crate) fn cell(self) -> Option<(Self, Self)> {
        if let Some((mut at, left)) = self.head() {
            let head = EtfTerm::new(at);
            at.term().ok()?;
            return Some((head, EtfTerm::tail(at, left)));
        }
        let mut at = self.at;
        let bytes = match self.form {
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

    /// The bytes of an io list, not more than so many.
    pub(crate) fn iolist(self, limit: usize) -> Result<Cow<'a, [u8]>, IoError> {
        let within = |len: usize| {
            if len > limit {
                Err(IoError::TooLarge)
            } else {
                Ok(())
            }
        };
        match self.token().ok_or(IoError::BadArg)? {
            Token::Binary(bytes) | Token::Bytes(bytes) => {
                within(bytes.len())?;
                return Ok(bytes.into());
            }
            Token::Nil => return Ok(Cow::default()),
            Token::List(_) => {}
            _ => return Err(IoError::BadArg),
        }
        let mut out = Vec::new();
        let mut cursor = self.cursor().ok_or(IoError::BadArg)?;
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

    /// Whether both are at one place.
    #[inline]
    pub(crate) fn is_same(self, other: Self) -> bool {
        std::ptr::eq(self.at.rest(), other.at.rest())
    }
}
