//! JSON text to a term.

use rustler::sys::{ErlNifEnv, ErlNifTerm};
use sockeye_json::{BinaryKeys, Error, ErrorKind, Keys, Options};
use sockeye_seam::settings::{JsonOptions, KeyMode};

use crate::json::values::{self, DecodeContext, TermOutput};
use crate::terms::existing::atom;

/// A scratch buffer that grew beyond this is given back.
const SCRATCH_KEPT: usize = 1 << 20;
/// What is left of such a buffer.
const SCRATCH_FLOOR: usize = 64 << 10;

/// Builds the term that `input` writes, in the environment of `context`.
///
/// The work grows with the input: keep large ones off the normal schedulers.
pub(crate) fn decode(
    context: &mut DecodeContext<'_>,
    input: &str,
    options: &JsonOptions,
) -> Result<ErlNifTerm, Error> {
    let term = decode_up_to(context, input, options, usize::MAX)?;
    term.ok_or(Error {
        kind: ErrorKind::TooLarge,
        offset: 0,
    })
}

/// The same, but `None` if a key comes twice in more than `twice` bytes: sorting keys takes
/// several times as long.
pub(crate) fn decode_up_to(
    context: &mut DecodeContext<'_>,
    input: &str,
    options: &JsonOptions,
    twice: usize,
) -> Result<Option<ErlNifTerm>, Error> {
    let env = context.b.env;
    let result = match &options.keys {
        KeyMode::Binary => decode_with(context, input, &options.read, &mut BinaryKeys, twice),
        KeyMode::ExistingAtom => {
            let mut keys = |key: &str| atom_exists(env, key);
            decode_with(context, input, &options.read, &mut keys, twice)
        }
        KeyMode::Listed(names) => {
            let mut keys = |key: &str| names.contains(key);
            decode_with(context, input, &options.read, &mut keys, twice)
        }
    };
    if context.scratch.capacity() > SCRATCH_KEPT {
        context.scratch.clear();
        context.scratch.shrink_to(SCRATCH_FLOOR);
    }
    result
}

fn decode_with<K: Keys>(
    context: &mut DecodeContext<'_>,
    input: &str,
    options: &Options,
    keys: &mut K,
    twice: usize,
) -> Result<Option<ErlNifTerm>, Error> {
    values::with_space(|space| {
        let may_repeat = input.len() <= twice;
        let mut values = TermOutput::new(context, options, space, may_repeat);
        sockeye_json::decode_into(input, options, keys, &mut values)?;
        Ok(values.finish().filter(|_| !values.repeated))
    })
}

/// Whether the VM has an atom of this name (at most 255 characters).
fn atom_exists(env: *mut ErlNifEnv, name: &str) -> bool {
    atom(env, name).is_some()
}
