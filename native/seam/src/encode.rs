//! A term in external term format to JSON text: one pass over its bytes, with a stack of its own.
//!
//! What becomes what, and which part is to blame, is as in the NIF's walk over the VM's terms; one suite holds both.

use sockeye_etf::{AtomName, Cursor, Malformed, Token};
use sockeye_json::{MAX_DIGITS, Null, text};

use crate::etf_term::EtfTerm;
use crate::read::EncodeError;
use crate::short;
use EncodeError::{DuplicateKey, NotJson, Struct};

/// More bytes than this have more than [`MAX_DIGITS`] digits: a byte is worth 2.408 of them.
const MAX_BIG: usize = MAX_DIGITS * 1_000 / 2_408;

type Outcome<'a, T> = Result<T, EncodeError<EtfTerm<'a>>>;

/// Kinds of keys.
type Kinds = u8;
const INTEGER: Kinds = 1;
const ATOM: Kinds = 2;
const BINARY: Kinds = 4;

/// A container whose elements are being written; `left` of them are to come.
enum Open<'a> {
    List {
        whole: Cursor<'a>,
        left: u32,
    },
    Map {
        /// At its first key, of so many.
        first: Cursor<'a>,
        count: u32,
        left: u32,
        kinds: Kinds,
    },
    /// An object as a list of pairs in a tuple.
    Pairs {
        whole: Cursor<'a>,
        first: Cursor<'a>,
        count: u32,
        left: u32,
    },
}

struct Encoder<'a, 'o> {
    at: Cursor<'a>,
    null: &'static str,
    out: &'o mut Vec<u8>,
    open: Vec<Open<'a>>,
}

/// Appends the JSON text of `term` to `out`.
///
/// # Errors
/// Part of it is not JSON, which is told; `out` is then as it was. Never [`EncodeError::TooLarge`].
pub fn encode<'a>(term: EtfTerm<'a>, null: Null, out: &mut Vec<u8>) -> Outcome<'a, ()> {
    match term.cursor() {
        Some(at) => encode_next(at, null, out).map(|_| ()),
        None => element(term, out),
    }
}

/// The same for the term that begins here. Gives where it ends.
pub(crate) fn encode_next<'a>(
    at: Cursor<'a>,
    null: Null,
    out: &mut Vec<u8>,
) -> Outcome<'a, Cursor<'a>> {
    let start = out.len();
    let (null, open) = (null.name(), Vec::new());
    let mut encoder = Encoder {
        at,
        null,
        out,
        open,
    };
    match encoder.run() {
        Ok(()) => Ok(encoder.at),
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

/// A byte of a string, or what is left of one.
fn element<'a>(term: EtfTerm<'a>, out: &mut Vec<u8>) -> Outcome<'a, ()> {
    match term.int() {
        Some(n) => text::push_i64(out, n.into()),
        None => return Err(NotJson(term)),
    }
    Ok(())
}

fn term(at: Cursor<'_>) -> EtfTerm<'_> {
    EtfTerm::new(at)
}

fn malformed<'a>(at: Cursor<'a>) -> impl FnOnce(Malformed) -> EncodeError<EtfTerm<'a>> {
    move |_| NotJson(term(at))
}

