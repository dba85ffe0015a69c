//! Frames of Erlang processes on their way to the shards.
//!
//! What one call brings is encoded into one buffer a shard and handed over at once.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

use rustler::sys::ErlNifTerm;
use rustler::{Encoder, Env, Error, NifResult, Term};
use sockeye_engine::op::Part;
use sockeye_engine::streams::StreamError;
use sockeye_engine::{ConnId, Engine, Frames, SendError};
use sockeye_json::Null;
use sockeye_protocol::{Role, frame};

use crate::atoms;
use crate::frames::{self, Asked, Bounds, Refused};
use crate::running::with_engine;
use crate::squeeze::Squeeze;
use crate::terms::Builder;

/// Bytes that one call on a normal scheduler encodes before it lets others run.
const SLICE: usize = 256 * 1024;
/// Bytes that a call on a dirty one encodes before it hands them over.
const DIRTY_SLICE: usize = 16 << 20;
/// Frames that one such call on a normal scheduler takes.
const SLICE_FRAMES: usize = 1024;

/// Set in the tag of a client, whose frames are masked. The engine keeps four bits.
pub(crate) const CLIENT_TAG: u8 = 0x08;

/// What the tag of a server says of null.
pub(crate) fn tag_of(null: Null) -> u8 {
    match null {
        Null::Null => 0,
        Null::Undefined => 1,
        Null::Nil => 2,
    }
}

/// How frames for the connections of a server are written.
#[derive(Clone, Copy)]
pub(crate) struct Dialect {
    pub(crate) null: Null,
    pub(crate) role: Role,
}

impl Dialect {
    pub(crate) fn of(tag: u8) -> Self {
        let client = tag & CLIENT_TAG != 0;
        Dialect {
            null: match tag & !CLIENT_TAG {
                1 => Null::Undefined,
                2 => Null::Nil,
                _ => Null::Null,
            },
            role: if client { Role::Client } else { Role::Server },
        }
    }
}

thread_local! {
    /// How much the last call needed: the next buffer starts at that size.
    static EXPECTED: Cell<usize> = const { Cell::new(512) };
}

/// Frames on their way, by shard.
struct Outgoing<'e> {
    engine: &'e Arc<Engine>,
    shards: Vec<Frames>,
    bytes: usize,
    /// The last connection and its term: frames of one connection mostly come together.
    last: Option<(ErlNifTerm, Receiver)>,
}

/// A connection that frames go to.
struct Receiver {
    conn: ConnId,
    /// How its frames are written.
    dialect: Dialect,
    /// How it is compressed for, if that is for us to do.
    squeeze: Option<Squeeze>,
}

impl Receiver {
    fn of(engine: &Engine, conn: ConnId) -> Result<Self, Failure> {
        let home = engine
            .home_of(conn)
            .ok_or(Failure::Send(SendError::Closed))?;
        Ok(Receiver {
            conn,
            dialect: Dialect::of(home.tag),
            squeeze: Squeeze::of(engine, home),
        })
    }

    /// Appends a frame, or says what else the term asks for. Gives what the work is worth in bytes, too.
    fn append(
        &self,
        b: Builder,
        frame: ErlNifTerm,
        bounds: Bounds,
        out: &mut Vec<u8>,
    ) -> Result<(Asked, usize), Failure> {
        let start = out.len();
        let Some(squeeze) = &self.squeeze else {
            let asked = frames::append(b, frame, self.dialect, bounds, out)?;
            return Ok((asked, out.len() - start));
        };
        let unmasked = Dialect {
            role: Role::Server,
            ..self.dialect
        };
        let asked = frames::append(b, frame, unmasked, bounds, out)?;
        let worth = match asked {
            Asked::Frame => squeeze.last(out, start, bounds)?,
            _ => 0,
        };
        if let (Asked::Frame | Asked::Plain, Some(key)) = (&asked, self.dialect.role.mask()) {
            frame::mask_last(out, start, key);
        }
        Ok((asked, worth + out.len() - start))
    }
}

impl<'e> Outgoing<'e> {
    fn new(engine: &'e Arc<Engine>) -> Self {
        let mut shards = Vec::new();
        shards.resize_with(engine.shards(), Frames::default);
        Outgoing {
            engine,
            shards,
            bytes: 0,
            last: None,
        }
    }

    /// The receiver that a term names, if it is not the last one.
    fn look_up(&mut self, b: Builder, term: ErlNifTerm) -> Result<(), Failure> {
        if !matches!(self.last, Some((last, _)) if last == term) {
            let conn = b.as_conn(term).ok_or(Failure::BadArg)?;
            self.last = Some((term, Receiver::of(self.engine, conn)?));
        }
        Ok(())
    }

