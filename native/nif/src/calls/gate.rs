//! The gate process of a server, which answers its questions; and the relay, which wakes its processes.

use std::time::Duration;

use rustler::types::atom::Atom;
use rustler::{Decoder, Encoder, Env, Error, NifResult, Term};
use sockeye_engine::{AcceptState, Acceptance, Answer, ConnOptions};
use sockeye_protocol::handshake::Refusal;

use crate::atoms;
use crate::server::registry;
use crate::settings::config::{self, is};
use crate::terms::owned::OwnedTerm;
use crate::vm::running;

/// The caller gets the questions of this server. What was asked before will not be answered.
#[rustler::nif]
fn gate_open<'a>(env: Env<'a>, server: u64) -> NifResult<Term<'a>> {
    let host = registry::find(server).ok_or(Error::BadArg)?;
    host.set_gate(running::caller(env));
    if let Some((_, server)) = running::server(server) {
        server.forget_questions();
    }
    Ok(atoms::ok().encode(env))
}

/// The caller wakes the processes of this server's connections.
#[rustler::nif]
fn relay_open<'a>(env: Env<'a>, server: u64) -> NifResult<Term<'a>> {
    let host = registry::find(server).ok_or(Error::BadArg)?;
    host.set_relay(running::caller(env));
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

fn decode(decision: Term<'_>) -> NifResult<Answer> {
    let parts = rustler::types::tuple::get_tuple(decision)?;
    match parts.as_slice() {
        [tag, options] if is(*tag, atoms::accept()) => accept(*options),
        [tag, status, headers, body] if is(*tag, atoms::reject()) => {
            let mut refusal = Refusal::new(status.decode()?, bytes(*body)?);
            refusal.headers = pairs(*headers)?;
            Ok(Answer::Respond(refusal))
        }
        _ => Err(Error::BadArg),
    }
}

fn accept(options: Term<'_>) -> NifResult<Answer> {
    let mut acceptance = Acceptance::default();
    if let Ok(chosen) = options.map_get(atoms::subprotocol()) {
        acceptance.subprotocol = Some(match is(chosen, atoms::undefined()) {
            true => None,
            false => Some(text(chosen)?),
        });
    }
    if let Ok(headers) = options.map_get(atoms::headers()) {
        acceptance.headers = pairs(headers)?;
    }
    if let Ok(state) = options.map_get(atoms::state()) {
        acceptance.accept_state = Some(AcceptState(Box::new(OwnedTerm::new(state))));
    }
    acceptance.options = conn_options(options)?;
    Ok(Answer::Accept(Box::new(acceptance)))
}

/// The settings of one connection.
fn conn_options(map: Term<'_>) -> NifResult<ConnOptions> {
    let mut options = ConnOptions::default();
    if let Ok(active) = map.map_get(atoms::active()) {
        options.active = Some(config::active(active)?);
    }
    options.max_message_size = optional(map, atoms::max_message_size())?;
    options.max_frame_size = optional(map, atoms::max_frame_size())?;
    options.max_fragments = optional(map, atoms::max_fragments())?;
    options.idle_timeout = time(map, atoms::idle_timeout())?;
    options.ping_interval = time(map, atoms::ping_interval())?;
    options.pong_timeout = time(map, atoms::pong_timeout())?;
    options.max_age = time(map, atoms::max_age())?;
    options.send_queue_size = optional(map, atoms::send_queue_size())?;
    Ok(options)
}

fn optional<'a, T: Decoder<'a>>(map: Term<'a>, key: Atom) -> NifResult<Option<T>> {
    match map.map_get(key) {
        Ok(value) => value.decode().map(Some),
        Err(_) => Ok(None),
    }
}

fn time(map: Term<'_>, key: Atom) -> NifResult<Option<Duration>> {
    map.map_get(key).ok().map(config::time).transpose()
}

fn bytes(term: Term<'_>) -> NifResult<Vec<u8>> {
    Ok(rustler::Binary::from_term(term)?.as_slice().to_vec())
}

fn text(term: Term<'_>) -> NifResult<String> {
    String::from_utf8(bytes(term)?).map_err(|_| Error::BadArg)
}

fn pairs(list: Term<'_>) -> NifResult<Vec<(String, String)>> {
    let list: Vec<(Term<'_>, Term<'_>)> = list.decode()?;
    list.into_iter()
        .map(|(name, value)| Ok((text(name)?, text(value)?)))
        .collect()
}
