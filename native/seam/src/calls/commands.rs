//! The commands of a handler's batch, on their way to the shards.
//!
//! What one call brings is encoded into one buffer a shard and handed over at once.

use std::cell::Cell;

use sockeye_engine::op::Command;
use sockeye_engine::{CallKind, ConnId, Engine, Frames, SendError, ShardSet};

use crate::frames::{
    self, AppendResult, Appended, Bounds, NORMAL_JSON, Receiver, SLICE, SLICE_FRAMES, SendFailure,
    parse, put, range,
};
use crate::read::Reader;
use crate::value::{BadArg, Read};

/// Bytes that a call where there is time encodes before it hands them over.
const LONG_SLICE: usize = 16 << 20;

thread_local! {
    /// How much the last call needed: the next buffer starts at that size.
    static EXPECTED: Cell<usize> = const { Cell::new(512) };
}

/// The connection of a command, or the last of three elements, behind the caller's notes.
fn named<'a, R: Reader<'a>>(r: R, term: R::Term) -> Option<ConnId> {
    match *r.parts(term)?.as_ref() {
        [_, _, conn] => r.conn(conn),
        _ => r.conn(term),
    }
}

/// Frames on their way, by shard: those of several lists, if more come before these are handed over.
#[derive(Default)]
pub struct Gathered {
    shards: Vec<Frames>,
    /// Those that were given something.
    given: ShardSet,
}

impl Gathered {
    /// What goes to this shard of so many.
    pub(super) fn of(&mut self, engine: &Engine, shard: usize) -> Option<&mut Frames> {
        if self.shards.is_empty() {
            self.shards.resize_with(engine.shards(), Frames::default);
        }
        self.shards.get_mut(shard)
    }

    /// Hands everything over. Gives the shards that those who gave it are to wait for.
    pub fn hand_over(&mut self, engine: &Engine) -> ShardSet {
        self.flush(engine);
        engine.backlogged(std::mem::take(&mut self.given), CallKind::Single)
    }

    /// Hands over what is too much to wait for more.
    pub(super) fn hand_over_long(&mut self, engine: &Engine) {
        let bytes: usize = self.shards.iter().map(|frames| frames.bytes.len()).sum();
        if bytes > LONG_SLICE {
            self.flush(engine);
        }
    }

    fn flush(&mut self, engine: &Engine) {
        for (shard, frames) in self.shards.iter_mut().enumerate() {
            if frames.commands.is_empty() {
                continue;
            }
            let frames = std::mem::take(frames);
            EXPECTED.set(frames.bytes.len().clamp(64, SLICE));
            engine.send(shard, frames);
            self.given.insert(shard);
        }
    }
}

/// A list of commands that is being read.
pub(super) struct CommandBatch<'e, T> {
    engine: &'e Engine,
    gathered: &'e mut Gathered,
    /// Bytes that were worked on, whether they were taken or not.
    bytes: usize,
    /// The last connection, and its term if one named it: frames of one connection mostly come together.
    last: Option<(Option<T>, Receiver)>,
}

impl<'e, T: Copy> CommandBatch<'e, T> {
    pub(super) fn new(engine: &'e Engine, gathered: &'e mut Gathered) -> Self {
        CommandBatch {
            engine,
            gathered,
            bytes: 0,
            last: None,
        }
    }

    /// The receiver that a term names, if it is not the last one.
    fn look_up<'a, R: Reader<'a, Term = T>>(
        &mut self,
        r: R,
        term: T,
    ) -> Result<(), SendFailure<T>> {
        if !matches!(self.last, Some((Some(last), _)) if r.is_same(last, term)) {
            let conn = named(r, term).ok_or(SendFailure::BadArg)?;
            self.find(conn)?;
            if let Some((last, _)) = &mut self.last {
                *last = Some(term);
            }
        }
        Ok(())
    }

    /// The receiver of this connection, if it is not the last one.
    pub(super) fn find(&mut self, conn: ConnId) -> Result<(), SendFailure<T>> {
        if !matches!(&self.last, Some((_, receiver)) if receiver.conn == conn) {
            self.last = Some((None, Receiver::of(self.engine, conn)?));
        }
        Ok(())
    }

    /// Adds one frame. On failure nothing is added.
    pub(super) fn add<'a, R: Reader<'a, Term = T>>(
        &mut self,
        r: R,
        conn: T,
        frame: T,
        bounds: Bounds,
    ) -> Result<(), SendFailure<T>> {
        self.look_up(r, conn)?;
        let Some(frame) = parse(r, frame) else {
            self.bytes += NORMAL_JSON;
            return Err(SendFailure::BadArg);
        };
        self.put(r, bounds, |receiver, out| {
            receiver.append(r, frame, bounds, out)
        })
    }

