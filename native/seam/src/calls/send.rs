//! Frames for one connection: all of them, or none.

use sockeye_engine::op::Command;
use sockeye_engine::pieces::Piece;
use sockeye_engine::{ConnId, Engine, Frames, SendError};

use crate::calls::commands::Gathered;
use crate::frames::{
    self, Appended, Bounds, Receiver, SLICE, SLICE_FRAMES, SendFailure, parse, put, range,
};
use crate::read::Reader;

/// Encodes first and asks for room afterwards: either all frames go or none. Gives what the work is worth in bytes.
///
/// # Errors
/// Nothing has been sent.
pub fn send<'a, R: Reader<'a>>(
    r: R,
    engine: &Engine,
    conn: ConnId,
    list: R::Term,
    bounds: Bounds,
) -> Result<usize, SendFailure<R::Term>> {
    let mut frames = Frames::default();
    let prepared = prepare(r, engine, conn, list, bounds, &mut frames);
    let work = prepared.inspect_err(|_| forget_pieces(engine, &frames))?;
    engine.send(conn.shard(), frames);
    Ok(work)
}

/// Gathers one message that was taken before: it goes, however much waits.
///
/// # Errors
/// Nothing has been gathered: the connection takes none any more, or it is no message.
pub fn gather_taken<'a, R: Reader<'a>>(
    r: R,
    engine: &Engine,
    conn: ConnId,
    message: R::Term,
    gathered: &mut Gathered,
) -> Result<(), SendFailure<R::Term>> {
    let frames = gathered
        .of(engine, conn.shard())
        .filter(|_| engine.is_open(conn))
        .ok_or(SendFailure::Send(SendError::Closed))?;
    let start = frames.bytes.len();
    let receiver = Receiver::of(engine, conn)?;
    let message = parse(r, message).ok_or(SendFailure::BadArg)?;
    let (asked, _) = receiver.append(r, message, Bounds::NONE, &mut frames.bytes)?;
    let (range, len) = range(start, frames.bytes.len()).ok_or(SendFailure::BadArg)?;
    let (Appended::Frame | Appended::Plain) = asked else {
        return Err(SendFailure::BadArg);
    };
    put(frames, conn, range, matches!(asked, Appended::Plain));
    engine.charge(conn, len);
    Ok(())
}

/// Takes back what was noted of messages in pieces, the last piece first.
fn forget_pieces(engine: &Engine, frames: &Frames) {
    for (conn, part) in frames.commands.iter().rev() {
        if let Command::Stream(_, _, undo) = part {
            engine.unstream(*conn, *undo);
        }
    }
}

/// Encodes frames and reserves their bytes.
fn prepare<'a, R: Reader<'a>>(
    r: R,
    engine: &Engine,
    conn: ConnId,
    list: R::Term,
    bounds: Bounds,
    frames: &mut Frames,
) -> Result<usize, SendFailure<R::Term>> {
    let receiver = Receiver::of(engine, conn)?;
    let mut work = 0;
    let mut closes = Vec::new();
    let mut one = |frame: R::Term, frames: &mut Frames| {
        let start = frames.bytes.len();
        let frame = parse(r, frame).ok_or(SendFailure::BadArg)?;
        let (asked, worth) = receiver.append(r, frame, bounds, &mut frames.bytes)?;
        work += worth;
        match asked {
            Appended::Frame | Appended::Plain => {
                let (range, _) = range(start, frames.bytes.len()).ok_or(SendFailure::BadArg)?;
                put(frames, conn, range, matches!(asked, Appended::Plain));
            }
            Appended::Stream(kind, step, value) => {
                let bytes = frames::payload(r, value, bounds)?;
                let role = receiver.format.role;
                frames::append_piece(kind, step, &bytes, role, &mut frames.bytes);
                work += bytes.len();
                let (range, _) = range(start, frames.bytes.len()).ok_or(SendFailure::BadArg)?;
                let undo = engine.stream(conn, r.caller(), kind, step, &bytes)?;
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
    if r.cell(rest).is_some() || r.is_nil(rest) {
        while let Some((head, tail)) = r.cell(rest) {
            one(head, frames)?;
            rest = tail;
        }
        if !r.is_nil(rest) {
            return Err(SendFailure::BadArg);
        }
    } else {
        one(list, frames)?;
    }
    let len = frames.bytes.len();
    // A close needs no room.
    if len > 0 {
        let mut first = None;
        let mut pieces = 0;
        for (_, part) in &frames.commands {
            if let Command::Stream(range, step, _) = part {
                first.get_or_insert(*step);
                pieces += range.len();
            }
        }
        let step = first.unwrap_or(Piece::First);
        let reserved = engine.reserve_pieces(conn, step, pieces, len - pieces);
        reserved.map_err(SendFailure::Send)?;
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
