//! One frame for many connections.

use rustler::sys::ErlNifTerm;
use rustler::{Binary, Encoder, Env, Error, NewBinary, NifResult, Term};
use sockeye_engine::{
    Broadcast, CallKind, ConnId, DeliveryCountReply, SendError, Server, ShardSet, topics,
};

use crate::atoms;
use crate::frames::outbound::{SendFailure, charge, range, reason, refuse};
use crate::frames::{self, Appended, Bounds, CLIENT_TAG, FrameFormat, NORMAL_PAYLOAD, compress};
use crate::terms::{Builder, map};
use crate::vm::reply::{self, ReplyTo};
use crate::vm::{backlog, running};

/// Connections of a list that one call on a normal scheduler takes.
const LIST: usize = 512;

/// To all connections of a server, or to the subscribers of a topic.
enum FanoutTarget<'a> {
    All,
    Topic(&'a [u8]),
}

impl<'a> FanoutTarget<'a> {
    fn of(b: Builder<'a>, term: ErlNifTerm) -> NifResult<Self> {
        if term == atoms::all().as_c_arg() {
            return Ok(FanoutTarget::All);
        }
        let name = b.bytes(term).filter(|name| topics::is_plain(name));
        name.map(FanoutTarget::Topic).ok_or(Error::BadArg)
    }
}

/// A frame, and whether it must stay uncompressed.
fn encode(
    b: Builder,
    server: &Server,
    frame: Term<'_>,
    bounds: Bounds,
) -> Result<(Vec<u8>, bool), SendFailure> {
    let mut bytes = Vec::with_capacity(256);
    let format = FrameFormat::of(server.config.tag);
    let plain = match frames::append(b, frame.as_c_arg(), format, bounds, &mut bytes)? {
        Appended::Frame => false,
        Appended::Plain => true,
        Appended::Close(..) | Appended::Active(_) | Appended::Stream(..) => {
            return Err(SendFailure::BadArg);
        }
    };
    range(0, bytes.len()).ok_or(SendFailure::BadArg)?;
    Ok((bytes, plain))
}

#[rustler::nif]
fn publish<'a>(
    env: Env<'a>,
    server: u64,
    to: Term<'a>,
    frame: Term<'a>,
    except: Term<'a>,
    wait: Term<'a>,
) -> NifResult<Term<'a>> {
    publish_with(env, server, (to, except, wait), frame, Bounds::normal())
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
    publish_with(env, server, (to, except, wait), frame, Bounds::dirty())
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
    match encode(b, &known, frame, bounds) {
        Ok((bytes, plain)) => spread(env, server, (to, except, wait), bytes, plain, bounds),
        Err(failure) => refuse(env, b, failure),
    }
}

fn spread<'a>(
    env: Env<'a>,
    server: u64,
    (to, except, wait): (Term<'a>, Term<'a>, Term<'a>),
    bytes: Vec<u8>,
    plain: bool,
    bounds: Bounds,
) -> NifResult<Term<'a>> {
    let b = Builder::of(env);
    let target = FanoutTarget::of(b, to.as_c_arg())?;
    let none = atoms::none().as_c_arg();
    let except: Option<ConnId> = match except.as_c_arg() {
        term if term == none => None,
        term => Some(b.as_conn(term).ok_or(Error::BadArg)?),
    };
    let reply = match wait.as_c_arg() {
        term if term == none => None,
        _ => Some(ReplyTo::new(env, wait.decode::<reply::PendingReply<'_>>()?)),
    };
    let waits = reply.is_some();
    range(0, bytes.len()).ok_or(Error::BadArg)?;
    let Some((engine, server)) = running::server(server) else {
        return refuse(env, b, SendFailure::Send(SendError::Closed));
    };
    charge(env, bytes.len(), 0);
    let frame = match compress::broadcast(&server, bytes, plain, bounds) {
        Ok(frame) => frame,
        Err(error) => return refuse(env, b, error.into()),
    };
    let outcome = reply.map(|reply| -> DeliveryCountReply {
        Box::new(move |sent, dropped| reply.answer(|b| counts(b, sent, dropped)))
    });
    let result = match target {
        FanoutTarget::All => engine.fan_out(&server, &frame, except, outcome),
        FanoutTarget::Topic(name) => engine.publish(&server, name, &frame, except, outcome),
    };
    match result {
        Ok(shards) if shards.is_empty() && waits => {
            Ok(b.term(env, b.tuple([b.atom(atoms::ok()), counts(b, 0, 0)])))
        }
        // Who waits for the outcome need not wait twice.
        Ok(_) if waits => Ok(atoms::ok().encode(env)),
        Ok(shards) => {
            let given = (shards, CallKind::Fanout);
            Ok(backlog::ok(env, &engine, given))
        }
        Err(e) => refuse(env, b, SendFailure::Send(e)),
    }
}

fn counts(b: Builder, sent: u64, dropped: u64) -> ErlNifTerm {
    map(
        b,
        &[
            (b.atom(atoms::sent()), b.integer(sent)),
            (b.atom(atoms::dropped()), b.integer(dropped)),
        ],
    )
}

/// What other nodes hand on to their connections: `{ok, {Bytes, Plain}}`.
#[rustler::nif]
fn encode_frame<'a>(env: Env<'a>, server: u64, frame: Term<'a>) -> NifResult<Term<'a>> {
    encoded(env, server, frame, Bounds::normal())
}

#[rustler::nif(schedule = "DirtyCpu")]
fn encode_frame_dirty<'a>(env: Env<'a>, server: u64, frame: Term<'a>) -> NifResult<Term<'a>> {
    encoded(env, server, frame, Bounds::dirty())
}

fn encoded<'a>(env: Env<'a>, server: u64, frame: Term<'a>, bounds: Bounds) -> NifResult<Term<'a>> {
    let b = Builder::of(env);
    let Some((_, server)) = running::server(server) else {
        return refuse(env, b, SendFailure::Send(SendError::Closed));
    };
    match encode(b, &server, frame, bounds) {
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
        bytes,
        plain,
        Bounds::normal(),
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
        bytes,
        plain,
        Bounds::dirty(),
    )
}

#[rustler::nif]
fn send_list<'a>(env: Env<'a>, conns: Term<'a>, frame: Term<'a>) -> NifResult<Term<'a>> {
    list(env, conns, frame, Bounds::normal())
}

