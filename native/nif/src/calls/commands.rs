//! The commands of a handler's batch, on their way to the shards.
//!
//! What one call brings is encoded into one buffer a shard and handed over at once.

use std::cell::Cell;
use std::sync::Arc;

use rustler::sys::ErlNifTerm;
use rustler::{Env, Error, NifResult, Term};
use sockeye_engine::op::Command;
use sockeye_engine::{CallKind, ConnId, Engine, Frames, SendError, ShardSet};

use crate::atoms;
use crate::frames::outbound::{Receiver, SLICE, SLICE_FRAMES, SendFailure, charge, range, reason};
use crate::frames::{self, Appended, Bounds, NORMAL_JSON};
use crate::terms::Builder;
use crate::vm::backlog;
use crate::vm::running::with_engine_for;

/// Bytes that a call on a dirty one encodes before it hands them over.
const DIRTY_SLICE: usize = 16 << 20;

thread_local! {
    /// How much the last call needed: the next buffer starts at that size.
    static EXPECTED: Cell<usize> = const { Cell::new(512) };
}
/// The connection of a command, or the last of three elements, behind the caller's notes.
fn named(b: Builder, term: ErlNifTerm) -> Option<ConnId> {
    match b.elements(term)? {
        [_, _, conn] => b.as_conn(*conn),
        _ => b.as_conn(term),
    }
}

/// Frames on their way, by shard.
struct CommandBatch<'e> {
    engine: &'e Arc<Engine>,
    shards: Vec<Frames>,
    /// Those that were given something.
    given: ShardSet,
    /// Bytes that were worked on, whether they were taken or not.
    bytes: usize,
    /// The last connection and its term: frames of one connection mostly come together.
    last: Option<(ErlNifTerm, Receiver)>,
}
impl<'e> CommandBatch<'e> {
    fn new(engine: &'e Arc<Engine>) -> Self {
        let mut shards = Vec::new();
        shards.resize_with(engine.shards(), Frames::default);
        CommandBatch {
            engine,
            shards,
            given: ShardSet::default(),
            bytes: 0,
            last: None,
        }
    }

    /// The receiver that a term names, if it is not the last one.
    fn look_up(&mut self, b: Builder, term: ErlNifTerm) -> Result<(), SendFailure> {
        if !matches!(self.last, Some((last, _)) if last == term) {
            let conn = named(b, term).ok_or(SendFailure::BadArg)?;
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
    ) -> Result<(), SendFailure> {
        let engine = self.engine;
        self.look_up(b, conn_term)?;
        let closed = SendFailure::Send(SendError::Closed);
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
        let (asked, worth) = match receiver.append(b, frame, bounds, &mut out.bytes) {
            Ok(appended) => appended,
            Err(failure) => {
                if !matches!(failure, SendFailure::Dirty) {
                    self.bytes += NORMAL_JSON;
                }
                return Err(failure);
            }
        };
        self.bytes += worth;
        match asked {
            Appended::Frame | Appended::Plain => {
                let Some((range, len)) = range(start, out.bytes.len()) else {
                    out.bytes.truncate(start);
                    return Err(SendFailure::BadArg);
                };
                if let Err(e) = engine.reserve(conn, len) {
                    out.bytes.truncate(start);
                    return Err(SendFailure::Send(e));
                }
                if matches!(asked, Appended::Plain) {
                    out.write_plain(conn, range);
                } else {
                    out.write(conn, range);
                }
            }
            Appended::Close(code, reason) => {
                if !engine.set_closing(conn) {
                    return Err(SendFailure::Send(SendError::Closed));
                }
                out.commands.push((conn, Command::Close(code, reason)));
            }
            Appended::Active(change) => out.commands.push((conn, Command::Active(change))),
            Appended::Stream(kind, step, value) => {
                let bytes = frames::bytes(b, value, bounds.payload)?;
                self.bytes += bytes.len();
                let undo = engine.stream(conn, b.caller(), kind, step, bytes)?;
                frames::append_piece(kind, step, bytes, receiver.format.role, &mut out.bytes);
                let reserved = match range(start, out.bytes.len()) {
                    Some((range, len)) => match engine.reserve(conn, len) {
                        Ok(()) => Ok(range),
                        Err(e) => Err(SendFailure::Send(e)),
                    },
                    None => Err(SendFailure::BadArg),
                };
                match reserved {
                    Ok(range) => out
                        .commands
                        .push((conn, Command::Stream(range, step, undo))),
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

    /// Hands everything over.
    fn flush(&mut self) {
        for (shard, frames) in self.shards.iter_mut().enumerate() {
            if frames.commands.is_empty() {
                continue;
            }
            let frames = std::mem::take(frames);
            EXPECTED.set(frames.bytes.len().clamp(64, SLICE));
            self.engine.send(shard, frames);
            self.given.insert(shard);
        }
        self.bytes = 0;
    }

    /// The shards that the caller is to wait for.
    fn crowded(&self) -> ShardSet {
        self.engine.backlogged(self.given, CallKind::Single)
    }
}
/// Each error is `{Conn, Frame, Reason}`, with the terms of the command.
#[rustler::nif]
fn commands<'a>(env: Env<'a>, list: Term<'a>) -> NifResult<Term<'a>> {
    carry_out(env, list, Bounds::normal())
}

#[rustler::nif(schedule = "DirtyCpu")]
fn commands_dirty<'a>(env: Env<'a>, list: Term<'a>) -> NifResult<Term<'a>> {
    carry_out(env, list, Bounds::dirty())
}

fn carry_out<'a>(env: Env<'a>, list: Term<'a>, bounds: Bounds) -> NifResult<Term<'a>> {
    let b = Builder::of(env);
    let mut rest = list.as_c_arg();
    let mut errors = Vec::new();
    let (mut taken, mut count) = (0, 0);
    let (stop, crowded) = with_engine_for(bounds.are_normal(), |engine| {
        let Some(engine) = engine else {
            return Ok((None, ShardSet::default()));
        };
        let mut out = CommandBatch::new(engine);
        let mut stop = None;
        while let Some((conn_term, tail)) = b.cell(rest) {
            if (out.bytes > SLICE || count >= SLICE_FRAMES) && bounds.are_normal() {
                stop = Some(atoms::more());
                break;
            }
            if out.bytes > DIRTY_SLICE {
                taken += out.bytes;
                out.flush();
            }
            let Some((frame, next)) = b.cell(tail) else {
                out.flush();
                return Err(Error::BadArg);
            };
            match out.add(b, conn_term, frame, bounds) {
                Ok(()) => {}
                Err(SendFailure::Dirty) => {
                    stop = Some(atoms::dirty());
                    break;
                }
                Err(failure) => {
                    let reason = reason(b, failure).unwrap_or(b.atom(atoms::badarg()));
                    errors.push(b.tuple([conn_term, frame, reason]));
                }
            }
            rest = next;
            count += 1;
        }
        taken += out.bytes;
        out.flush();
        Ok((stop, out.crowded()))
    })?;
    charge(env, taken, count);
    let term = match (stop, errors.is_empty()) {
        (Some(stop), _) => b.tuple([b.atom(stop), rest, b.list(&errors)]),
        (None, true) => b.atom(atoms::ok()),
        (None, false) => b.tuple([b.atom(atoms::done()), b.list(&errors)]),
    };
    Ok(backlog::wrap(env, crowded, b.term(env, term)))
}
