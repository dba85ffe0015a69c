//! What frames on their way to connections have in common: how they are written, and why they are
//! not taken.

use std::ops::Range;

use rustler::sys::ErlNifTerm;
use rustler::{Encoder, Env, Error, NifResult, Term};
use sockeye_engine::pieces::StreamError;
use sockeye_engine::{ConnId, Engine, SendError};
use sockeye_protocol::{Role, frame};

use crate::atoms;
use crate::frames::compress::CallerCompressor;
use crate::frames::{self, Appended, Bounds, FrameError, FrameFormat};
use crate::terms::Builder;

/// Bytes that one call on a normal scheduler encodes before it lets others run.
pub(crate) const SLICE: usize = 256 * 1024;
/// Frames that one such call on a normal scheduler takes.
pub(crate) const SLICE_FRAMES: usize = 1024;

/// A connection that frames go to.
pub(crate) struct Receiver {
    pub(crate) conn: ConnId,
    /// How its frames are written.
    pub(crate) format: FrameFormat,
    /// How it is compressed for, if that is for us to do.
    compressor: Option<CallerCompressor>,
}

impl Receiver {
    pub(crate) fn of(engine: &Engine, conn: ConnId) -> Result<Self, SendFailure> {
        let home = engine
            .home_of(conn)
            .ok_or(SendFailure::Send(SendError::Closed))?;
        Ok(Receiver {
            conn,
            format: FrameFormat::of(home.tag),
            compressor: CallerCompressor::of(engine, home),
        })
    }

    /// Appends a frame, or says what else the term asks for. Gives what the work is worth in bytes, too.
    pub(crate) fn append(
        &self,
        b: Builder,
        frame: ErlNifTerm,
        bounds: Bounds,
        out: &mut Vec<u8>,
    ) -> Result<(Appended, usize), SendFailure> {
        let start = out.len();
        let Some(compressor) = &self.compressor else {
            let asked = frames::append(b, frame, self.format, bounds, out)?;
            return Ok((asked, out.len() - start));
        };
        let unmasked = FrameFormat {
            role: Role::Server,
            ..self.format
        };
        let asked = frames::append(b, frame, unmasked, bounds, out)?;
        let worth = match asked {
            Appended::Frame => compressor.last_frame(out, start, bounds)?,
            _ => 0,
        };
        if let (Appended::Frame | Appended::Plain, Some(key)) = (&asked, self.format.role.mask()) {
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
/// Why a frame was not handed over.
pub(crate) enum SendFailure {
    BadArg,
    Dirty,
    Send(SendError),
    NotJson(ErlNifTerm),
    NotUtf8,
    Stream(StreamError),
}

impl From<StreamError> for SendFailure {
    fn from(error: StreamError) -> Self {
        SendFailure::Stream(error)
    }
}

impl From<FrameError> for SendFailure {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::BadArg => SendFailure::BadArg,
            FrameError::Dirty => SendFailure::Dirty,
            FrameError::NotJson(term) => SendFailure::NotJson(term),
            FrameError::NotUtf8 => SendFailure::NotUtf8,
        }
    }
}

/// The reason in an error tuple.
pub(crate) fn reason(b: Builder, failure: SendFailure) -> Option<ErlNifTerm> {
    Some(match failure {
        SendFailure::BadArg | SendFailure::Dirty => return None,
        SendFailure::Send(SendError::Closed) => b.atom(atoms::closed()),
        SendFailure::Send(SendError::Busy) => b.atom(atoms::busy()),
        SendFailure::NotJson(term) => b.tuple([b.atom(atoms::not_json()), term]),
        SendFailure::NotUtf8 | SendFailure::Stream(StreamError::NotUtf8) => {
            b.atom(atoms::not_utf8())
        }
        SendFailure::Stream(StreamError::Streaming) => b.atom(atoms::streaming()),
        SendFailure::Stream(StreamError::NotStreaming) => b.atom(atoms::not_streaming()),
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
pub(crate) fn refuse<'a>(env: Env<'a>, b: Builder, failure: SendFailure) -> NifResult<Term<'a>> {
    match failure {
        SendFailure::BadArg => Err(Error::BadArg),
        SendFailure::Dirty => Ok(atoms::dirty().encode(env)),
        failure => {
            let reason = reason(b, failure).ok_or(Error::BadArg)?;
            Ok(b.term(env, b.tuple([b.atom(atoms::error()), reason])))
        }
    }
}
