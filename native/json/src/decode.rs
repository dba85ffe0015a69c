//! JSON text to external term format or whatever takes values: a visitor that hands them on.

use std::fmt;
use std::ops::Range;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use crate::numbers::{self, Numbers};
use crate::output::{Etf, Output};
use crate::{Duplicates, Error, ErrorKind, Keys, MAX_DEPTH, MAX_DIGITS, Options};

/// Appends the term that `input` writes to `out`, in external term format with its version byte.
///
/// Strings become binaries, objects maps, arrays lists. Integers are exact at any size up to
/// [`MAX_DIGITS`]; `-0` is the integer 0 and `-0.0` a float.
///
/// # Errors
/// See [`ErrorKind`]. `out` is then as it was.
pub fn decode<K: Keys>(
    input: &[u8],
    options: &Options,
    keys: &mut K,
    duplicates: Duplicates,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    decode_str(utf8(input)?, options, keys, duplicates, out)
}

/// The bytes of a text, as such.
///
/// # Errors
/// [`ErrorKind::Utf8`].
pub fn utf8(input: &[u8]) -> Result<&str, Error> {
    simdutf8::compat::from_utf8(input).map_err(|error| Error {
        kind: ErrorKind::Utf8,
        offset: error.valid_up_to(),
    })
}

/// As [`decode`], for a text that is known to be UTF-8.
///
/// # Errors
/// As [`decode`], but never [`ErrorKind::Utf8`].
pub fn decode_str<K: Keys>(
    text: &str,
    options: &Options,
    keys: &mut K,
    duplicates: Duplicates,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let start = out.len();
    out.push(sockeye_etf::VERSION);
    let mut etf = Etf::new(out, duplicates == Duplicates::Resolve, options.objects);
    let result = decode_into(text, options, keys, &mut etf);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// As [`decode_str`], for any taker of values. What it took before an error is of no use.
///
/// # Errors
/// As [`decode_str`].
pub fn decode_into<K: Keys, O: Output>(
    text: &str,
    options: &Options,
    keys: &mut K,
    out: &mut O,
) -> Result<(), Error> {
    // Every length and count of the output is below the length of the text and fits 32 bits.
    if u32::try_from(text.len()).is_err() {
        return Err(Error {
            kind: ErrorKind::TooLarge,
            offset: 0,
        });
    }
    match run(text, &[], options, keys, out) {
        Err(error) if error.kind == ErrorKind::NumberRange => {
            out.restart();
            with_stand_ins(text, error, options, keys, out)
        }
        result => result,
    }
}

/// An integer that the parser cannot take, and its place among the numbers of the text.
struct Long<'a> {
    index: usize,
    negative: bool,
    digits: &'a [u8],
}

/// The parser refuses integers of more than 308 digits: give it a zero in place of each.
#[cold]
fn with_stand_ins<K: Keys, O: Output>(
    text: &str,
    first: Error,
    options: &Options,
    keys: &mut K,
    out: &mut O,
) -> Result<(), Error> {
    const LONG: usize = 300;
    let mut longs = Vec::new();
    let mut spans: Vec<Range<usize>> = Vec::new();
    let mut short = String::new();
    let mut copied = 0;
    for (index, span) in Numbers::new(text).enumerate() {
        if span.len() < LONG {
            continue;
        }
        let number = text.as_bytes().get(span.clone()).unwrap_or_default();
        // A leading zero is left for the parser to refuse.
        if let Some((negative, digits)) = numbers::integer(number)
            && !digits.starts_with(b"0")
        {
            if digits.len() > MAX_DIGITS {
                return Err(Error {
                    kind: ErrorKind::NumberRange,
                    offset: span.start,
                });
            }
            short.push_str(text.get(copied..span.start).unwrap_or_default());
            short.push('0');
            copied = span.end;
            longs.push(Long {
                index,
                negative,
                digits,
            });
            spans.push(span);
        }
    }
    if longs.is_empty() {
        return Err(first);
    }
    short.push_str(text.get(copied..).unwrap_or_default());
    run(&short, &longs, options, keys, out).map_err(|mut error| {
        for span in spans {
            if error.offset > span.start {
                error.offset += span.len() - 1;
            }
        }
        error
    })
}

