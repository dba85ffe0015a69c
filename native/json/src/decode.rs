//! JSON text to external term format or whatever takes values.

use crate::output::{Etf, Output};
use crate::parse::Parser;
use crate::{Duplicates, Error, ErrorKind, Keys, Options};

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
    Parser::new(text, options, keys, out).run()
}
