//! Calls that wait for a thread of the engine, and their callers.

use std::sync::atomic::{AtomicU64, Ordering};

use rustler::{Encoder, Env, Term};
use sockeye_engine::{CallKind, Engine, ShardSet};

use crate::atoms;
use crate::terms::Builder;
use crate::vm::{process, running};

/// The answer to a call that gave something to these shards: `{crowded, Crowded, Answer}` if too much waits for
/// some of them. Then the caller is to wait for [`when_done`] before it goes on.
pub(crate) fn answer<'a>(
    env: Env<'a>,
    engine: &Engine,
    (shards, kind): (ShardSet, CallKind),
    answer: Term<'a>,
) -> Term<'a> {
    wrap(env, engine.backlogged(shards, kind), answer)
}

/// The same for `ok`.
pub(crate) fn ok<'a>(env: Env<'a>, engine: &Engine, given: (ShardSet, CallKind)) -> Term<'a> {
    answer(env, engine, given, atoms::ok().encode(env))
}

pub(crate) fn wrap<'a>(env: Env<'a>, crowded: ShardSet, answer: Term<'a>) -> Term<'a> {
    if crowded.is_empty() {
        return answer;
    }
    let b = Builder::of(env);
    let bits = b.integer(crowded.bits());
    b.term(
        env,
        b.tuple([b.atom(atoms::crowded()), bits, answer.as_c_arg()]),
    )
}

/// `{Ticket, Count}`: so many messages `{sockeye_done, Ticket}` come, one from each of these shards when it has
/// carried out what it was given until now, or ends.
#[rustler::nif]
fn when_done(env: Env<'_>, shards: u64) -> Term<'_> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let ticket = NEXT.fetch_add(1, Ordering::Relaxed);
    let caller = running::caller(env);
    let tell = || -> Box<dyn FnOnce() + Send> {
        Box::new(move || {
            process::send(&caller, |b| {
                b.tuple([b.atom(atoms::sockeye_done()), b.integer(ticket)])
            });
        })
    };
    let count = running::engine().map_or(0, |engine| {
        engine.when_done(ShardSet::from_bits(shards), tell)
    });
    (ticket, count).encode(env)
}
