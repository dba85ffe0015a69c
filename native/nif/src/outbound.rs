//! What frames on their way to connections have in common: how they are written, and why they are
//! not taken.

use std::ops::Range;

use rustler::sys::ErlNifTerm;
use rustler::{Encoder, Env, Error, NifResult, Term};
use sockeye_engine::streams::StreamError;
use sockeye_engine::{ConnId, Engine, SendError};
use sockeye_json::Null;
use sockeye_protocol::{Role, frame};

use crate::atoms;
use crate::frames::{self, Asked, Bounds, Refused};
use crate::squeeze::Squeeze;
use crate::terms::Builder;

/// Bytes that one call on a normal scheduler encodes before it lets others run.
pub(crate) const SLICE: usize = 256 * 1024;
/// Frames that one such call on a normal scheduler takes.
pub(crate) const SLICE_FRAMES: usize = 1024;

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
/// A connection that frames go to.
pub(crate) struct Receiver {
    pub(crate) conn: ConnId,
    /// How its frames are written.
    pub(crate) dialect: Dialect,
    /// How it is compressed for, if that is for us to do.
    squeeze: Option<Squeeze>,
}

impl Receiver {
    pub(crate) fn of(engine: &Engine, conn: ConnId) -> Result<Self, Failure> {
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
    pub(crate) fn append(
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
/// The place of a frame, and its length. The engine counts in 32 bits: a frame beyond is none.
pub(crate) fn range(start: usize, end: usize) -> Option<(Range<u32>, usize)> {
    let range = u32::try_from(start).ok()?..u32::try_from(end).ok()?;
    Some((range, end - start))
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

/// From so many bytes on, a call gives up the rest of its time slice. They take 25 to 50 us, as do
/// the 4,000 reductions of compiled Erlang: who took a slice to be a millisecond would get ten times
/// the share of its neighbours.
const TURN: usize = 8 * 1024;

/// Counts work as reductions, so that the scheduler knows how long it took.
pub(crate) fn charge(env: Env<'_>, bytes: usize, items: usize) {
    // Small calls count for less: each that gave way would wake the shard for less.
    let percent = if bytes < TURN {
        bytes / 2048 + items / 8
    } else {
        100
    };
    if percent > 0 {
        rustler::schedule::consume_timeslice(env, percent.min(100) as i32);
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