#[rustler::nif(schedule = "DirtyCpu")]
fn send_list_dirty<'a>(env: Env<'a>, conns: Term<'a>, frame: Term<'a>) -> NifResult<Term<'a>> {
    list(env, conns, frame, Bounds::dirty())
}

/// The frame is encoded once for all connections of a server.
fn list<'a>(env: Env<'a>, conns: Term<'a>, frame: Term<'a>, bounds: Bounds) -> NifResult<Term<'a>> {
    let b = Builder::of(env);
    let Some(engine) = running::engine() else {
        return refuse(env, b, SendFailure::Send(SendError::Closed));
    };
    let mut groups: Vec<(u32, Vec<ConnId>)> = Vec::new();
    let mut refused: Vec<(ConnId, SendError)> = Vec::new();
    let (mut rest, mut count) = (conns.as_c_arg(), 0);
    while let Some((head, tail)) = b.cell(rest) {
        let conn = b.as_conn(head).ok_or(Error::BadArg)?;
        match engine.home_of(conn) {
            // Frames of a client are masked, each in its own way.
            Some(home) if home.tag & CLIENT_TAG != 0 => return Err(Error::BadArg),
            Some(home) => match groups.iter_mut().find(|(server, _)| *server == home.server) {
                Some((_, group)) => group.push(conn),
                None => groups.push((home.server, vec![conn])),
            },
            None => refused.push((conn, SendError::Closed)),
        }
        rest = tail;
        count += 1;
        if count > LIST && bounds.are_normal() {
            return Ok(atoms::dirty().encode(env));
        }
    }
    if !b.is_nil(rest) {
        return Err(Error::BadArg);
    }
    // Before anything is sent.
    let mut ready: Vec<(std::sync::Arc<Server>, Broadcast, Vec<ConnId>)> = Vec::new();
    let mut work = 0;
    for (number, group) in groups {
        // It is encoded for each server anew.
        if work > NORMAL_PAYLOAD && bounds.are_normal() {
            return Ok(atoms::dirty().encode(env));
        }
        let Some(server) = engine.server(number) else {
            refused.extend(group.into_iter().map(|conn| (conn, SendError::Closed)));
            continue;
        };
        let made = encode(b, &server, frame, bounds).and_then(|(bytes, plain)| {
            charge(env, bytes.len(), 0);
            work += bytes.len();
            Ok(compress::broadcast(&server, bytes, plain, bounds)?)
        });
        match made {
            Ok(made) => ready.push((server, made, group)),
            Err(failure) => return refuse(env, b, failure),
        }
    }
    let mut shards = ShardSet::default();
    for (server, frame, group) in ready {
        group.iter().for_each(|conn| shards.insert(conn.shard()));
        refused.extend(engine.send_to_list(&server, &frame, &group));
    }
    charge(env, 0, count);
    let given = (shards, CallKind::Fanout);
    if refused.is_empty() {
        return Ok(backlog::ok(env, &engine, given));
    }
    let reasons = refused.iter().filter_map(|(conn, why)| {
        let why = reason(b, SendFailure::Send(*why))?;
        Some(b.tuple([b.conn(*conn), why]))
    });
    let reasons = b.list(&reasons.collect::<Vec<_>>());
    let error = b.term(env, b.tuple([b.atom(atoms::error()), reasons]));
    Ok(backlog::answer(env, &engine, given, error))
}
