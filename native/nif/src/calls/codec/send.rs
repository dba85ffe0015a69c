//! Frames out of terms.
//!
//! First all terms of a call are looked at, then all are written: what is refused has changed
//! nothing, neither the state of the session nor the window of its compressor.

use std::borrow::Cow;
use std::ops::Range;

use rustler::sys::ErlNifTerm;
use rustler::{Encoder, Env, NifResult, ResourceArc, Term};
use sockeye_engine::SendError;
use sockeye_engine::pieces::{OpenMessage, Piece, StreamError};
use sockeye_protocol::deflate::Codecs;
use sockeye_protocol::frame::{self, Opcode};
use sockeye_protocol::utf8::is_utf8;
use sockeye_protocol::{Kind, Role};
use sockeye_seam::Reader;
use sockeye_seam::frames::{FrameError, FrameTerm, MessageTerm, append_piece, parse};

use super::{Codec, CodecState, Scheduler, with_contexts};
use crate::atoms;
use crate::frames::outbound::{SendFailure, charge, refuse};
use crate::frames::reader::TermReader;
use crate::frames::{NORMAL_JSON, NORMAL_PAYLOAD};
use crate::terms::Builder;

/// Bytes that a call on a normal scheduler compresses.
const NORMAL_COMPRESSED: usize = 16 * 1024;
/// Frames that one such call writes.
const NORMAL_FRAMES: usize = 1024;

/// Where a payload lies: in a term of the call, or in the buffer for JSON.
enum PayloadSource<'a> {
    Term(Cow<'a, [u8]>),
    Json(Range<usize>),
}

/// What is to be written.
enum FrameWrite<'a> {
    /// The last tells whether it is never compressed.
    Message(Kind, PayloadSource<'a>, bool),
    Piece(Kind, Piece, Cow<'a, [u8]>),
    Control(Opcode, Cow<'a, [u8]>),
    Close(u16, Box<str>),
}

/// `{ok, Bytes} | {error, Reason} | dirty`
#[rustler::nif]
fn codec_encode<'a>(
    env: Env<'a>,
    codec: ResourceArc<Codec>,
    frames: Term<'a>,
) -> NifResult<Term<'a>> {
    encode(env, &codec, frames, Scheduler::Normal)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn codec_encode_dirty<'a>(
    env: Env<'a>,
    codec: ResourceArc<Codec>,
    frames: Term<'a>,
) -> NifResult<Term<'a>> {
    encode(env, &codec, frames, Scheduler::Dirty)
}

fn encode<'a>(
    env: Env<'a>,
    codec: &Codec,
    frames: Term<'a>,
    scheduler: Scheduler,
) -> NifResult<Term<'a>> {
    let b = Builder::of(env);
    let Some(mut state) = codec.lock(scheduler) else {
        return Ok(atoms::dirty().encode(env));
    };
    let compress = state.session.deflate().is_some();
    let mut plan = EncodePlan {
        r: TermReader::of(env),
        codec,
        role: state.session.role(),
        normal: scheduler == Scheduler::Normal,
        open: state.session.is_open(),
        stream: state.stream,
        compress,
        writes: Vec::new(),
        json: Vec::new(),
        bytes: 0,
    };
    if let Err(failure) = plan.all(frames.as_c_arg()) {
        return refuse(env, b, failure);
    }
    let mut out = Vec::with_capacity(plan.bytes + 14 * plan.writes.len());
    state.stream = plan.stream;
    if compress {
        with_contexts(|contexts| plan.write(&mut state, Some(contexts), &mut out));
    } else {
        plan.write(&mut state, None, &mut out);
    }
    charge(env, out.len(), plan.writes.len());
    Ok(b.term(env, b.tuple([b.atom(atoms::ok()), b.binary(&out)])))
}

/// What a call writes, and the state as it will be after them.
struct EncodePlan<'a, 'c> {
    r: TermReader<'a>,
    codec: &'c Codec,
    role: Role,
    normal: bool,
    open: bool,
    stream: Option<OpenMessage>,
    compress: bool,
    writes: Vec<FrameWrite<'a>>,
    json: Vec<u8>,
    /// Payload so far.
    bytes: usize,
}

