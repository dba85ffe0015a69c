//! Finds the text of a number by its position among the numbers of a JSON text.
//!
//! The parser gives an integer beyond 64 bits as a float. This is how we get its digits.

use std::ops::Range;

/// Walks once over a text, number by number.
pub(crate) struct Numbers<'a> {
    text: &'a [u8],
    pos: usize,
    /// How many numbers were found so far.
    found: usize,
}

impl<'a> Numbers<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            text: text.as_bytes(),
            pos: 0,
            found: 0,
        }
    }

    /// The `n`-th number, counted from 0. Asked in rising order only.
    pub(crate) fn nth(&mut self, n: usize) -> Option<&'a [u8]> {
        loop {
            let range = self.next()?;
            if self.found > n {
                return self.text.get(range);
            }
        }
    }

    fn skip_string(&mut self) {
        while let Some(&b) = self.text.get(self.pos) {
            self.pos += 1;
            match b {
                b'"' => return,
                b'\\' => self.pos += 1,
                _ => {}
            }
        }
    }
}

impl Iterator for Numbers<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        loop {
            let start = self.pos;
            let b = *self.text.get(start)?;
            self.pos += 1;
            if b == b'"' {
                self.skip_string();
            } else if b == b'-' || b.is_ascii_digit() {
                let rest = self.text.get(self.pos..).unwrap_or_default();
                self.pos += rest
                    .iter()
                    .position(|b| !matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
                    .unwrap_or(rest.len());
                self.found += 1;
                return Some(start..self.pos);
            }
        }
    }
}

/// Sign and digits, if this number is an integer.
pub(crate) fn integer(number: &[u8]) -> Option<(bool, &[u8])> {
    let (negative, digits) = match number {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    (!digits.is_empty() && digits.iter().all(u8::is_ascii_digit)).then_some((negative, digits))
}