    /// Adds the frame that `append` appends, for the receiver that has been looked up last.
    pub(super) fn put<'a, R: Reader<'a, Term = T>>(
        &mut self,
        r: R,
        bounds: Bounds,
        append: impl FnOnce(&Receiver, &mut Vec<u8>) -> AppendResult<T>,
    ) -> Result<(), SendFailure<T>> {
        let engine = self.engine;
        let closed = SendFailure::Send(SendError::Closed);
        let Some((_, receiver)) = &self.last else {
            return Err(closed);
        };
        let conn = receiver.conn;
        let Some(out) = self.gathered.of(engine, conn.shard()) else {
            return Err(closed);
        };
        if out.bytes.capacity() == 0 {
            out.bytes.reserve(EXPECTED.get());
        }
        let start = out.bytes.len();
        let (asked, worth) = match append(receiver, &mut out.bytes) {
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
                put(out, conn, range, matches!(asked, Appended::Plain));
            }
            Appended::Close(code, reason) => {
                if !engine.set_closing(conn) {
                    return Err(SendFailure::Send(SendError::Closed));
                }
                out.commands.push((conn, Command::Close(code, reason)));
            }
            Appended::Active(change) => out.commands.push((conn, Command::Active(change))),
            Appended::Stream(kind, step, value) => {
                let bytes = frames::payload(r, value, bounds)?;
                self.bytes += bytes.len();
                let undo = engine.stream(conn, r.caller(), kind, step, &bytes)?;
                frames::append_piece(kind, step, &bytes, receiver.format.role, &mut out.bytes);
                let reserved = match range(start, out.bytes.len()) {
                    Some((range, len)) => match engine.reserve_piece(conn, step, len) {
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

    /// Hands over what is too much to wait with.
    pub(super) fn flush_long(&mut self) {
        if self.bytes > LONG_SLICE {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.gathered.flush(self.engine);
        self.bytes = 0;
    }
}

/// Why a call did not come to the end of its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It has done enough for now.
    More,
    /// The next frame is too large for a normal scheduler.
    Dirty,
}

/// A command that was not taken: the terms that it came in.
pub struct Failed<T> {
    /// The connection, with the caller's notes around it.
    pub conn: T,
    /// What was to be done.
    pub frame: T,
    /// Why not.
    pub failure: SendFailure<T>,
}

/// What came of a list of commands.
pub struct CommandsOutcome<T> {
    /// Set if not all was done.
    pub stop: Option<Stop>,
    /// What was not.
    pub rest: T,
    /// What was not taken.
    pub errors: Vec<Failed<T>>,
    /// What the work is worth in bytes.
    pub bytes: usize,
    /// Commands that were looked at.
    pub count: usize,
    /// The shards that the caller is to wait for.
    pub crowded: ShardSet,
}

/// Carries out `[Conn, Frame, Conn, Frame, ...]`.
///
/// # Errors
/// The list is not of even length, or improper; what stands before that has been done.
pub fn commands<'a, R: Reader<'a>>(
    r: R,
    engine: &Engine,
    list: R::Term,
    bounds: Bounds,
) -> Read<CommandsOutcome<R::Term>> {
    let mut gathered = Gathered::default();
    let mut out = CommandBatch::new(engine, &mut gathered);
    let mut outcome = CommandsOutcome {
        stop: None,
        rest: list,
        errors: Vec::new(),
        bytes: 0,
        count: 0,
        crowded: ShardSet::default(),
    };
    while let Some((conn, tail)) = r.cell(outcome.rest) {
        if (out.bytes > SLICE || outcome.count >= SLICE_FRAMES) && bounds.are_normal() {
            outcome.stop = Some(Stop::More);
            break;
        }
        if out.bytes > LONG_SLICE {
            outcome.bytes += out.bytes;
            out.flush();
        }
        let Some((frame, next)) = r.cell(tail) else {
            out.flush();
            return Err(BadArg);
        };
        match out.add(r, conn, frame, bounds) {
            Ok(()) => {}
            Err(SendFailure::Dirty) => {
                outcome.stop = Some(Stop::Dirty);
                break;
            }
            Err(failure) => outcome.errors.push(Failed {
                conn,
                frame,
                failure,
            }),
        }
        outcome.rest = next;
        outcome.count += 1;
    }
    outcome.bytes += out.bytes;
    outcome.crowded = gathered.hand_over(engine);
    Ok(outcome)
}
