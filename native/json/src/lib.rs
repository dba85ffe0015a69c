//! JSON text to Erlang's external term format in one pass, and the pieces of JSON text for the
//! way back.
//!
//! This crate is pure: it knows values, and nothing of a VM, so all
//! of it is tested without one.
//!
//! ```
//! use sockeye_json::{BinaryKeys, Duplicates, Options, decode};
//!
//! let mut out = Vec::new();
//! decode(b"[1,true]", &Options::default(), &mut BinaryKeys, Duplicates::Assume, &mut out)?;
//! assert_eq!(out, b"\x83\x6c\0\0\0\x02\x61\x01\x77\x04true\x6a");
//! # Ok::<(), sockeye_json::Error>(())
//! ```

mod bigint;
mod decode;
mod duplicates;
mod error;
mod numbers;
mod output;
mod reused;
pub mod text;
mod weight;

pub use decode::{decode, decode_into, decode_str, utf8};
pub use error::{Error, ErrorKind};
pub use output::{Etf, Output, decimal_etf, is_atom};
pub use reused::{Reset, Reused};
pub use weight::is_light;

/// The deepest nesting that [`Options::max_depth`] can allow.
///
/// Decoding uses the native stack, and a dirty scheduler of the VM has 320 KiB of it.
pub const MAX_DEPTH: u16 = 256;

/// The most digits an integer may have, in both directions.
///
/// Conversion between decimal and binary is quadratic; this many digits take some milliseconds.
pub const MAX_DIGITS: usize = 65_536;

/// The atom that stands for JSON's `null`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Null {
    /// `null`, the default.
    #[default]
    Null,
    /// `undefined`, as Erlang records have it.
    Undefined,
    /// `nil`, as Elixir has it.
    Nil,
}

impl Null {
    /// The name of the atom.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Undefined => "undefined",
            Self::Nil => "nil",
        }
    }
}

/// The numbers of the atoms for JSON's literals in the VM that reads what is written: it finds them faster than by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Literals {
    /// Of the atom for `null`.
    pub null: u16,
    /// Of `true`.
    pub yes: u16,
    /// Of `false`.
    pub no: u16,
}

/// What objects become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Objects {
    /// Maps, the default.
    #[default]
    Map,
    /// Lists of pairs in a tuple, `{[{Key, Value}]}`, in the order of the text.
    Pairs,
}

/// How JSON becomes a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The atom for `null`. Default: [`Null::Null`].
    pub null: Null,
    /// How many arrays and objects may be open at once. Default: 128; limits: 1 to [`MAX_DEPTH`],
    /// a value outside is taken as the nearest limit.
    pub max_depth: u16,
    /// What [`decode`] makes of objects. Default: [`Objects::Map`].
    pub objects: Objects,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            null: Null::Null,
            max_depth: 128,
            objects: Objects::Map,
        }
    }
}

/// Decides which object keys become atoms.
///
/// Closures of type `FnMut(&str) -> bool` implement it too.
pub trait Keys {
    /// Whether this key becomes an atom; if not, it becomes a binary.
    ///
    /// The caller makes sure that the atom may exist: no atom should be made from input. Not asked
    /// for keys of more than 255 characters, which are never atoms.
    fn is_atom(&mut self, key: &str) -> bool;
}

/// All keys become binaries.
#[derive(Clone, Copy, Debug, Default)]
pub struct BinaryKeys;

impl Keys for BinaryKeys {
    #[inline]
    fn is_atom(&mut self, _key: &str) -> bool {
        false
    }
}

impl<F: FnMut(&str) -> bool> Keys for F {
    #[inline]
    fn is_atom(&mut self, key: &str) -> bool {
        self(key)
    }
}

/// What to do about a key that an object has twice.
///
/// The VM refuses a map with a key twice, so the cheap way is to assume that there is none and to
/// decode again when the VM disagrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicates {
    /// Write every pair; if a key comes twice, the VM will refuse the output.
    Assume,
    /// Keep only the last value of each key.
    Resolve,
}