    /// Adds one frame. On failure nothing is added.
    fn add(
        &mut self,
        b: Builder,
        conn_term: ErlNifTerm,
        frame: ErlNifTerm,
        bounds: Bounds,
    ) -> Result<(), Failure> {
        let engine = self.engine;
        self.look_up(b, conn_term)?;
        let closed = Failure::Send(SendError::Closed);
        let Some((_, receiver)) = &self.last else {
            return Err(closed);
        };
        let conn = receiver.conn;
        let Some(out) = self.shards.get_mut(conn.shard()) else {
            return Err(closed);
        };
        if out.bytes.capacity() == 0 {
            out.bytes.reserve(EXPECTED.get());
        }
        let start = out.bytes.len();
        let (asked, worth) = receiver.append(b, frame, bounds, &mut out.bytes)?;
        match asked {
            Asked::Frame | Asked::Plain => {
                let Some((range, len)) = range(start, out.bytes.len()) else {
                    out.bytes.truncate(start);
                    return Err(Failure::BadArg);
                };
                if let Err(e) = engine.reserve(conn, len) {
                    out.bytes.truncate(start);
                    return Err(Failure::Send(e));
                }
                if matches!(asked, Asked::Plain) {
                    out.write_plain(conn, range);
                } else {
                    out.write(conn, range);
                }
                self.bytes += worth;
            }
            Asked::Close(code, reason) => {
                if !engine.set_closing(conn) {
                    return Err(Failure::Send(SendError::Closed));
                }
                out.parts.push((conn, Part::Close(code, reason)));
            }
            Asked::Active(change) => out.parts.push((conn, Part::Active(change))),
            Asked::Stream(kind, step, value) => {
                let bytes = frames::bytes(b, value, bounds.payload)?;
                let undo = engine.stream(conn, b.caller(), kind, step, bytes)?;
                frames::append_piece(kind, step, bytes, receiver.dialect.role, &mut out.bytes);
                let reserved = match range(start, out.bytes.len()) {
                    Some((range, len)) => match engine.reserve(conn, len) {
                        Ok(()) => Ok((range, len)),
                        Err(e) => Err(Failure::Send(e)),
                    },
                    None => Err(Failure::BadArg),
                };
                match reserved {
                    Ok((range, len)) => {
                        out.parts.push((conn, Part::Stream(range, step, undo)));
                        self.bytes += len;
                    }
                    Err(failure) => {
                        out.bytes.truncate(start);
                        engine.unstream(conn, undo);
                        return Err(failure);
                    }
                }
            }
        }
        Ok(())
    }

    /// Hands everything over. Returns the parts for shards that have too much to do already,
    /// which are as if they had not been asked for.
    fn flush(&mut self) -> Vec<(ConnId, Part)> {
        let mut refused = Vec::new();
        for (shard, frames) in self.shards.iter_mut().enumerate() {
            if frames.parts.is_empty() {
                continue;
            }
            let frames = std::mem::take(frames);
            EXPECTED.set(frames.bytes.len().clamp(64, SLICE));
            if let Err(frames) = self.engine.send(shard, frames) {
                take_back(self.engine, &frames);
                refused.extend(frames.parts);
            }
        }
        self.bytes = 0;
        refused
    }
}

/// The place of a frame, and its length. The engine counts in 32 bits: a frame beyond is none.
pub(crate) fn range(start: usize, end: usize) -> Option<(Range<u32>, usize)> {
    let range = u32::try_from(start).ok()?..u32::try_from(end).ok()?;
    Some((range, end - start))
}

/// Gives back the room that refused frames were counted with, and the right to close.
fn take_back(engine: &Engine, frames: &Frames) {
    // The last piece of a message first.
    for (conn, part) in frames.parts.iter().rev() {
        match part {
            Part::Stream(range, _, undo) => {
                engine.unreserve(*conn, (range.end - range.start) as usize);
                engine.unstream(*conn, *undo);
            }
            Part::Write(range, _) | Part::Plain(range, _) => {
                engine.unreserve(*conn, (range.end - range.start) as usize);
            }
            Part::Close(..) => engine.reopen(*conn),
            Part::Fail(..) | Part::Active(_) | Part::Options(_) => {}
        }
    }
}

pub(crate) enum Failure {
    BadArg,
    Dirty,
    Send(SendError),
    NotJson(ErlNifTerm),
    NotUtf8,
    Stream(StreamError),
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        Failure::Stream(error)
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::BadArg => Failure::BadArg,
            Refused::Dirty => Failure::Dirty,
            Refused::NotJson(term) => Failure::NotJson(term),
            Refused::NotUtf8 => Failure::NotUtf8,
        }
    }
}

