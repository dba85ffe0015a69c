//! Frames out of terms, as bytes for connections of the engine.

pub(crate) mod compress;
pub(crate) mod grammar;
pub(crate) mod outbound;

use rustler::sys::ErlNifTerm;
use sockeye_engine::active::SetActive;
use sockeye_engine::pieces::Piece;
use sockeye_protocol::frame::{self, Opcode};
use sockeye_protocol::utf8::is_utf8;
use sockeye_protocol::{Kind, Role};

use crate::frames::grammar::{FrameTerm, MessageTerm, flatten, iolist_exceeds};
use crate::json::encode::{self, CallId, EncodeError};
use crate::terms::Builder;

/// A payload beyond this size is no work for a normal scheduler.
pub(crate) const NORMAL_PAYLOAD: usize = 256 * 1024;
/// JSON text beyond this size is no work for a normal scheduler: it is made, not copied.
pub(crate) const NORMAL_JSON: usize = 64 * 1024;
/// A payload beyond this size is not compressed on a normal scheduler: level 9 takes 0.3 ms for it.
pub(crate) const NORMAL_DEFLATE: usize = 16 * 1024;

pub(crate) use sockeye_seam::frames::FrameFormat;
pub(crate) use sockeye_seam::settings::CLIENT_TAG;

/// What a frame term asks for, besides bytes.
pub(crate) enum Appended {
    /// A frame has been appended.
    Frame,
    /// A frame that is not to be compressed has been appended.
    Plain,
    Close(u16, Box<str>),
    Active(SetActive),
    /// A piece of a message, whose payload is in this term. Nothing has been appended.
    Stream(Kind, Piece, ErlNifTerm),
}

/// Why a frame term was not taken. Nothing has been appended.
pub(crate) enum FrameError {
    /// Not a frame at all.
    BadArg,
    NotJson(ErlNifTerm),
    NotUtf8,
    /// Too much work for a normal scheduler.
    Dirty,
}

impl From<EncodeError> for FrameError {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::NotJson(part) => FrameError::NotJson(part),
            EncodeError::TooLarge => FrameError::Dirty,
        }
    }
}

/// What bounds the work of one call.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    call: CallId,
    pub(crate) json: usize,
    pub(crate) payload: usize,
    /// Of what is compressed.
    pub(crate) deflate: usize,
}

impl Bounds {
    /// On a normal scheduler.
    pub(crate) fn normal() -> Bounds {
        Bounds {
            call: CallId::new(),
            json: NORMAL_JSON,
            payload: NORMAL_PAYLOAD,
            deflate: NORMAL_DEFLATE,
        }
    }
    /// On a dirty one.
    pub(crate) fn dirty() -> Bounds {
        Bounds {
            call: CallId::new(),
            json: usize::MAX,
            payload: usize::MAX,
            deflate: usize::MAX,
        }
    }

    /// Whether the call is on a normal scheduler.
    pub(crate) fn are_normal(self) -> bool {
        self.json != usize::MAX
    }
}

/// Appends the frame that a term describes, or says what else it asks for.
pub(crate) fn append(
    b: Builder,
    term: ErlNifTerm,
    format: FrameFormat,
    bounds: Bounds,
    out: &mut Vec<u8>,
) -> Result<Appended, FrameError> {
    match grammar::parse(b, term).ok_or(FrameError::BadArg)? {
        FrameTerm::Message { content, plain } => {
            match content {
                MessageTerm::Json(term) => json(b, term, format, bounds, out)?,
                MessageTerm::Bytes(kind, term) => {
                    let bytes = bytes(b, term, bounds.payload)?;
                    if kind == Kind::Text && !is_utf8(bytes) {
                        return Err(FrameError::NotUtf8);
                    }
                    frame::write(out, kind.op(), bytes, format.role.mask());
                }
            }
            Ok(if plain {
                Appended::Plain
            } else {
                Appended::Frame
            })
        }
        FrameTerm::Control(op, bytes) => {
            frame::write(out, op, bytes, format.role.mask());
            Ok(Appended::Frame)
        }
        FrameTerm::Piece(kind, step, term) => Ok(Appended::Stream(kind, step, term)),
        FrameTerm::Close(code, reason) => Ok(Appended::Close(code, reason)),
        FrameTerm::Active(change) => Ok(Appended::Active(change)),
    }
}

fn json(
    b: Builder,
    term: ErlNifTerm,
    format: FrameFormat,
    bounds: Bounds,
    out: &mut Vec<u8>,
) -> Result<(), FrameError> {
    let mask = format.role.mask();
    let mark = frame::begin_sized(out, 0, mask.is_some());
    match encode::encode(b.env, bounds.call, term, format.null, bounds.json, out) {
        Ok(()) => {
            frame::seal(out, mark, Opcode::Text, mask);
            Ok(())
        }
        Err(e) => {
            out.truncate(mark.start());
            Err(e.into())
        }
    }
}

/// Appends a piece of a message.
pub(crate) fn append_piece(kind: Kind, step: Piece, bytes: &[u8], role: Role, out: &mut Vec<u8>) {
    let op = match step {
        Piece::First => kind.op(),
        Piece::More | Piece::Last => Opcode::Continuation,
    };
    let last = step == Piece::Last;
    frame::write_fragment(out, op, last, bytes, role.mask());
}

/// The bytes of an io list, not more than the limit. They live as long as the environment.
pub(crate) fn bytes<'e>(
    b: Builder<'e>,
    term: ErlNifTerm,
    limit: usize,
) -> Result<&'e [u8], FrameError> {
    let bytes = match b.bytes(term) {
        Some(bytes) => bytes,
        // Flattening takes time that the limit must bound before it starts.
        None if limit != usize::MAX && iolist_exceeds(b, term, limit) => {
            return Err(FrameError::Dirty);
        }
        None => flatten(b, term).ok_or(FrameError::BadArg)?,
    };
    if bytes.len() > limit {
        return Err(FrameError::Dirty);
    }
    Ok(bytes)
}
