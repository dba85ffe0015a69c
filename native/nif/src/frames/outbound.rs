//! What calls that bring frames have in common: what they cost, and how they are refused.

use rustler::sys::ErlNifTerm;
use rustler::{Encoder, Env, Error, NifResult, Term};

use crate::atoms;
use crate::terms::Builder;

/// Why a frame was not handed over.
pub(crate) type SendFailure = sockeye_seam::frames::SendFailure<ErlNifTerm>;

/// The reason in an error tuple.
pub(crate) fn reason(b: Builder<'_>, failure: &SendFailure) -> ErlNifTerm {
    failure.reason(&mut { b }, |_, part| part)
}

/// From so many bytes on, a call gives up the rest of its time slice. They take 25 to 50 us, as do
/// the 4,000 reductions of compiled Erlang: who took a slice to be a millisecond would get ten times
/// the share of its neighbours.
const TURN: usize = 8 * 1024;

/// Counts work as reductions, so that the scheduler knows how long it took.
pub(crate) fn charge(env: Env<'_>, bytes: usize, items: usize) {
    // Small calls count for less: each that gave way would wake the shard for less.
    let percent = if bytes < TURN {
        bytes / 2048 + items / 8
    } else {
        100
    };
    if percent > 0 {
        rustler::schedule::consume_timeslice(env, percent.min(100) as i32);
    }
}

pub(crate) fn refuse<'a>(env: Env<'a>, b: Builder, failure: SendFailure) -> NifResult<Term<'a>> {
    match failure {
        SendFailure::BadArg => Err(Error::BadArg),
        SendFailure::Dirty => Ok(atoms::dirty().encode(env)),
        failure => {
            let error = [b.atom(atoms::error()), reason(b, &failure)];
            Ok(b.term(env, b.tuple(error)))
        }
    }
}
