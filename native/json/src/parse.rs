//! JSON text, parsed: each value is handed on as soon as it is known.

use std::mem;

use crate::output::Output;
use crate::{Error, ErrorKind, Keys, MAX_DEPTH, MAX_DIGITS, Options, scan};

/// The parser has stopped; `error` says why.
pub(crate) struct Stopped;

type Step<T = ()> = Result<T, Stopped>;

/// Digits that always fit 64 bits.
const SURE_DIGITS: usize = 19;

/// An exponent beyond this is none whose number is a double, however many digits stand before it.
const EXPONENT_MAX: i64 = i32::MAX as i64;

/// Powers of ten that a double holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

pub(crate) struct Parser<'a, K, O> {
    text: &'a str,
    bytes: &'a [u8],
    /// The next byte.
    at: usize,
    depth_left: u16,
    null: &'static str,
    keys: &'a mut K,
    out: &'a mut O,
    /// Room for a string that has escapes.
    unescaped: String,
    error: Error,
}

impl<'a, K: Keys, O: Output> Parser<'a, K, O> {
    pub(crate) fn new(
        text: &'a str,
        options: &Options,
        keys: &'a mut K,
        out: &'a mut O,
    ) -> Parser<'a, K, O> {
        Parser {
            text,
            bytes: text.as_bytes(),
            at: 0,
            depth_left: options.max_depth.clamp(1, MAX_DEPTH),
            null: options.null.name(),
            keys,
            out,
            unescaped: String::new(),
            error: Error {
                kind: ErrorKind::Eof,
                offset: text.len(),
            },
        }
    }

    /// The one value of the text.
    pub(crate) fn run(mut self) -> Result<(), Error> {
        match self.whole() {
            Ok(()) => Ok(()),
            Err(Stopped) => Err(self.error),
        }
    }

    fn whole(&mut self) -> Step {
        self.next_value()?;
        match self.token() {
            None => Ok(()),
            Some(_) => self.stop(ErrorKind::TrailingData, self.at),
        }
    }

    #[cold]
    fn stop<T>(&mut self, kind: ErrorKind, offset: usize) -> Step<T> {
        self.error = Error { kind, offset };
        Err(Stopped)
    }

    #[cold]
    fn eof<T>(&mut self) -> Step<T> {
        self.stop(ErrorKind::Eof, self.bytes.len())
    }

    /// Another byte was expected here.
    #[cold]
    fn unexpected<T>(&mut self) -> Step<T> {
        match self.peek() {
            None => self.eof(),
            Some(_) => self.stop(ErrorKind::Syntax, self.at),
        }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// The next byte that is no white space.
    #[inline]
    fn token(&mut self) -> Option<u8> {
        loop {
            match self.peek() {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                other => return other,
            }
        }
    }

    fn next_value(&mut self) -> Step {
        match self.token() {
            Some(first) => self.value(first),
            None => self.eof(),
        }
    }

    #[inline]
    fn value(&mut self, first: u8) -> Step {
        match first {
            b'"' => self.string(),
            b'0'..=b'9' => self.number(false),
            b'-' => {
                self.at += 1;
                self.number(true)
            }
            b'{' => self.object(),
            b'[' => self.array(),
            b'n' => {
                self.literal(b"null")?;
                self.out.null(self.null);
                Ok(())
            }
            b't' => {
                self.literal(b"true")?;
                self.out.boolean(true);
                Ok(())
            }
            b'f' => {
                self.literal(b"false")?;
                self.out.boolean(false);
                Ok(())
            }
            _ => self.unexpected(),
        }
    }

    #[inline]
    fn literal(&mut self, name: &[u8]) -> Step {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if rest.starts_with(name) {
            self.at += name.len();
            return Ok(());
        }
        self.at += rest.iter().zip(name).take_while(|(a, b)| a == b).count();
        self.unexpected()
    }

    #[inline]
    fn enter(&mut self) -> Step {
        if self.depth_left == 0 {
            return self.stop(ErrorKind::Depth, self.at);
        }
        self.depth_left -= 1;
        self.at += 1;
        Ok(())
    }

    fn array(&mut self) -> Step {
        self.enter()?;
        let mark = self.out.open_list();
        let mut n = 0;
        if self.token() != Some(b']') {
            loop {
                self.next_value()?;
                n += 1;
                match self.token() {
                    Some(b',') => self.at += 1,
                    Some(b']') => break,
                    _ => return self.unexpected(),
                }
            }
        }
        self.at += 1;
        self.out.close_list(mark, n);
        self.depth_left += 1;
        Ok(())
    }

    fn object(&mut self) -> Step {
        self.enter()?;
        let mark = self.out.open_map();
        let mut n = 0;
        if self.token() != Some(b'}') {
            loop {
                match self.token() {
                    Some(b'"') => self.key()?,
                    _ => return self.unexpected(),
                }
                match self.token() {
                    Some(b':') => self.at += 1,
                    _ => return self.unexpected(),
                }
                self.next_value()?;
                n += 1;
                match self.token() {
                    Some(b',') => self.at += 1,
                    Some(b'}') => break,
                    _ => return self.unexpected(),
                }
            }
        }
        self.at += 1;
        self.out.close_map(mark, n);
        self.depth_left += 1;
        Ok(())
    }

    /// The string that begins here, if it has no escapes.
    #[inline]
    fn plain(&mut self) -> Option<&'a str> {
        let start = self.at + 1;
        let rest = self.bytes.get(start..).unwrap_or_default();
        let end = start + scan::plain_len(rest);
        if self.bytes.get(end) != Some(&b'"') {
            return None;
        }
        self.at = end + 1;
        self.text.get(start..end)
    }

    #[inline]
    fn string(&mut self) -> Step {
        if let Some(plain) = self.plain() {
            self.out.string(plain);
            return Ok(());
        }
        let string = self.escaped()?;
        self.out.string(&string);
        self.unescaped = string;
        Ok(())
    }

    #[inline]
    fn key(&mut self) -> Step {
        if let Some(plain) = self.plain() {
            self.out.key(plain, self.keys);
            return Ok(());
        }
        let key = self.escaped()?;
        self.out.key(&key, self.keys);
        self.unescaped = key;
        Ok(())
    }

    /// The string that begins here, which has escapes or is none. It is to be given back.
    #[inline(never)]
    fn escaped(&mut self) -> Step<String> {
        let mut string = mem::take(&mut self.unescaped);
        string.clear();
        self.at += 1;
        loop {
            let start = self.at;
            self.at += scan::plain_len(self.bytes.get(start..).unwrap_or_default());
            string.push_str(self.text.get(start..self.at).unwrap_or_default());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(string);
                }
                Some(b'\\') => {
                    self.at += 1;
                    let c = self.escape()?;
                    string.push(c);
                }
                _ => return self.unexpected(),
            }
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Step<char> {
        let c = match self.peek() {
            Some(b @ (b'"' | b'\\' | b'/')) => char::from(b),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            _ => return self.unexpected(),
        };
        self.at += 1;
        Ok(c)
    }

    /// What stands behind `\u`.
    fn unicode(&mut self) -> Step<char> {
        let first = self.hex()?;
        if let Some(c) = char::from_u32(first) {
            return Ok(c);
        }
        // Half of a pair. The second half alone is told at its last digit.
        if first >= 0xdc00 {
            return self.stop(ErrorKind::Syntax, self.at - 1);
        }
        for expected in [b'\\', b'u'] {
            if self.peek() != Some(expected) {
                return self.unexpected();
            }
            self.at += 1;
        }
        let second = self.hex()?;
        if !(0xdc00..0xe000).contains(&second) {
            return self.stop(ErrorKind::Syntax, self.at - 1);
        }
        let pair = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        // Each pair is a character.
        Ok(char::from_u32(pair).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// Four hexadecimal digits.
    fn hex(&mut self) -> Step<u32> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(digits) = rest.first_chunk::<4>() else {
            return self.eof();
        };
        self.at += 4;
        let mut n = 0;
        for digit in digits {
            match char::from(*digit).to_digit(16) {
                Some(digit) => n = n << 4 | digit,
                None => return self.stop(ErrorKind::Syntax, self.at - 1),
            }
        }
        Ok(n)
    }

    /// Takes digits. Gives `n`, which may have overflowed, with them behind it.
    #[inline]
    fn digits(&mut self, mut n: u64) -> u64 {
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            n = n.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        n
    }

    /// A number, whose sign has been taken.
    #[inline]
    fn number(&mut self, negative: bool) -> Step {
        let start = self.at;
        let n = match self.peek() {
            Some(b'0') => {
                self.at += 1;
                // There can be only one zero in front.
                if let Some(b'0'..=b'9') = self.peek() {
                    return self.unexpected();
                }
                0
            }
            Some(b'1'..=b'9') => self.digits(0),
            _ => return self.unexpected(),
        };
        if let Some(b'.' | b'e' | b'E') = self.peek() {
            return self.float(start, negative, n);
        }
        if self.at - start > SURE_DIGITS {
            return self.long_integer(start, negative);
        }
        if !negative || n == 0 {
            self.out.unsigned(n);
        } else if n <= 1 << 63 {
            self.out.negative((n as i64).wrapping_neg());
        } else {
            return self.long_integer(start, true);
        }
        Ok(())
    }

    #[cold]
    fn long_integer(&mut self, start: usize, negative: bool) -> Step {
        let digits = self.text.get(start..self.at).unwrap_or_default();
        if digits.len() > MAX_DIGITS {
            return self.stop(ErrorKind::NumberRange, start - usize::from(negative));
        }
        match digits.parse() {
            Ok(n) if !negative => self.out.unsigned(n),
            _ => self.out.decimal(negative, digits.as_bytes()),
        }
        Ok(())
    }

    /// What follows the digits `n` in front of a point or an exponent.
    fn float(&mut self, start: usize, negative: bool, mut n: u64) -> Step {
        let mut power = 0;
        let mut digits = self.at - start;
        if self.peek() == Some(b'.') {
            self.at += 1;
            let point = self.at;
            n = self.digits(n);
            let behind = self.at - point;
            if behind == 0 {
                return self.unexpected();
            }
            digits += behind;
            // The text is below 4 GiB.
            power = -(behind as i64);
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            power += self.exponent()?;
        }
        let v = match EXACT_POWERS.get(power.unsigned_abs() as usize) {
            // Both are exact, so the one operation rounds correctly.
            Some(exact) if digits <= SURE_DIGITS && n <= 1 << 53 => {
                if power < 0 {
                    n as f64 / exact
                } else {
                    n as f64 * exact
                }
            }
            _ => self.nearest(start),
        };
        if v.is_infinite() {
            return self.out_of_range(start);
        }
        self.out.float(if negative { -v } else { v });
        Ok(())
    }

    /// What stands behind the letter.
    #[inline]
    fn exponent(&mut self) -> Step<i64> {
        let negative = match self.peek() {
            Some(sign @ (b'+' | b'-')) => {
                self.at += 1;
                sign == b'-'
            }
            _ => false,
        };
        let start = self.at;
        let mut n = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            n = (n * 10 + i64::from(digit - b'0')).min(EXPONENT_MAX + 1);
            self.at += 1;
        }
        if self.at == start {
            return self.unexpected();
        }
        Ok(if negative { -n } else { n })
    }

    fn nearest(&self, start: usize) -> f64 {
        let number = self.text.get(start..self.at).unwrap_or_default();
        // It is one, by a grammar that is stricter than that of `parse`.
        number.parse().unwrap_or_default()
    }

    /// That is told at the last digit, or where the exponent becomes too long.
    #[cold]
    fn out_of_range(&mut self, start: usize) -> Step {
        let number = self.bytes.get(start..self.at).unwrap_or_default();
        let letter = number.iter().position(|b| matches!(b, b'e' | b'E'));
        let mut exponent = 0;
        let too_long = number
            .iter()
            .enumerate()
            .skip(letter.unwrap_or(number.len()));
        let too_long = too_long.filter(|(_, b)| b.is_ascii_digit()).find(|(_, b)| {
            exponent = (exponent * 10 + i64::from(*b & 15)).min(EXPONENT_MAX + 1);
            exponent > EXPONENT_MAX
        });
        let offset = too_long.map_or(self.at - 1, |(place, _)| start + place);
        self.stop(ErrorKind::NumberRange, offset)
    }
}
