//! What frames on their way to connections have in common: how they are written, and why they are
//! not taken.

use std::ops::Range;

use sockeye_engine::pieces::StreamError;
use sockeye_engine::{ConnId, Engine, Frames, SendError};
use sockeye_protocol::{Role, frame};

use crate::atoms::Atom;
use crate::frames::compress::CallerCompressor;
use crate::frames::{self, Appended, Bounds, FrameError, FrameFormat, FrameTerm};
use crate::read::{EncodeError, Reader};
use crate::write::Writer;

/// Bytes that one call on a normal scheduler encodes before it lets others run.
pub const SLICE: usize = 256 * 1024;
/// Frames that one such call on a normal scheduler takes.
pub const SLICE_FRAMES: usize = 1024;

/// A connection that frames go to.
pub struct Receiver {
    /// Which it is.
    pub conn: ConnId,
    /// How its frames are written.
    pub format: FrameFormat,
    /// How it is compressed for, if that is for us to do.
    compressor: Option<CallerCompressor>,
}

/// What a term asked for, and what the work is worth in bytes.
pub type AppendResult<T> = Result<(Appended<T>, usize), SendFailure<T>>;

impl Receiver {
    /// The connection, as long as the engine knows it.
    ///
    /// # Errors
    /// It does not.
    pub fn of<T>(engine: &Engine, conn: ConnId) -> Result<Self, SendFailure<T>> {
        let label = engine
            .label_of(conn)
            .ok_or(SendFailure::Send(SendError::Closed))?;
        Ok(Receiver {
            conn,
            format: FrameFormat::of(label.tag),
            compressor: CallerCompressor::of(engine, label),
        })
    }

    /// Appends a frame, or says what else the term asks for. Gives what the work is worth in bytes, too.
    ///
    /// # Errors
    /// The term is no frame. Nothing has been appended.
    pub fn append<'a, R: Reader<'a>>(
        &self,
        r: R,
        frame: FrameTerm<'a, R::Term>,
        bounds: Bounds,
        out: &mut Vec<u8>,
    ) -> AppendResult<R::Term> {
        self.append_by(bounds, out, |format, out| {
            frames::append(r, frame, format, bounds, out)
        })
    }

    /// The same of what `append` appends, in this format.
    ///
    /// # Errors
    /// Those of `append`.
    pub(crate) fn append_by<T>(
        &self,
        bounds: Bounds,
        out: &mut Vec<u8>,
        append: impl FnOnce(FrameFormat, &mut Vec<u8>) -> Result<Appended<T>, FrameError<T>>,
    ) -> AppendResult<T> {
        let start = out.len();
        let Some(compressor) = &self.compressor else {
            let asked = append(self.format, out)?;
            return Ok((asked, out.len() - start));
        };
        let unmasked = FrameFormat {
            role: Role::Server,
            ..self.format
        };
        let asked = append(unmasked, out)?;
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
pub fn range(start: usize, end: usize) -> Option<(Range<u32>, usize)> {
    let range = u32::try_from(start).ok()?..u32::try_from(end).ok()?;
    Some((range, end - start))
}

/// Puts a frame, whose bytes are there, among those of its shard.
pub(crate) fn put(frames: &mut Frames, conn: ConnId, range: Range<u32>, is_plain: bool) {
    if is_plain {
        frames.write_plain(conn, range);
    } else {
        frames.write(conn, range);
    }
}

/// Why a frame was not handed over.
pub enum SendFailure<T> {
    /// It is no frame, or not for this connection.
    BadArg,
    /// Too much work for a normal scheduler.
    Dirty,
    /// The connection does not take it.
    Send(SendError),
    /// It is no JSON: never [`EncodeError::TooLarge`].
    NotJson(EncodeError<T>),
    /// It is a text that is not UTF-8.
    NotUtf8,
    /// It is a piece of a message that may not come now.
    Stream(StreamError),
}

impl<T> From<StreamError> for SendFailure<T> {
    fn from(error: StreamError) -> Self {
        SendFailure::Stream(error)
    }
}

impl<T> From<FrameError<T>> for SendFailure<T> {
    fn from(error: FrameError<T>) -> Self {
        match error {
            FrameError::BadArg => SendFailure::BadArg,
            FrameError::Dirty => SendFailure::Dirty,
            FrameError::NotJson(part) => SendFailure::NotJson(part),
            FrameError::NotUtf8 => SendFailure::NotUtf8,
        }
    }
}

impl<T: Copy> SendFailure<T> {
    /// The reason in an error tuple; `badarg` for what is an exception of the caller. `part` writes a part of the caller's term.
    pub fn reason<W: Writer>(&self, w: &mut W, part: impl FnOnce(&mut W, T) -> W::Term) -> W::Term {
        let atom = match self {
            SendFailure::BadArg | SendFailure::Dirty => Atom::badarg,
            SendFailure::Send(SendError::Closed) | SendFailure::Stream(StreamError::Closed) => {
                Atom::closed
            }
            SendFailure::Send(SendError::Busy) => Atom::busy,
            SendFailure::NotUtf8 | SendFailure::Stream(StreamError::NotUtf8) => Atom::not_utf8,
            SendFailure::Stream(StreamError::Streaming) => Atom::streaming,
            SendFailure::Stream(StreamError::NotStreaming) => Atom::not_streaming,
            SendFailure::NotJson(why) => {
                w.tuple(2);
                let tag = w.atom(Atom::not_json);
                let why = not_json(w, why, part);
                return w.end_tuple(&[tag, why]);
            }
        };
        w.atom(atom)
    }
}

/// What a term has that is no JSON.
pub fn not_json<W: Writer, T: Copy>(
    w: &mut W,
    why: &EncodeError<T>,
    part: impl FnOnce(&mut W, T) -> W::Term,
) -> W::Term {
    let (tag, term) = match why {
        EncodeError::NotJson(term) => return part(w, *term),
        EncodeError::TooLarge => return w.atom(Atom::too_large),
        EncodeError::DuplicateKey(term) => (Atom::duplicate_key, *term),
        EncodeError::Struct(term) => (Atom::struct_, *term),
    };
    w.tuple(2);
    let parts = [w.atom(tag), part(w, term)];
    w.end_tuple(&parts)
}
