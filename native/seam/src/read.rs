//! A reader of terms for the hot paths: terms are read in place, and not copied.

use std::borrow::Cow;

use sockeye_engine::ConnId;
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
