//! The gate process of a server, which answers its questions; and the relay, which wakes its processes.

use rustler::types::tuple::get_tuple;
use rustler::{Encoder, Env, Error, NifResult, Term};
use sockeye_engine::{AcceptState, Answer};
use sockeye_seam::settings::decision;

use crate::atoms;
use crate::server::registry;
use crate::settings::tree::{bad_arg, tree_without};
use crate::terms::owned::OwnedTerm;
use crate::vm::running;

/// The caller gets the questions of this server. What was asked before will not be answered.
#[rustler::nif]
fn gate_open<'a>(env: Env<'a>, server: u64) -> NifResult<Term<'a>> {
    let host = registry::find(server).ok_or(Error::BadArg)?;
    if let Some((_, server)) = running::server(server) {
        server.forget_questions();
    }
    host.set_gate(running::caller(env));
    Ok(atoms::ok().encode(env))
}

/// The caller wakes the processes of this server's connections.
#[rustler::nif]
fn relay_open<'a>(env: Env<'a>, server: u64) -> NifResult<Term<'a>> {
    let host = registry::find(server).ok_or(Error::BadArg)?;
    host.relay.set(running::caller(env));
    Ok(atoms::ok().encode(env))
}

/// Answers a question, with a decision that `sockeye_decision` has checked. `false` if nobody
/// waits for it any more.
#[rustler::nif]
fn answer<'a>(env: Env<'a>, server: u64, token: u64, decision: Term<'a>) -> NifResult<Term<'a>> {
    give(env, server, token, decision)
}

/// For a large body.
#[rustler::nif(schedule = "DirtyCpu")]
fn answer_dirty<'a>(
    env: Env<'a>,
    server: u64,
    token: u64,
    decision: Term<'a>,
) -> NifResult<Term<'a>> {
    give(env, server, token, decision)
}

fn give<'a>(env: Env<'a>, server: u64, token: u64, decision: Term<'a>) -> NifResult<Term<'a>> {
    let answer = decode(decision)?;
    let server = running::server(server);
    let heard = server.is_some_and(|(_, server)| server.answer(token, answer));
    Ok(heard.encode(env))
}

fn decode(term: Term<'_>) -> NifResult<Answer> {
    // Whatever it is: it goes to who serves the connection as it came.
    let state = match get_tuple(term)?.as_slice() {
        [_, options] => options.map_get(atoms::state()).ok(),
        _ => None,
    };
    let state = state.map(|state| AcceptState(Box::new(OwnedTerm::new(state))));
    let value = tree_without(term, atoms::state());
    decision(&value, state).map_err(bad_arg)
}
