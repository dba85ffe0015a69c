//! The gate process of a server, which answers its questions; and the relay, which wakes its processes.

use rustler::types::tuple::get_tuple;
use rustler::{Binary, Encoder, Env, Error, NifResult, Term};
use sockeye_engine::{AcceptState, Answer, PieceOutcome, Tell};
use sockeye_seam::settings::{decision, stream_end, stream_head};

use crate::atoms;
use crate::server::registry;
use crate::settings::tree::{bad_arg, tree, tree_without};
use crate::terms::owned::OwnedTerm;
use crate::vm::reply::{PendingReply, ReplyTo};
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

/// Answers a question with a head, and with pieces that come later. `false` if they are not wanted.
#[rustler::nif]
fn stream_open<'a>(env: Env<'a>, server: u64, token: u64, head: Term<'a>) -> NifResult<Term<'a>> {
    let head = stream_head(&tree(head)).map_err(bad_arg)?;
    let server = running::server(server);
    let opened = server.is_some_and(|(_, server)| server.open_stream(token, head));
    Ok(opened.encode(env))
}

/// Gives a piece, as small as a call on a normal scheduler may copy: `sent` or `closed`; or `ok`, and one of these comes as an answer.
#[rustler::nif]
fn stream_send<'a>(
    env: Env<'a>,
    server: u64,
    token: u64,
    piece: Binary<'a>,
    asked: PendingReply<'a>,
) -> Term<'a> {
    let tell = || -> Tell {
        let to = ReplyTo::new(env, asked);
        Box::new(move |is_there| {
            let said = if is_there {
                atoms::sent()
            } else {
                atoms::closed()
            };
            to.answer(|b| b.atom(said));
        })
    };
    let server = running::server(server);
    let given = server.map_or(PieceOutcome::Closed, |(_, server)| {
        server.give_piece(token, &piece, tell)
    });
    match given {
        PieceOutcome::Taken => atoms::sent(),
        PieceOutcome::Waits => atoms::ok(),
        PieceOutcome::Closed => atoms::closed(),
    }
    .encode(env)
}

/// Ends an answer in pieces: `ok`, or `closed` for one that is broken off.
#[rustler::nif]
fn stream_close<'a>(env: Env<'a>, server: u64, token: u64, end: Term<'a>) -> NifResult<Term<'a>> {
    let end = stream_end(&tree(end)).map_err(bad_arg)?;
    if let Some((_, server)) = running::server(server) {
        server.end_stream(token, end);
    }
    Ok(atoms::ok().encode(env))
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
