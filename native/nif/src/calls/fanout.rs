//! One frame for many connections.

use rustler::{Binary, Encoder, Env, Error, NewBinary, NifResult, Term};
use sockeye_engine::{CallKind, DeliveryCountReply, SendError};
use sockeye_seam::calls::{self, Encoded};

use crate::atoms;
use crate::frames::outbound::{SendFailure, charge, reason, refuse};
use crate::frames::reader::TermReader;
use crate::frames::{Bounds, NORMAL_PAYLOAD};
use crate::terms::Builder;
use crate::vm::reply::{self, ReplyTo};
use crate::vm::{backlog, running};

#[rustler::nif]
fn publish<'a>(
    env: Env<'a>,
    server: u64,
    to: Term<'a>,
    frame: Term<'a>,
    except: Term<'a>,
    wait: Term<'a>,
) -> NifResult<Term<'a>> {
    publish_with(env, server, (to, except, wait), frame, Bounds::NORMAL)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn publish_dirty<'a>(
    env: Env<'a>,
    server: u64,
    to: Term<'a>,
    frame: Term<'a>,
    except: Term<'a>,
    wait: Term<'a>,
) -> NifResult<Term<'a>> {
    publish_with(env, server, (to, except, wait), frame, Bounds::NONE)
}

fn publish_with<'a>(
    env: Env<'a>,
    server: u64,
    (to, except, wait): (Term<'a>, Term<'a>, Term<'a>),
    frame: Term<'a>,
    bounds: Bounds,
) -> NifResult<Term<'a>> {
    let b = Builder::of(env);
    let Some((_, known)) = running::server(server) else {
        return refuse(env, b, SendFailure::Send(SendError::Closed));
    };
    match calls::encode_for(TermReader::of(env), &known, frame.as_c_arg(), bounds) {
        Ok(encoded) => spread(env, server, (to, except, wait), encoded, bounds),
        Err(failure) => refuse(env, b, failure),
    }
}

fn spread<'a>(
    env: Env<'a>,
    server: u64,
    (to, except, wait): (Term<'a>, Term<'a>, Term<'a>),
    encoded: Encoded,
    bounds: Bounds,
) -> NifResult<Term<'a>> {
    let b = Builder::of(env);
    let reader = TermReader::of(env);
    let who =
        calls::recipients(reader, to.as_c_arg(), except.as_c_arg()).map_err(|_| Error::BadArg)?;
    let none = atoms::none().as_c_arg();
    let reply = match wait.as_c_arg() {
        term if term == none => None,
        _ => Some(ReplyTo::new(env, wait.decode::<reply::PendingReply<'_>>()?)),
    };
    let waits = reply.is_some();
    let Some((engine, server)) = running::server(server) else {
        return refuse(env, b, SendFailure::Send(SendError::Closed));
    };
    charge(env, encoded.0.len(), 0);
    let outcome = reply.map(|reply| -> DeliveryCountReply {
        Box::new(move |sent, dropped| {
            reply.answer(|mut b| calls::dropped(&mut b, sent, dropped));
        })
    });
    let result = calls::spread(&engine, &server, who, encoded, outcome, bounds);
    match result {
        Ok(shards) if shards.is_empty() && waits => {
            let counts = calls::dropped(&mut { b }, 0, 0);
            Ok(b.term(env, b.tuple([b.atom(atoms::ok()), counts])))
        }
        // Who waits for the outcome need not wait twice.
        Ok(_) if waits => Ok(atoms::ok().encode(env)),
        Ok(shards) => {
            let given = (shards, CallKind::Fanout);
            Ok(backlog::ok(env, &engine, given))
        }
        Err(failure) => refuse(env, b, failure),
    }
}

/// What other nodes hand on to their connections: `{ok, {Bytes, Plain}}`.
#[rustler::nif]
fn encode_frame<'a>(env: Env<'a>, server: u64, frame: Term<'a>) -> NifResult<Term<'a>> {
    encoded(env, server, frame, Bounds::NORMAL)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn encode_frame_dirty<'a>(env: Env<'a>, server: u64, frame: Term<'a>) -> NifResult<Term<'a>> {
    encoded(env, server, frame, Bounds::NONE)
}

fn encoded<'a>(env: Env<'a>, server: u64, frame: Term<'a>, bounds: Bounds) -> NifResult<Term<'a>> {
    let b = Builder::of(env);
    let Some((_, server)) = running::server(server) else {
        return refuse(env, b, SendFailure::Send(SendError::Closed));
    };
    match calls::encode_for(TermReader::of(env), &server, frame.as_c_arg(), bounds) {
        Ok((bytes, plain)) => {
            charge(env, bytes.len(), 0);
            let mut binary = NewBinary::new(env, bytes.len());
            binary.as_mut_slice().copy_from_slice(&bytes);
            Ok((atoms::ok(), (Term::from(binary), plain)).encode(env))
        }
        Err(failure) => refuse(env, b, failure),
    }
}

#[rustler::nif]
fn publish_encoded<'a>(
    env: Env<'a>,
    server: u64,
    to: Term<'a>,
    encoded: (Binary<'a>, bool),
    except: Term<'a>,
    wait: Term<'a>,
) -> NifResult<Term<'a>> {
    let (bytes, plain) = encoded;
    if bytes.len() > NORMAL_PAYLOAD {
        return Ok(atoms::dirty().encode(env));
    }
    let bytes = bytes.to_vec();
    spread(
        env,
        server,
        (to, except, wait),
        (bytes, plain),
        Bounds::NORMAL,
    )
}

#[rustler::nif(schedule = "DirtyCpu")]
fn publish_encoded_dirty<'a>(
    env: Env<'a>,
    server: u64,
    to: Term<'a>,
    encoded: (Binary<'a>, bool),
    except: Term<'a>,
    wait: Term<'a>,
) -> NifResult<Term<'a>> {
    let (bytes, plain) = (encoded.0.to_vec(), encoded.1);
    spread(
        env,
        server,
        (to, except, wait),
        (bytes, plain),
        Bounds::NONE,
    )
}

#[rustler::nif]
fn send_list<'a>(env: Env<'a>, conns: Term<'a>, frame: Term<'a>) -> NifResult<Term<'a>> {
    list(env, conns, frame, Bounds::NORMAL)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn send_list_dirty<'a>(env: Env<'a>, conns: Term<'a>, frame: Term<'a>) -> NifResult<Term<'a>> {
    list(env, conns, frame, Bounds::NONE)
}

/// The frame is encoded once for all connections of a server.
fn list<'a>(env: Env<'a>, conns: Term<'a>, frame: Term<'a>, bounds: Bounds) -> NifResult<Term<'a>> {
    let b = Builder::of(env);
    let Some(engine) = running::engine() else {
        return refuse(env, b, SendFailure::Send(SendError::Closed));
    };
    let (conns, frame) = (conns.as_c_arg(), frame.as_c_arg());
    let sent = calls::send_list(TermReader::of(env), &engine, conns, frame, bounds);
    let (refused, crowded, bytes, count) = match sent {
        Ok(sent) => sent,
        Err(failure) => return refuse(env, b, failure),
    };
    charge(env, bytes, count);
    let answer = if refused.is_empty() {
        b.atom(atoms::ok())
    } else {
        let reasons = refused.iter().map(|(conn, why)| {
            let why = reason(b, &SendFailure::Send(*why));
            b.tuple([b.conn(*conn), why])
        });
        let reasons = b.list(&reasons.collect::<Vec<_>>());
        b.tuple([b.atom(atoms::error()), reasons])
    };
    Ok(backlog::wrap(env, crowded, b.term(env, answer)))
}
