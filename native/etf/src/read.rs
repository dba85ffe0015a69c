//! A reader of external term format that goes over the bytes once, token by token.
//!
//! Nothing recurses: a term may be nested as deep as its bytes allow, and costs no stack. Nothing is allocated. What the VM does not
//! write into a binary (compressed terms, references to an atom cache, local terms) is refused.

use std::borrow::Cow;

use crate::{
    ATOM, BINARY, FLOAT, INTEGER, LARGE_BIG, LARGE_TUPLE, LIST, MAP, NIL, SMALL_ATOM, SMALL_BIG,
    SMALL_INTEGER, SMALL_TUPLE, VERSION,
};

const FLOAT_TEXT: u8 = 99;
const LATIN1_ATOM: u8 = 100;
const REFERENCE: u8 = 101;
const PORT: u8 = 102;
const PID: u8 = 103;
const STRING: u8 = 107;
const NEW_FUN: u8 = 112;
const EXPORT: u8 = 113;
const NEW_REFERENCE: u8 = 114;
const SMALL_LATIN1_ATOM: u8 = 115;
const BITS: u8 = 77;
const NEW_PID: u8 = 88;
const NEW_PORT: u8 = 89;
const NEWER_REFERENCE: u8 = 90;
const V4_PORT: u8 = 120;

/// The bytes are no term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The name of an atom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtomName<'a> {
    bytes: &'a [u8],
    latin1: bool,
}

impl<'a> AtomName<'a> {
    /// Whether it is this name, which is ASCII.
    #[inline]
    pub fn is(self, name: &str) -> bool {
        self.bytes == name.as_bytes()
    }

    /// The name as text.
    ///
    /// # Errors
    /// It is not UTF-8, though it says so.
    pub fn text(self) -> Result<Cow<'a, str>, Malformed> {
        match std::str::from_utf8(self.bytes) {
            // ASCII is the same in both.
            Ok(text) if !self.latin1 || text.is_ascii() => Ok(text.into()),
            _ if self.latin1 => Ok(self.bytes.iter().map(|&b| char::from(b)).collect()),
            _ => Err(Malformed),
        }
    }
}

