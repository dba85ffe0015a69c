//! Frames for one connection: all of them, or none.

use std::sync::Arc;

use rustler::sys::ErlNifTerm;
use rustler::{Encoder, Env, NifResult, Term};
use sockeye_engine::op::Command;
use sockeye_engine::{CallKind, ConnId, Engine, Frames, SendError, ShardSet};

use crate::atoms;
use crate::frames::outbound::{Receiver, SLICE, SLICE_FRAMES, SendFailure, charge, range, refuse};
use crate::frames::{self, Appended, Bounds};
use crate::terms::{Builder, conn_of};
use crate::vm::backlog;
use crate::vm::running::with_engine_for;

#[rustler::nif]
fn send<'a>(env: Env<'a>, conn: Term<'a>, frames: Term<'a>) -> NifResult<Term<'a>> {
    send_with(env, conn, frames, Bounds::normal())
}

#[rustler::nif(schedule = "DirtyCpu")]
fn send_dirty<'a>(env: Env<'a>, conn: Term<'a>, frames: Term<'a>) -> NifResult<Term<'a>> {
    send_with(env, conn, frames, Bounds::dirty())
}

fn send_with<'a>(
    env: Env<'a>,
    conn: Term<'a>,
    frames: Term<'a>,
    bounds: Bounds,
) -> NifResult<Term<'a>> {
    let b = Builder::of(env);
    let conn = conn_of(env, conn)?;
    let frames = frames.as_c_arg();
    let sent = with_engine_for(bounds.are_normal(), |engine| {
        let engine = engine.ok_or(SendFailure::Send(SendError::Closed))?;
        let bytes = send_all_or_none(b, engine, conn, frames, bounds)?;
        let shard = ShardSet::one(conn.shard());
        Ok((bytes, engine.backlogged(shard, CallKind::Single)))
    });
    match sent {
        Ok((bytes, crowded)) => {
            charge(env, bytes, 0);
            Ok(backlog::wrap(env, crowded, atoms::ok().encode(env)))
        }
        Err(failure) => refuse(env, b, failure),
    }
}
/// Encodes first and asks for room afterwards: either all frames go or none.
fn send_all_or_none(
    b: Builder,
    engine: &Arc<Engine>,
    conn: ConnId,
    list: ErlNifTerm,
    bounds: Bounds,
) -> Result<usize, SendFailure> {
    let mut frames = Frames::default();
    let prepared = prepare(b, engine, conn, list, bounds, &mut frames);
    let work = prepared.inspect_err(|_| forget_pieces(engine, &frames))?;
    engine.send(conn.shard(), frames);
    Ok(work)
}

/// Takes back what was noted of messages in pieces, the last piece first.
fn forget_pieces(engine: &Engine, frames: &Frames) {
    for (conn, part) in frames.commands.iter().rev() {
        if let Command::Stream(_, _, undo) = part {
            engine.unstream(*conn, *undo);
        }
    }
}

/// Encodes frames and reserves their bytes. Gives what the work is worth in bytes.
fn prepare(
    b: Builder,
    engine: &Arc<Engine>,
    conn: ConnId,
    list: ErlNifTerm,
    bounds: Bounds,
    frames: &mut Frames,
) -> Result<usize, SendFailure> {
    let receiver = Receiver::of(engine, conn)?;
    let mut work = 0;
    let mut closes = Vec::new();
    let mut one = |frame: ErlNifTerm, frames: &mut Frames| -> Result<(), SendFailure> {
        let start = frames.bytes.len();
        let (asked, worth) = receiver.append(b, frame, bounds, &mut frames.bytes)?;
        work += worth;
        match asked {
            Appended::Frame | Appended::Plain => {
                let (range, _) = range(start, frames.bytes.len()).ok_or(SendFailure::BadArg)?;
                if matches!(asked, Appended::Plain) {
                    frames.write_plain(conn, range);
                } else {
                    frames.write(conn, range);
                }
            }
            Appended::Stream(kind, step, value) => {
                let bytes = frames::bytes(b, value, bounds.payload)?;
                let role = receiver.format.role;
                frames::append_piece(kind, step, bytes, role, &mut frames.bytes);
                work += bytes.len();
                let (range, _) = range(start, frames.bytes.len()).ok_or(SendFailure::BadArg)?;
                let undo = engine.stream(conn, b.caller(), kind, step, bytes)?;
                frames
                    .commands
                    .push((conn, Command::Stream(range, step, undo)));
            }
            Appended::Close(code, reason) => closes.push((code, reason)),
            // A command of handlers, and no frame: `setopts` does it.
            Appended::Active(_) => return Err(SendFailure::BadArg),
        }
        let large = work > SLICE || frames.commands.len() + closes.len() > SLICE_FRAMES;
        if large && bounds.are_normal() {
            Err(SendFailure::Dirty)
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
            return Err(SendFailure::BadArg);
        }
    } else {
        one(list, frames)?;
    }
    let len = frames.bytes.len();
    // A close needs no room.
    if len > 0 {
        engine.reserve(conn, len).map_err(SendFailure::Send)?;
    }
    let is_closing = !closes.is_empty();
    for (code, reason) in closes {
        frames.commands.push((conn, Command::Close(code, reason)));
    }
    if is_closing && !engine.set_closing(conn) {
        engine.unreserve(conn, len);
        return Err(SendFailure::Send(SendError::Closed));
    }
    Ok(work)
}
