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

/// Bytes of text that is light which a normal scheduler decodes.
pub(crate) const NORMAL_LIGHT: usize = 64 * 1024;

/// Whether a text is work for a normal scheduler.
pub(crate) fn is_normal(text: &[u8]) -> bool {
    text.len() <= values::NORMAL_TEXT
        || (text.len() <= NORMAL_LIGHT && sockeye_json::is_light(text))
}

/// Builds the term that `input` writes, in the environment of `context`. Where [`DecodeContext::gave_up`] is set then, what
/// is returned means nothing.
///
/// The work grows with the input: keep large ones off the normal schedulers.
pub(crate) fn decode(
    context: &mut DecodeContext<'_>,
    input: &str,
    options: &JsonOptions,
) -> Result<ErlNifTerm, Error> {
    let env = context.b.env;
    let result = match &options.keys {
        KeyMode::Binary => decode_with(context, input, &options.read, &mut BinaryKeys),
        KeyMode::ExistingAtom => {
            let mut keys = |key: &str| atom_exists(env, key);
            decode_with(context, input, &options.read, &mut keys)
        }
        KeyMode::Listed(names) => {
            let mut keys = |key: &str| names.contains(key);
            decode_with(context, input, &options.read, &mut keys)
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
) -> Result<ErlNifTerm, Error> {
    values::with_space(|space| {
        let budget = context.budget(input);
        let mut values = TermOutput::new(context, options, space, budget);
        sockeye_json::decode_into(input, options, keys, &mut values)?;
        let (term, is_spent) = (values.finish(), values.is_spent);
        context.gave_up |= is_spent;
        term.filter(|_| !is_spent).ok_or(Error {
            kind: ErrorKind::TooLarge,
            offset: 0,
        })
    })
}

/// Whether the VM has an atom of this name (at most 255 characters).
fn atom_exists(env: *mut ErlNifEnv, name: &str) -> bool {
    atom(env, name).is_some()
}