impl<'a> EncodePlan<'a, '_> {
    fn all(&mut self, list: ErlNifTerm) -> Result<(), SendFailure> {
        let b = self.r.b;
        if b.cell(list).is_none() && !b.is_nil(list) {
            return self.frame(list);
        }
        let mut rest = list;
        while let Some((head, tail)) = b.cell(rest) {
            if self.normal && self.writes.len() >= NORMAL_FRAMES {
                return Err(SendFailure::Dirty);
            }
            self.frame(head)?;
            rest = tail;
        }
        if b.is_nil(rest) {
            Ok(())
        } else {
            Err(SendFailure::BadArg)
        }
    }

    fn frame(&mut self, term: ErlNifTerm) -> Result<(), SendFailure> {
        match parse(self.r, term).ok_or(SendFailure::BadArg)? {
            FrameTerm::Message { content, plain } => match content {
                MessageTerm::Json(term) => self.json(term, plain),
                MessageTerm::Bytes(kind, term) => self.message(kind, term, plain),
            },
            FrameTerm::Control(op, bytes) => {
                self.admit()?;
                self.writes.push(FrameWrite::Control(op, bytes));
                Ok(())
            }
            FrameTerm::Piece(kind, step, term) => self.piece(kind, step, term),
            FrameTerm::Close(code, reason) => {
                self.admit()?;
                self.open = false;
                self.stream = None;
                self.writes.push(FrameWrite::Close(code, reason));
                Ok(())
            }
            // There are no credits here.
            FrameTerm::Active(_) => Err(SendFailure::BadArg),
        }
    }

    fn admit(&self) -> Result<(), SendFailure> {
        if self.open {
            Ok(())
        } else {
            Err(SendFailure::Send(SendError::Closed))
        }
    }

    /// Counts a payload against what a normal scheduler does.
    fn count(&mut self, len: usize, most: usize) -> Result<(), SendFailure> {
        self.bytes = self.bytes.saturating_add(len);
        if self.normal && self.bytes > most {
            return Err(SendFailure::Dirty);
        }
        Ok(())
    }

    /// What a message may have on a normal scheduler.
    fn most(&self, plain: bool) -> usize {
        if self.compress && !plain {
            NORMAL_COMPRESSED
        } else {
            NORMAL_PAYLOAD
        }
    }

    fn payload(&self, term: ErlNifTerm) -> Result<Cow<'a, [u8]>, SendFailure> {
        let limit = if self.normal {
            NORMAL_PAYLOAD
        } else {
            usize::MAX
        };
        Ok(self.r.iolist(term, limit).map_err(FrameError::from)?)
    }

    fn message(&mut self, kind: Kind, term: ErlNifTerm, plain: bool) -> Result<(), SendFailure> {
        let bytes = self.payload(term)?;
        self.count(bytes.len(), self.most(plain))?;
        self.whole_message()?;
        if kind == Kind::Text && !is_utf8(&bytes) {
            return Err(SendFailure::NotUtf8);
        }
        let source = PayloadSource::Term(bytes);
        self.writes.push(FrameWrite::Message(kind, source, plain));
        Ok(())
    }

    /// A message may not stand among the fragments of another.
    fn whole_message(&self) -> Result<(), SendFailure> {
        self.admit()?;
        match self.stream {
            None => Ok(()),
            Some(_) => Err(StreamError::Streaming.into()),
        }
    }

    fn json(&mut self, term: ErlNifTerm, plain: bool) -> Result<(), SendFailure> {
        self.whole_message()?;
        let limit = if self.normal {
            NORMAL_JSON.min(self.most(plain))
        } else {
            usize::MAX
        };
        let start = self.json.len();
        let null = self.codec.null;
        let encoded = self.r.json(term, null, limit, &mut self.json);
        encoded.map_err(FrameError::from)?;
        let range = start..self.json.len();
        self.count(range.len(), self.most(plain))?;
        let source = PayloadSource::Json(range);
        self.writes
            .push(FrameWrite::Message(Kind::Text, source, plain));
        Ok(())
    }

    fn piece(&mut self, kind: Kind, step: Piece, term: ErlNifTerm) -> Result<(), SendFailure> {
        let bytes = self.payload(term)?;
        self.count(bytes.len(), NORMAL_PAYLOAD)?;
        self.admit()?;
        self.stream = OpenMessage::advance(self.stream, kind, step, &bytes)?;
        self.writes.push(FrameWrite::Piece(kind, step, bytes));
        Ok(())
    }

    /// Nothing here can fail.
    fn write(&self, state: &mut CodecState, mut contexts: Option<&mut Codecs>, out: &mut Vec<u8>) {
        let session = &mut state.session;
        let mask = || self.role.mask();
        for write in &self.writes {
            match write {
                FrameWrite::Message(kind, source, plain) => {
                    let payload = match source {
                        PayloadSource::Term(bytes) => bytes,
                        PayloadSource::Json(range) => {
                            self.json.get(range.clone()).unwrap_or_default()
                        }
                    };
                    match &mut contexts {
                        Some(contexts) if !plain => {
                            session.encode(*kind, payload, &self.codec.tuning, contexts, out);
                        }
                        _ => frame::write(out, kind.op(), payload, mask()),
                    }
                }
                FrameWrite::Piece(kind, step, bytes) => {
                    append_piece(*kind, *step, bytes, self.role, out);
                }
                FrameWrite::Control(op, bytes) => frame::write(out, *op, bytes, mask()),
                FrameWrite::Close(code, reason) => {
                    session.close(*code, reason, out);
                }
            }
        }
    }
}
