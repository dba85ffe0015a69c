//! What can be wrong with a text.

use std::fmt;

/// Why a text could not be decoded, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// What is wrong.
    pub kind: ErrorKind,
    /// The byte of the text at which it was noticed; may be off by one.
    pub offset: usize,
}

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Not JSON. A lone surrogate in a `\u` escape counts as this too.
    Syntax,
    /// The text ends inside a value.
    Eof,
    /// Nested deeper than [`Options::max_depth`](crate::Options::max_depth).
    Depth,
    /// A float beyond the range of a double, or an integer of more than
    /// [`MAX_DIGITS`](crate::MAX_DIGITS) digits.
    NumberRange,
    /// Not UTF-8.
    Utf8,
    /// Something follows the value.
    TrailingData,
    /// The text is 4 GiB or longer.
    TooLarge,
}

impl ErrorKind {
    /// A short name, fit for an atom.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Eof => "eof",
            Self::Depth => "depth",
            Self::NumberRange => "number_range",
            Self::Utf8 => "utf8",
            Self::TrailingData => "trailing_data",
            Self::TooLarge => "too_large",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "not JSON",
            Self::Eof => "the text ends inside a value",
            Self::Depth => "nested too deep",
            Self::NumberRange => "a number is out of range",
            Self::Utf8 => "not UTF-8",
            Self::TrailingData => "something follows the value",
            Self::TooLarge => "the text is too large",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.kind, self.offset)
    }
}

impl std::error::Error for Error {}
