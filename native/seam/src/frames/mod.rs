//! Frames out of terms, as bytes for connections of the engine.

mod compress;
mod grammar;
mod outbound;

use std::borrow::Cow;

use sockeye_engine::active::SetActive;
use sockeye_engine::pieces::Piece;
use sockeye_json::Null;
use sockeye_protocol::frame::{self, Opcode};
use sockeye_protocol::utf8::is_utf8;
use sockeye_protocol::{Kind, Role};

use crate::read::{EncodeError, IoError, Reader};
use crate::settings::CLIENT_TAG;

pub use compress::broadcast;
pub use grammar::{FrameTerm, MessageTerm, parse, set_active};
pub(crate) use outbound::put;
pub use outbound::{AppendResult, Receiver, SLICE, SLICE_FRAMES, SendFailure, not_json, range};

/// A payload beyond this size is no work for a normal scheduler.
pub const NORMAL_PAYLOAD: usize = 256 * 1024;
/// JSON text beyond this size is no work for a normal scheduler: it is made, not copied.
pub const NORMAL_JSON: usize = 64 * 1024;
/// A payload beyond this size is not compressed on a normal scheduler: level 9 takes 0.3 ms for it.
pub const NORMAL_DEFLATE: usize = 16 * 1024;

/// What the tag of a server says of null.
pub fn tag_of(null: Null) -> u8 {
    match null {
        Null::Null => 0,
        Null::Undefined => 1,
        Null::Nil => 2,
    }
}

/// How frames for the connections of a server are written.
#[derive(Clone, Copy, Debug)]
pub struct FrameFormat {
    /// The atom that is JSON's null.
    pub null: Null,
    /// A client masks.
    pub role: Role,
}

impl FrameFormat {
    /// What the tag says.
    pub fn of(tag: u8) -> Self {
        let client = tag & CLIENT_TAG != 0;
        FrameFormat {
            null: match tag & !CLIENT_TAG {
                1 => Null::Undefined,
                2 => Null::Nil,
                _ => Null::Null,
            },
            role: if client { Role::Client } else { Role::Server },
        }
    }
}

/// What a frame term asks for, besides bytes.
pub enum Appended<T> {
    /// A frame has been appended.
    Frame,
    /// A frame that is not to be compressed has been appended.
    Plain,
    /// To close, with this code and reason.
    Close(u16, Box<str>),
    /// To change the credits.
    Active(SetActive),
    /// A piece of a message, whose payload is in this term. Nothing has been appended.
    Stream(Kind, Piece, T),
}

/// Why a frame term was not taken. Nothing has been appended.
pub enum FrameError<T> {
    /// Not a frame at all.
    BadArg,
    /// A text that is not UTF-8.
    NotUtf8,
    /// Too much work for a normal scheduler.
    Dirty,
    /// No JSON, for this reason: never [`EncodeError::TooLarge`].
    NotJson(EncodeError<T>),
}

impl<T> From<EncodeError<T>> for FrameError<T> {
    fn from(error: EncodeError<T>) -> Self {
        match error {
            EncodeError::TooLarge => FrameError::Dirty,
            error => FrameError::NotJson(error),
        }
    }
}

impl<T> From<IoError> for FrameError<T> {
    fn from(error: IoError) -> Self {
        match error {
            IoError::BadArg => FrameError::BadArg,
            IoError::TooLarge => FrameError::Dirty,
        }
    }
}

/// What bounds the work of one call.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Of JSON text.
    pub json: usize,
    /// Of other payloads.
    pub payload: usize,
    /// Of what is compressed.
    pub deflate: usize,
}

impl Bounds {
    /// On a normal scheduler of the VM.
    pub const NORMAL: Bounds = Bounds {
        json: NORMAL_JSON,
        payload: NORMAL_PAYLOAD,
        deflate: NORMAL_DEFLATE,
    };
    /// Where there is time.
    pub const NONE: Bounds = Bounds {
        json: usize::MAX,
        payload: usize::MAX,
        deflate: usize::MAX,
    };

    /// Whether the call is on a normal scheduler.
    pub fn are_normal(self) -> bool {
        self.json != usize::MAX
    }
}

/// Appends a frame, or says what else its term asks for.
///
/// # Errors
/// See [`FrameError`].
pub fn append<'a, R: Reader<'a>>(
    r: R,
    frame: FrameTerm<'a, R::Term>,
    format: FrameFormat,
    bounds: Bounds,
    out: &mut Vec<u8>,
) -> Result<Appended<R::Term>, FrameError<R::Term>> {
    match frame {
        FrameTerm::Message { content, plain } => {
            match content {
                MessageTerm::Json(term) => json(format, out, |null, out| {
                    r.json(term, null, bounds.json, out)
                })?,
                MessageTerm::Bytes(kind, term) => {
                    let bytes = payload(r, term, bounds)?;
                    if kind == Kind::Text && !is_utf8(&bytes) {
                        return Err(FrameError::NotUtf8);
                    }
                    frame::write(out, kind.op(), &bytes, format.role.mask());
                }
            }
            Ok(if plain {
                Appended::Plain
            } else {
                Appended::Frame
            })
        }
        FrameTerm::Control(op, bytes) => {
            frame::write(out, op, &bytes, format.role.mask());
            Ok(Appended::Frame)
        }
        FrameTerm::Piece(kind, step, term) => Ok(Appended::Stream(kind, step, term)),
        FrameTerm::Close(code, reason) => Ok(Appended::Close(code, reason)),
        FrameTerm::Active(change) => Ok(Appended::Active(change)),
    }
}

/// Appends a text frame with what `encode` writes.
pub(crate) fn json<V, T>(
    format: FrameFormat,
    out: &mut Vec<u8>,
    encode: impl FnOnce(Null, &mut Vec<u8>) -> Result<V, EncodeError<T>>,
) -> Result<V, FrameError<T>> {
    let mask = format.role.mask();
    let mark = frame::begin_sized(out, 0, mask.is_some());
    match encode(format.null, out) {
        Ok(value) => {
            frame::seal(out, mark, Opcode::Text, mask);
            Ok(value)
        }
        Err(e) => {
            out.truncate(mark.start());
            Err(e.into())
        }
    }
}

/// The bytes of an io list, not more than may be.
///
/// # Errors
/// It is none, or too large.
pub fn payload<'a, R: Reader<'a>>(
    r: R,
    term: R::Term,
    bounds: Bounds,
) -> Result<Cow<'a, [u8]>, FrameError<R::Term>> {
    Ok(r.iolist(term, bounds.payload)?)
}

/// Appends a piece of a message.
pub fn append_piece(kind: Kind, step: Piece, bytes: &[u8], role: Role, out: &mut Vec<u8>) {
    let op = match step {
        Piece::First => kind.op(),
        Piece::More | Piece::Last => Opcode::Continuation,
    };
    let last = step == Piece::Last;
    frame::write_fragment(out, op, last, bytes, role.mask());
}