/// The reason in an error tuple.
pub(crate) fn reason(b: Builder, failure: Failure) -> Option<ErlNifTerm> {
    Some(match failure {
        Failure::BadArg | Failure::Dirty => return None,
        Failure::Send(SendError::Closed) => b.atom(atoms::closed()),
        Failure::Send(SendError::Busy) => b.atom(atoms::busy()),
        Failure::NotJson(term) => b.tuple([b.atom(atoms::not_json()), term]),
        Failure::NotUtf8 | Failure::Stream(StreamError::NotUtf8) => b.atom(atoms::not_utf8()),
        Failure::Stream(StreamError::Streaming) => b.atom(atoms::streaming()),
        Failure::Stream(StreamError::NotStreaming) => b.atom(atoms::not_streaming()),
    })
}

#[rustler::nif]
fn commands<'a>(env: Env<'a>, list: Term<'a>) -> NifResult<Term<'a>> {
    carry_out(env, list, Bounds::NORMAL)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn commands_dirty<'a>(env: Env<'a>, list: Term<'a>) -> NifResult<Term<'a>> {
    carry_out(env, list, Bounds::DIRTY)
}

fn carry_out<'a>(env: Env<'a>, list: Term<'a>, bounds: Bounds) -> NifResult<Term<'a>> {
    let b = Builder::of(env);
    let mut rest = list.as_c_arg();
    let mut errors = Vec::new();
    let (mut taken, mut count) = (0, 0);
    let stop = with_engine(|engine| {
        let Some(engine) = engine else {
            return Ok(None);
        };
        let mut out = Outgoing::new(engine);
        let mut stop = None;
        let busy = |(conn, _): (ConnId, Part)| b.tuple([b.conn(conn), b.atom(atoms::busy())]);
        while let Some((conn_term, tail)) = b.cell(rest) {
            if (out.bytes > SLICE || count >= SLICE_FRAMES) && bounds.json != usize::MAX {
                stop = Some(atoms::more());
                break;
            }
            if out.bytes > DIRTY_SLICE {
                taken += out.bytes;
                errors.extend(out.flush().into_iter().map(busy));
            }
            let Some((frame, next)) = b.cell(tail) else {
                out.flush();
                return Err(Error::BadArg);
            };
            match out.add(b, conn_term, frame, bounds) {
                Ok(()) => {}
                Err(Failure::Dirty) => {
                    stop = Some(atoms::dirty());
                    break;
                }
                Err(Failure::BadArg) => {
                    out.flush();
                    return Err(Error::BadArg);
                }
                Err(failure) => {
                    if let Some(reason) = reason(b, failure) {
                        errors.push(b.tuple([conn_term, reason]));
                    }
                }
            }
            rest = next;
            count += 1;
        }
        taken += out.bytes;
        errors.extend(out.flush().into_iter().map(busy));
        Ok(stop)
    })?;
    charge(env, taken, count);
    let term = match (stop, errors.is_empty()) {
        (Some(stop), _) => b.tuple([b.atom(stop), rest, b.list(&errors)]),
        (None, true) => b.atom(atoms::ok()),
        (None, false) => b.tuple([b.atom(atoms::done()), b.list(&errors)]),
    };
    Ok(b.term(env, term))
}

/// Counts work as reductions, so that the scheduler knows how long it took.
pub(crate) fn charge(env: Env<'_>, bytes: usize, items: usize) {
    // About 1 % of a millisecond's time slice for 2 KiB, or for 8 items.
    let percent = bytes / 2048 + items / 8;
    if percent > 0 {
        rustler::schedule::consume_timeslice(env, percent.min(100) as i32);
    }
}

#[rustler::nif]
fn send<'a>(env: Env<'a>, conn: Term<'a>, frames: Term<'a>) -> NifResult<Term<'a>> {
    send_with(env, conn, frames, Bounds::NORMAL)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn send_dirty<'a>(env: Env<'a>, conn: Term<'a>, frames: Term<'a>) -> NifResult<Term<'a>> {
    send_with(env, conn, frames, Bounds::DIRTY)
}

fn send_with<'a>(
    env: Env<'a>,
    conn: Term<'a>,
    frames: Term<'a>,
    bounds: Bounds,
) -> NifResult<Term<'a>> {
    let b = Builder::of(env);
    let conn = b.as_conn(conn.as_c_arg()).ok_or(Error::BadArg)?;
    let frames = frames.as_c_arg();
    let sent = with_engine(|engine| {
        let engine = engine.ok_or(Failure::Send(SendError::Closed))?;
        send_all_or_none(b, engine, conn, frames, bounds)
    });
    match sent {
        Ok(bytes) => {
            charge(env, bytes, 0);
            Ok(atoms::ok().encode(env))
        }
        Err(failure) => refuse(env, b, failure),
    }
}