fn run<K: Keys, O: Output>(
    text: &str,
    longs: &[Long<'_>],
    options: &Options,
    keys: &mut K,
    out: &mut O,
) -> Result<(), Error> {
    let mut writer = Writer {
        out,
        keys,
        null: options.null.name(),
        depth_left: options.max_depth.clamp(1, MAX_DEPTH),
        visited: 0,
        numbers: Numbers::new(text),
        longs,
        failed: None,
    };
    let mut parser = serde_json::Deserializer::from_str(text);
    parser.disable_recursion_limit();
    if let Err(error) = Value(&mut writer).deserialize(&mut parser) {
        let kind = writer.failed.unwrap_or_else(|| kind(&error));
        let offset = match kind {
            ErrorKind::Eof => text.len(),
            _ => offset(text, &error),
        };
        return Err(Error { kind, offset });
    }
    parser.end().map_err(|error| Error {
        kind: ErrorKind::TrailingData,
        offset: offset(text, &error),
    })
}

fn kind(error: &serde_json::Error) -> ErrorKind {
    match error.classify() {
        Category::Eof => ErrorKind::Eof,
        // The parser has no other way to tell; a test holds it to these words.
        _ if error.to_string().starts_with("number out of range") => ErrorKind::NumberRange,
        _ => ErrorKind::Syntax,
    }
}

/// The parser counts lines from 1, and columns behind the byte it has read: behind a line feed it is
/// on the next line, in column 0.
fn offset(text: &str, error: &serde_json::Error) -> usize {
    let line_start = match error.line() {
        0 | 1 => 0,
        line => text
            .bytes()
            .enumerate()
            .filter(|(_, b)| *b == b'\n')
            .nth(line - 2)
            .map_or(0, |(i, _)| i + 1),
    };
    (line_start + error.column())
        .saturating_sub(1)
        .min(text.len())
}

struct Writer<'a, K, O> {
    out: &'a mut O,
    keys: &'a mut K,
    null: &'static str,
    depth_left: u16,
    /// Numbers the parser has given so far.
    visited: usize,
    numbers: Numbers<'a>,
    /// What is still to come of the integers that have a stand-in.
    longs: &'a [Long<'a>],
    /// Our own reason when we stopped the parser.
    failed: Option<ErrorKind>,
}

impl<K, O: Output> Writer<'_, K, O> {
    #[cold]
    fn fail<E: de::Error>(&mut self, kind: ErrorKind) -> E {
        self.failed = Some(kind);
        E::custom("")
    }

    fn enter<E: de::Error>(&mut self) -> Result<(), E> {
        if self.depth_left == 0 {
            return Err(self.fail(ErrorKind::Depth));
        }
        self.depth_left -= 1;
        Ok(())
    }

    /// A float that may have been an integer in the text.
    #[cold]
    fn suspect(&mut self, v: f64, index: usize) {
        // An integer that became a float has no more digits than a float can have: longer ones have a stand-in.
        match self.numbers.nth(index).and_then(numbers::integer) {
            Some((negative, digits)) => self.out.decimal(negative, digits),
            None => self.out.float(v),
        }
    }

    /// A zero that may stand for a long integer.
    #[cold]
    fn stand_in(&mut self, index: usize) {
        match self.longs {
            [long, rest @ ..] if long.index == index => {
                self.longs = rest;
                self.out.decimal(long.negative, long.digits);
            }
            _ => self.out.unsigned(0),
        }
    }
}

struct Value<'w, 'a, K, O>(&'w mut Writer<'a, K, O>);

impl<'de, K: Keys, O: Output> DeserializeSeed<'de> for Value<'_, '_, K, O> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, K: Keys, O: Output> Visitor<'de> for Value<'_, '_, K, O> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.0.out.null(self.0.null);
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, v: bool) -> Result<(), E> {
        self.0.out.boolean(v);
        Ok(())
    }

    #[inline]
    fn visit_u64<E: de::Error>(self, v: u64) -> Result<(), E> {
        let index = self.0.visited;
        self.0.visited += 1;
        if v == 0 && !self.0.longs.is_empty() {
            self.0.stand_in(index);
        } else {
            self.0.out.unsigned(v);
        }
        Ok(())
    }

    #[inline]
    fn visit_i64<E: de::Error>(self, v: i64) -> Result<(), E> {
        self.0.visited += 1;
        // The parser gives only negative ones here.
        self.0.out.negative(v);
        Ok(())
    }

    #[inline]
    fn visit_f64<E: de::Error>(self, v: f64) -> Result<(), E> {
        let index = self.0.visited;
        self.0.visited += 1;
        let may_be_integer = v.abs() >= i64::MAX as f64 || (v == 0.0 && v.is_sign_negative());
        if may_be_integer {
            self.0.suspect(v, index);
        } else {
            self.0.out.float(v);
        }
        Ok(())
    }

    #[inline]
    fn visit_str<E: de::Error>(self, v: &str) -> Result<(), E> {
        self.0.out.string(v);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self(w) = self;
        w.enter()?;
        let mark = w.out.open_list();
        let mut n = 0;
        while seq.next_element_seed(Value(w))?.is_some() {
            n += 1;
        }
        w.out.close_list(mark, n);
        w.depth_left += 1;
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self(w) = self;
        w.enter()?;
        let mark = w.out.open_map();
        let mut n = 0;
        while map.next_key_seed(Key(w))?.is_some() {
            map.next_value_seed(Value(w))?;
            n += 1;
        }
        w.out.close_map(mark, n);
        w.depth_left += 1;
        Ok(())
    }
}

struct Key<'w, 'a, K, O>(&'w mut Writer<'a, K, O>);

impl<'de, K: Keys, O: Output> DeserializeSeed<'de> for Key<'_, '_, K, O> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de, K: Keys, O: Output> Visitor<'de> for Key<'_, '_, K, O> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    #[inline]
    fn visit_str<E: de::Error>(self, v: &str) -> Result<(), E> {
        let Self(w) = self;
        w.out.key(v, w.keys);
        Ok(())
    }
}