/// What stands at the head of a term. The terms within it follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'a> {
    /// An integer.
    Integer(i64),
    /// An integer that may not fit: its sign, and its magnitude as little-endian bytes.
    Big(bool, &'a [u8]),
    /// A float.
    Float(f64),
    /// An atom.
    Atom(AtomName<'a>),
    /// A binary.
    Binary(&'a [u8]),
    /// The empty list.
    Nil,
    /// A list: so many elements follow, then its tail.
    List(u32),
    /// A list of these small integers.
    Bytes(&'a [u8]),
    /// A tuple: so many elements follow.
    Tuple(u32),
    /// A map: so many pairs follow.
    Map(u32),
    /// A pid: all bytes of the term.
    Pid(&'a [u8]),
    /// A reference, port, fun or string of bits: all bytes of the term.
    Other(&'a [u8]),
}

/// A place among the bytes of terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// At the first byte of a term: behind the version byte.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Cursor { rest: bytes }
    }

    /// In a term that stands alone.
    ///
    /// # Errors
    /// The version byte is not there.
    #[inline]
    pub fn of_term(bytes: &'a [u8]) -> Result<Self, Malformed> {
        match bytes {
            [VERSION, rest @ ..] => Ok(Cursor { rest }),
            _ => Err(Malformed),
        }
    }

    /// The next term, if it is a binary of at most 16 bytes and so many stand where it begins: these, and how many of them are its
    /// own. Nothing is read else.
    ///
    /// ```
    /// let bytes = *b"\x6d\0\0\0\x02hi and what follows";
    /// let mut at = sockeye_etf::Cursor::new(&bytes);
    /// assert_eq!(at.short_binary(), Some((b"hi and what foll", 2)));
    /// assert_eq!(at.rest(), b" and what follows");
    /// ```
    #[inline(always)]
    pub fn short_binary(&mut self) -> Option<(&'a [u8; 16], usize)> {
        let (head, behind) = self.rest.split_first_chunk()?;
        let [BINARY, 0, 0, 0, len] = *head else {
            return None;
        };
        let (len, window) = (usize::from(len), behind.first_chunk::<16>()?);
        if len > window.len() {
            return None;
        }
        self.rest = behind.get(len..)?;
        Some((window, len))
    }

    /// The next term, if it is an integer from 0 to 2^31 - 1 in its common form. Nothing is read else.
    ///
    /// ```
    /// let mut at = sockeye_etf::Cursor::new(b"\x61\x07");
    /// assert_eq!(at.short_integer(), Some(7));
    /// assert!(at.is_at_end());
    /// ```
    #[inline(always)]
    pub fn short_integer(&mut self) -> Option<u32> {
        match *self.rest {
            [SMALL_INTEGER, n, ref rest @ ..] => {
                self.rest = rest;
                Some(n.into())
            }
            [INTEGER, a @ 0..=127, b, c, d, ref rest @ ..] => {
                self.rest = rest;
                Some(u32::from_be_bytes([a, b, c, d]))
            }
            _ => None,
        }
    }

    /// The next term, if it is a float in its common form. Nothing is read else.
    ///
    /// ```
    /// let mut at = sockeye_etf::Cursor::new(b"\x46\x3f\xf8\0\0\0\0\0\0");
    /// assert_eq!(at.float(), Some(1.5));
    /// assert!(at.is_at_end());
    /// ```
    #[inline(always)]
    pub fn float(&mut self) -> Option<f64> {
        let ([FLOAT, bytes @ ..], rest) = self.rest.split_first_chunk::<9>()? else {
            return None;
        };
        let v = f64::from_be_bytes(*bytes);
        self.rest = rest;
        v.is_finite().then_some(v)
    }

    /// The name of the next term, if it is an atom in the form that OTP 26 writes, or that of OTP 25, whose names are Latin-1. Nothing is read else.
    ///
    /// ```
    /// let mut at = sockeye_etf::Cursor::new(b"\x77\x04true");
    /// assert_eq!(at.short_atom(), Some(&b"true"[..]));
    /// assert!(at.is_at_end());
    /// let mut at = sockeye_etf::Cursor::new(b"\x64\0\x04true");
    /// assert_eq!(at.short_atom(), Some(&b"true"[..]));
    /// assert!(at.is_at_end());
    /// ```
    #[inline(always)]
    pub fn short_atom(&mut self) -> Option<&'a [u8]> {
        let (len, behind) = match *self.rest {
            [SMALL_ATOM, len, ref behind @ ..] => (len, behind),
            [LATIN1_ATOM, 0, len, ref behind @ ..] => (len, behind),
            _ => return None,
        };
        let (name, rest) = behind.split_at_checked(len.into())?;
        self.rest = rest;
        Some(name)
    }

    /// What has not been read.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether all has been read.
    #[inline]
    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    fn short(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    fn long(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// A count of what follows, each of at least so many bytes.
    #[inline]
    fn count(&mut self, each: usize) -> Result<u32, Malformed> {
        let count = self.long()?;
        match (count as usize).checked_mul(each) {
            Some(least) if least <= self.rest.len() => Ok(count),
            _ => Err(Malformed),
        }
    }

    fn atom(&mut self, latin1: bool, len: usize) -> Result<Token<'a>, Malformed> {
        let bytes = self.take(len)?;
        Ok(Token::Atom(AtomName { bytes, latin1 }))
    }

    fn big(&mut self, len: usize) -> Result<Token<'a>, Malformed> {
        let negative = self.byte()? != 0;
        let magnitude = self.take(len)?;
        let mut low = [0; 8];
        if let Some(room) = low.get_mut(..len) {
            room.copy_from_slice(magnitude);
            let low = i128::from(u64::from_le_bytes(low));
            if let Ok(n) = i64::try_from(if negative { -low } else { low }) {
                return Ok(Token::Integer(n));
            }
        }
        Ok(Token::Big(negative, magnitude))
    }

    /// The next token.
    ///
    /// # Errors
    /// There is none, or its bytes are cut off.
    #[inline]
    pub fn token(&mut self) -> Result<Token<'a>, Malformed> {
        let start = self.rest;
        Ok(match self.byte()? {
            SMALL_INTEGER => Token::Integer(self.byte()?.into()),
            INTEGER => Token::Integer(self.array().map(i32::from_be_bytes)?.into()),
            BINARY => {
                let len = self.long()? as usize;
                Token::Binary(self.take(len)?)
            }
            SMALL_ATOM => {
                let len = self.byte()?.into();
                self.atom(false, len)?
            }
            LATIN1_ATOM => {
                let len = self.short()?.into();
                self.atom(true, len)?
            }
            SMALL_TUPLE => Token::Tuple(self.byte()?.into()),
            LIST => Token::List(self.count(1)?),
            NIL => Token::Nil,
            MAP => Token::Map(self.count(2)?),
            STRING => {
                let len = self.short()?.into();
                Token::Bytes(self.take(len)?)
            }
            FLOAT => finite(f64::from_be_bytes(self.array()?))?,
            SMALL_BIG => {
                let len = self.byte()?.into();
                self.big(len)?
            }
            tag => return self.rare(tag, start),
        })
    }

    #[cold]
    fn rare(&mut self, tag: u8, start: &'a [u8]) -> Result<Token<'a>, Malformed> {
        Ok(match tag {
            ATOM => {
                let len = self.short()?.into();
                self.atom(false, len)?
            }
            SMALL_LATIN1_ATOM => {
                let len = self.byte()?.into();
                self.atom(true, len)?
            }
            LARGE_TUPLE => Token::Tuple(self.count(1)?),
            LARGE_BIG => {
                let len = self.long()? as usize;
                self.big(len)?
            }
            FLOAT_TEXT => {
                let text = self.take(31)?;
                let text = text.split(|b| *b == 0).next().unwrap_or_default();
                let text = std::str::from_utf8(text).map_err(|_| Malformed)?;
                finite(text.trim().parse().map_err(|_| Malformed)?)?
            }
            PID => self.named(start, 9).map(Token::Pid)?,
            NEW_PID => self.named(start, 12).map(Token::Pid)?,
            PORT => self.named(start, 5).map(Token::Other)?,
            NEW_PORT => self.named(start, 8).map(Token::Other)?,
            V4_PORT => self.named(start, 12).map(Token::Other)?,
            REFERENCE => self.named(start, 5).map(Token::Other)?,
            NEW_REFERENCE => {
                let words = usize::from(self.short()?);
                self.named(start, 1 + 4 * words).map(Token::Other)?
            }
            NEWER_REFERENCE => {
                let words = usize::from(self.short()?);
                self.named(start, 4 + 4 * words).map(Token::Other)?
            }
            BITS => {
                let len = self.long()? as usize;
                self.take(1)?;
                self.take(len)?;
                Token::Other(self.since(start))
            }
            NEW_FUN => {
                // The size counts itself.
                let len = (self.long()? as usize).checked_sub(4).ok_or(Malformed)?;
                self.take(len)?;
                Token::Other(self.since(start))
            }
            EXPORT => {
                self.skip_atom()?;
                self.skip_atom()?;
                match self.array()? {
                    [SMALL_INTEGER, _] => Token::Other(self.since(start)),
                    _ => return Err(Malformed),
                }
            }
            _ => return Err(Malformed),
        })
    }

    /// The name of a node, and so many bytes behind it.
    fn named(&mut self, start: &'a [u8], len: usize) -> Result<&'a [u8], Malformed> {
        self.skip_atom()?;
        self.take(len)?;
        Ok(self.since(start))
    }

    /// Looks at the tag first: whatever else may stand here could stand in itself.
    fn skip_atom(&mut self) -> Result<(), Malformed> {
        match self.rest.first() {
            Some(&(ATOM | SMALL_ATOM | LATIN1_ATOM | SMALL_LATIN1_ATOM)) => {
                self.token().map(|_| ())
            }
            _ => Err(Malformed),
        }
    }

    /// What has been read since the cursor stood there.
    fn since(&self, start: &'a [u8]) -> &'a [u8] {
        start
            .get(..start.len() - self.rest.len())
            .unwrap_or_default()
    }

    /// The bytes of the next term, without a version byte.
    ///
    /// # Errors
    /// As [`Cursor::token`], for any token of it.
    pub fn term(&mut self) -> Result<&'a [u8], Malformed> {
        let start = self.rest;
        let mut open = 1u64;
        while open > 0 {
            open -= 1;
            open += match self.token()? {
                Token::List(n) => u64::from(n) + 1,
                Token::Tuple(n) => n.into(),
                Token::Map(n) => 2 * u64::from(n),
                _ => 0,
            };
        }
        Ok(self.since(start))
    }
}

fn finite<'a>(v: f64) -> Result<Token<'a>, Malformed> {
    if v.is_finite() {
        Ok(Token::Float(v))
    } else {
        Err(Malformed)
    }
}