pub(crate) fn refuse<'a>(env: Env<'a>, b: Builder, failure: Failure) -> NifResult<Term<'a>> {
    match failure {
        Failure::BadArg => Err(Error::BadArg),
        Failure::Dirty => Ok(atoms::dirty().encode(env)),
        failure => {
            let reason = reason(b, failure).ok_or(Error::BadArg)?;
            Ok(b.term(env, b.tuple([b.atom(atoms::error()), reason])))
        }
    }
}

/// Encodes first and asks for room afterwards: either all frames go or none.
fn send_all_or_none(
    b: Builder,
    engine: &Arc<Engine>,
    conn: ConnId,
    list: ErlNifTerm,
    bounds: Bounds,
) -> Result<usize, Failure> {
    let mut frames = Frames::default();
    let prepared = prepare(b, engine, conn, list, bounds, &mut frames);
    let Ready { len, closes, work } = prepared.inspect_err(|_| forget_pieces(engine, &frames))?;
    engine.send(conn.shard(), frames).map_err(|frames| {
        forget_pieces(engine, &frames);
        engine.unreserve(conn, len);
        if closes {
            engine.reopen(conn);
        }
        Failure::Send(SendError::Busy)
    })?;
    Ok(work)
}

/// Takes back what was noted of messages in pieces, the last piece first.
fn forget_pieces(engine: &Engine, frames: &Frames) {
    for (conn, part) in frames.parts.iter().rev() {
        if let Part::Stream(_, _, undo) = part {
            engine.unstream(*conn, *undo);
        }
    }
}

/// Frames that are encoded, and whose bytes are reserved.
struct Ready {
    len: usize,
    closes: bool,
    work: usize,
}

fn prepare(
    b: Builder,
    engine: &Arc<Engine>,
    conn: ConnId,
    list: ErlNifTerm,
    bounds: Bounds,
    frames: &mut Frames,
) -> Result<Ready, Failure> {
    let receiver = Receiver::of(engine, conn)?;
    let mut work = 0;
    let mut parts = Vec::new();
    let mut one = |frame: ErlNifTerm, frames: &mut Frames| -> Result<(), Failure> {
        let start = frames.bytes.len();
        let (asked, worth) = receiver.append(b, frame, bounds, &mut frames.bytes)?;
        work += worth;
        match asked {
            Asked::Frame | Asked::Plain => {
                let (range, _) = range(start, frames.bytes.len()).ok_or(Failure::BadArg)?;
                if matches!(asked, Asked::Plain) {
                    frames.write_plain(conn, range);
                } else {
                    frames.write(conn, range);
                }
            }
            Asked::Stream(kind, step, value) => {
                let bytes = frames::bytes(b, value, bounds.payload)?;
                let role = receiver.dialect.role;
                frames::append_piece(kind, step, bytes, role, &mut frames.bytes);
                work += bytes.len();
                let (range, _) = range(start, frames.bytes.len()).ok_or(Failure::BadArg)?;
                let undo = engine.stream(conn, b.caller(), kind, step, bytes)?;
                frames.parts.push((conn, Part::Stream(range, step, undo)));
            }
            other => parts.push(other),
        }
        let large = work > SLICE || frames.parts.len() + parts.len() > SLICE_FRAMES;
        if large && bounds.json != usize::MAX {
            Err(Failure::Dirty)
        } else {
            Ok(())
        }
    };
    let mut rest = list;
    if b.cell(rest).is_some() || b.is_nil(rest) {
        while let Some((head, tail)) = b.cell(rest) {
            one(head, frames)?;
            rest = tail;
        }
        if !b.is_nil(rest) {
            return Err(Failure::BadArg);
        }
    } else {
        one(list, frames)?;
    }
    let len = frames.bytes.len();
    // A close or a change of credits needs no room.
    if len > 0 {
        engine.reserve(conn, len).map_err(Failure::Send)?;
    }
    let mut closes = false;
    for part in parts {
        match part {
            Asked::Frame | Asked::Plain | Asked::Stream(..) => {}
            Asked::Close(code, reason) => {
                closes = true;
                frames.parts.push((conn, Part::Close(code, reason)));
            }
            Asked::Active(change) => frames.parts.push((conn, Part::Active(change))),
        }
    }
    if closes && !engine.set_closing(conn) {
        engine.unreserve(conn, len);
        return Err(Failure::Send(SendError::Closed));
    }
    Ok(Ready { len, closes, work })
}