impl<'a> Encoder<'a, '_> {
    fn run(&mut self) -> Outcome<'a, ()> {
        loop {
            if !self.value()? {
                // It has been opened; its first element is next.
                continue;
            }
            if !self.has_next()? {
                return Ok(());
            }
        }
    }

    /// Writes a value; `false` if that is a container, which has been opened.
    fn value(&mut self) -> Outcome<'a, bool> {
        if self.short_string() || self.short_number() || self.literal() {
            return Ok(true);
        }
        let start = self.at;
        match self.at.token().map_err(malformed(start))? {
            Token::Binary(bytes) => self.string(bytes, start)?,
            Token::Integer(n) => text::push_i64(self.out, n),
            Token::Big(negative, magnitude) => self.big(negative, magnitude, start)?,
            Token::Float(v) => text::push_f64(self.out, v),
            Token::Atom(name) => self.atom(name, start)?,
            Token::Nil => self.out.extend_from_slice(b"[]"),
            Token::Bytes(bytes) => self.bytes(bytes),
            Token::List(0) => {
                self.end_of_list(start)?;
                self.out.extend_from_slice(b"[]");
            }
            Token::List(n) => {
                self.out.push(b'[');
                let (whole, left) = (start, n - 1);
                self.open.push(Open::List { whole, left });
                return Ok(false);
            }
            Token::Map(0) => self.out.extend_from_slice(b"{}"),
            Token::Map(count) => {
                self.out.push(b'{');
                let (first, left) = (self.at, count - 1);
                let kinds = self.key()?;
                self.open.push(Open::Map {
                    first,
                    count,
                    left,
                    kinds,
                });
                return Ok(false);
            }
            Token::Tuple(arity) => return self.tuple(arity, start),
            Token::Pid(_) | Token::Other(_) => return Err(NotJson(term(start))),
        }
        Ok(true)
    }

    /// Whether a value is next, in the innermost container; ends those that have none.
    fn has_next(&mut self) -> Outcome<'a, bool> {
        loop {
            let Some(open) = self.open.last_mut() else {
                return Ok(false);
            };
            match open {
                Open::List { left: 0, whole } => {
                    let whole = *whole;
                    self.end_of_list(whole)?;
                    self.out.push(b']');
                }
                Open::List { left, .. } => {
                    *left -= 1;
                    self.out.push(b',');
                    return Ok(true);
                }
                Open::Map {
                    left: 0,
                    first,
                    count,
                    kinds,
                } => {
                    let (first, count, kinds) = (*first, *count, *kinds);
                    if !kinds.is_power_of_two() {
                        self.each_once(first, count, false)?;
                    }
                    self.out.push(b'}');
                }
                Open::Map { left, .. } => {
                    *left -= 1;
                    self.out.push(b',');
                    let kind = self.key()?;
                    if let Some(Open::Map { kinds, .. }) = self.open.last_mut() {
                        *kinds |= kind;
                    }
                    return Ok(true);
                }
                Open::Pairs {
                    left: 0,
                    whole,
                    first,
                    count,
                } => {
                    let (whole, first, count) = (*whole, *first, *count);
                    self.end_of_list(whole)?;
                    self.each_once(first, count, true)?;
                    self.out.push(b'}');
                }
                Open::Pairs { left, .. } => {
                    *left -= 1;
                    self.out.push(b',');
                    self.pair()?;
                    self.key()?;
                    return Ok(true);
                }
            }
            self.open.pop();
        }
    }

    fn end_of_list(&mut self, whole: Cursor<'a>) -> Outcome<'a, ()> {
        match self.at.token() {
            Ok(Token::Nil) => Ok(()),
            _ => Err(NotJson(term(whole))),
        }
    }

    /// Writes the string that is next, if it is a word as most are. Nothing is read or written else.
    #[inline(always)]
    fn short_string(&mut self) -> bool {
        let mut at = self.at;
        match at.short_binary() {
            Some((window, len)) if short::push_plain(self.out, window, len) => {
                self.at = at;
                true
            }
            _ => false,
        }
    }

    /// The same for a number of few digits.
    #[inline(always)]
    fn short_number(&mut self) -> bool {
        let mut at = self.at;
        let is_short = if let Some(n) = at.short_integer() {
            short::push_digits(self.out, n)
        } else if let Some(v) = at.float() {
            short::push_cents(self.out, v)
        } else {
            false
        };
        if is_short {
            self.at = at;
        }
        is_short
    }

    /// The same for `true`, `false` and `null`.
    #[inline(always)]
    fn literal(&mut self) -> bool {
        let mut at = self.at;
        match at.short_atom() {
            Some(b"true") => self.out.extend_from_slice(b"true"),
            Some(b"false") => self.out.extend_from_slice(b"false"),
            Some(b"null") => self.out.extend_from_slice(b"null"),
            _ => return false,
        }
        self.at = at;
        true
    }

    fn string(&mut self, bytes: &[u8], start: Cursor<'a>) -> Outcome<'a, ()> {
        if text::push_bytes(self.out, bytes) {
            Ok(())
        } else {
            Err(NotJson(term(start)))
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let mut before = b'[';
        for byte in bytes {
            self.out.push(before);
            text::push_u64(self.out, (*byte).into());
            before = b',';
        }
        self.out
            .extend_from_slice(if bytes.is_empty() { b"[]" } else { b"]" });
    }

    fn big(&mut self, negative: bool, magnitude: &[u8], start: Cursor<'a>) -> Outcome<'a, ()> {
        let too_long = magnitude.len() > MAX_BIG;
        let from = self.out.len();
        if !too_long {
            text::push_big(self.out, negative, magnitude);
        }
        if too_long || self.out.len() - from - usize::from(negative) > MAX_DIGITS {
            return Err(NotJson(term(start)));
        }
        Ok(())
    }

    fn atom(&mut self, name: AtomName<'a>, start: Cursor<'a>) -> Outcome<'a, ()> {
        let literal: &[u8] = if name.is("true") {
            b"true"
        } else if name.is("false") {
            b"false"
        } else if name.is("null") || name.is(self.null) {
            b"null"
        } else {
            let name = name.text().map_err(malformed(start))?;
            text::push_string(self.out, &name);
            return Ok(());
        };
        self.out.extend_from_slice(literal);
        Ok(())
    }

    /// `{json_raw, IoData}` or `{[{Key, Value}]}`
    fn tuple(&mut self, arity: u32, whole: Cursor<'a>) -> Outcome<'a, bool> {
        let not_json = || NotJson(term(whole));
        match arity {
            2 => {
                match self.at.token() {
                    Ok(Token::Atom(tag)) if tag.is("json_raw") => {}
                    _ => return Err(not_json()),
                }
                let raw = term(self.at).iolist(usize::MAX);
                let raw = raw.map_err(|_| not_json())?;
                std::str::from_utf8(&raw).map_err(|_| not_json())?;
                self.out.extend_from_slice(&raw);
                self.at.term().map_err(|_| not_json())?;
                Ok(true)
            }
            1 => match self.at.token() {
                Ok(Token::Nil) => {
                    self.out.extend_from_slice(b"{}");
                    Ok(true)
                }
                Ok(Token::List(count)) if count > 0 => {
                    let (first, left) = (self.at, count - 1);
                    self.pair()?;
                    self.out.push(b'{');
                    self.key()?;
                    self.open.push(Open::Pairs {
                        whole,
                        first,
                        count,
                        left,
                    });
                    Ok(false)
                }
                // The first of them is no pair.
                Ok(Token::Bytes([first, ..])) => Err(NotJson(EtfTerm::byte(whole, *first))),
                _ => Err(not_json()),
            },
            _ => Err(not_json()),
        }
    }

    /// A tuple of two begins.
    fn pair(&mut self) -> Outcome<'a, ()> {
        let start = self.at;
        match self.at.token() {
            Ok(Token::Tuple(2)) => Ok(()),
            _ => Err(NotJson(term(start))),
        }
    }

    /// Writes a key and its colon. Its value is next.
    #[inline]
    fn key(&mut self) -> Outcome<'a, Kinds> {
        if self.short_string() {
            self.out.push(b':');
            return Ok(BINARY);
        }
        self.other_key()
    }

    fn other_key(&mut self) -> Outcome<'a, Kinds> {
        let mut at = self.at;
        if let (Ok(Token::Atom(name)), value) = (at.token(), at)
            && name.is("__struct__")
            // A struct of Elixir is not a map to those who made it: what of it may leave is theirs to say.
            && matches!({ at }.token(), Ok(Token::Atom(_)))
        {
            return Err(Struct(term(value)));
        }
        self.key_text()
    }

    fn key_text(&mut self) -> Outcome<'a, Kinds> {
        let start = self.at;
        let kind = match self.at.token().map_err(malformed(start))? {
            Token::Binary(bytes) => {
                self.string(bytes, start)?;
                BINARY
            }
            Token::Atom(name) => {
                let name = name.text().map_err(malformed(start))?;
                text::push_string(self.out, &name);
                ATOM
            }
            Token::Integer(n) => {
                self.out.push(b'"');
                text::push_i64(self.out, n);
                self.out.push(b'"');
                INTEGER
            }
            Token::Big(negative, magnitude) => {
                self.out.push(b'"');
                self.big(negative, magnitude, start)?;
                self.out.push(b'"');
                INTEGER
            }
            _ => return Err(NotJson(term(start))),
        };
        self.out.push(b':');
        Ok(kind)
    }

    /// Compares the keys of an object by their text: only keys of several kinds, as `a` and `<<"a">>`, can be equal in a map.
    #[cold]
    fn each_once(&mut self, first: Cursor<'a>, count: u32, in_pairs: bool) -> Outcome<'a, ()> {
        let (behind, from) = (self.at, self.out.len());
        let mut keys = Vec::new();
        self.at = first;
        for _ in 0..count {
            if in_pairs {
                self.pair()?;
            }
            let (key, start) = (self.at, self.out.len());
            let kind = self.key_text()?;
            keys.push((start..self.out.len(), kind, key));
            self.at.term().map_err(malformed(key))?;
        }
        self.at = behind;
        let text = |range: &std::ops::Range<usize>| self.out.get(range.clone()).unwrap_or_default();
        keys.sort_unstable_by(|a, b| text(&a.0).cmp(text(&b.0)));
        let twice = keys.windows(2).find_map(|pair| match pair {
            [a, b] if text(&a.0) == text(&b.0) => Some(if a.1 < b.1 { b.2 } else { a.2 }),
            _ => None,
        });
        self.out.truncate(from);
        twice.map_or(Ok(()), |key| Err(DuplicateKey(term(key))))
    }
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
