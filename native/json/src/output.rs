//! Where the values of a text go, in the order in which they stand there.

use sockeye_etf as etf;

use crate::bigint;
use crate::duplicates::{self, Pair};
use crate::{Keys, Literals, Objects};

/// Takes the values of a text one after the other. A list or a map is opened, filled and closed.
pub trait Output {
    /// What is remembered of an open list or map.
    type Mark: Copy;

    /// JSON's `null`, by the name of its atom.
    fn null(&mut self, name: &'static str);
    /// `true` or `false`.
    fn boolean(&mut self, v: bool);
    /// An integer that is not negative.
    fn unsigned(&mut self, v: u64);
    /// A negative integer.
    fn negative(&mut self, v: i64);
    /// A finite float.
    fn float(&mut self, v: f64);
    /// An integer from its decimal digits: no sign, no leading zeros.
    fn decimal(&mut self, negative: bool, digits: &[u8]);
    /// A string.
    fn string(&mut self, v: &str);
    /// The key of the next value, in an open map.
    fn key<K: Keys>(&mut self, key: &str, keys: &mut K);
    /// A list begins.
    fn open_list(&mut self) -> Self::Mark;
    /// It ends after `n` values.
    fn close_list(&mut self, mark: Self::Mark, n: u32);
    /// A map begins.
    fn open_map(&mut self) -> Self::Mark;
    /// It ends after `n` pairs, whose keys may be equal.
    fn close_map(&mut self, mark: Self::Mark, n: u32);
    /// Drops everything so far.
    fn restart(&mut self);
}

/// Whether a key becomes an atom.
pub fn is_atom<K: Keys>(key: &str, keys: &mut K) -> bool {
    // More than 255 bytes may still be 255 characters.
    let may_be = key.len() <= 255 || key.chars().count() <= 255;
    may_be && keys.is_atom(key)
}

/// Appends an integer given by its decimal digits (no sign, no leading zeros), in external term
/// format with its version byte.
pub fn decimal_etf(out: &mut Vec<u8>, negative: bool, digits: &[u8]) {
    out.push(etf::VERSION);
    etf::big(out, negative, &bigint::from_decimal(digits));
}

/// External term format at the end of a buffer, without a version byte.
pub struct Etf<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    resolve: bool,
    objects: Objects,
    literals: Option<Literals>,
    /// The pairs of all open maps, innermost last; used only to resolve duplicates.
    pairs: Vec<Pair>,
}

impl<'a> Etf<'a> {
    /// Appends to `out`. Unless it resolves, an object has a key as often as the text.
    pub fn new(out: &'a mut Vec<u8>, resolve: bool, objects: Objects) -> Self {
        let start = out.len();
        Etf {
            out,
            start,
            resolve,
            objects,
            literals: None,
            pairs: Vec::new(),
        }
    }

    /// Literals are written as numbers, if these are known.
    pub fn with_literals(mut self, literals: Option<Literals>) -> Self {
        self.literals = literals;
        self
    }
}

impl Output for Etf<'_> {
    /// The header, and the number of pairs of outer maps.
    type Mark = (etf::Header, usize);

    fn null(&mut self, name: &'static str) {
        match self.literals {
            Some(literals) => etf::numbered_atom(self.out, literals.null),
            None => etf::atom(self.out, name),
        }
    }

    fn boolean(&mut self, v: bool) {
        match self.literals {
            Some(Literals { yes, no, .. }) => {
                etf::numbered_atom(self.out, if v { yes } else { no })
            }
            None => etf::atom(self.out, if v { "true" } else { "false" }),
        }
    }

    #[inline]
    fn unsigned(&mut self, v: u64) {
        etf::unsigned(self.out, v);
    }

    #[inline]
    fn negative(&mut self, v: i64) {
        etf::negative(self.out, v);
    }

    #[inline]
    fn float(&mut self, v: f64) {
        etf::float(self.out, v);
    }

    fn decimal(&mut self, negative: bool, digits: &[u8]) {
        etf::big(self.out, negative, &bigint::from_decimal(digits));
    }

    #[inline]
    fn string(&mut self, v: &str) {
        etf::binary(self.out, v.as_bytes());
    }

    #[inline]
    fn key<K: Keys>(&mut self, key: &str, keys: &mut K) {
        let start = self.out.len();
        if self.objects == Objects::Pairs {
            etf::tuple(self.out, 2);
        }
        if is_atom(key, keys) {
            etf::atom(self.out, key);
        } else {
            etf::binary(self.out, key.as_bytes());
        }
        if self.resolve {
            let key_end = self.out.len();
            self.pairs.push(Pair { start, key_end });
        }
    }

    fn open_list(&mut self) -> Self::Mark {
        (etf::open_list(self.out), self.pairs.len())
    }

    fn close_list(&mut self, mark: Self::Mark, n: u32) {
        etf::close_list(self.out, mark.0, n);
    }

    fn open_map(&mut self) -> Self::Mark {
        let header = match self.objects {
            Objects::Map => etf::open_map(self.out),
            Objects::Pairs => {
                etf::tuple(self.out, 1);
                etf::open_list(self.out)
            }
        };
        (header, self.pairs.len())
    }

    fn close_map(&mut self, (header, first): Self::Mark, mut n: u32) {
        if self.resolve {
            let pairs = self.pairs.get(first..).unwrap_or_default();
            n = duplicates::keep_last(self.out, pairs) as u32;
            self.pairs.truncate(first);
        }
        match self.objects {
            Objects::Map => etf::close_map(self.out, header, n),
            Objects::Pairs => etf::close_list(self.out, header, n),
        }
    }

    fn restart(&mut self) {
        self.out.truncate(self.start);
        self.pairs.clear();
    }
}
