//! Frames out of terms.
//!
//! First all terms of a call are looked at, then all are written: what is refused has changed
//! nothing, neither the state of the session nor the window of its compressor.

use std::ops::Range;

use rustler::sys::ErlNifTerm;
use rustler::{Encoder, Env, Error, NifResult, ResourceArc, Term};
use sockeye_protocol::deflate::Codecs;
use sockeye_protocol::frame::{self, Op};
use sockeye_protocol::utf8::Utf8;
use sockeye_protocol::{Kind, Role};

use super::{Codec, Scheduler, State, Stream, with_contexts};
use crate::atoms;
use crate::encode::{self, Call, EncodeError};
use crate::frames::{Asked, NORMAL_JSON, NORMAL_PAYLOAD, closing, flatten, iolist_exceeds};
use crate::outbound::charge;
use crate::terms::Builder;

/// Bytes that a call on a normal scheduler compresses.
const NORMAL_COMPRESSED: usize = 16 * 1024;
/// Frames that one such call writes.
const NORMAL_FRAMES: usize = 1024;
/// The payload of a control frame.
const CONTROL: usize = 125;

enum Failure {
    BadArg,
    Closed,
    NotJson(ErlNifTerm),
    NotUtf8,
    Streaming,
    NotStreaming,
    Dirty,
}

/// Where a payload lies: in a term of the call, or in the buffer for JSON.
enum Source<'a> {
    Term(&'a [u8]),
    Json(Range<usize>),
}

/// Whether a message may be compressed, where that was agreed on.
#[derive(Clone, Copy, PartialEq)]
enum Compress {
    Yes,
    No,
}

/// What is to be written.
enum Step<'a> {
    Message(Kind, Source<'a>, Compress),
    Fragment(Op, bool, &'a [u8]),
    Control(Op, &'a [u8]),
    Close(u16, Box<str>),
}

/// `{ok, Bytes} | {error, Reason} | dirty`
#[rustler::nif]
fn codec_encode<'a>(
    env: Env<'a>,
    codec: ResourceArc<Codec>,
    frames: Term<'a>,
    compress: bool,
) -> NifResult<Term<'a>> {
    encode(env, &codec, frames, compress, Scheduler::Normal)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn codec_encode_dirty<'a>(
    env: Env<'a>,
    codec: ResourceArc<Codec>,
    frames: Term<'a>,
    compress: bool,
) -> NifResult<Term<'a>> {
    encode(env, &codec, frames, compress, Scheduler::Dirty)
}

fn encode<'a>(
    env: Env<'a>,
    codec: &Codec,
    frames: Term<'a>,
    compress: bool,
    scheduler: Scheduler,
) -> NifResult<Term<'a>> {
    let b = Builder::of(env);
    let Some(mut state) = codec.lock(scheduler) else {
        return Ok(atoms::dirty().encode(env));
    };
    let compress = compress && state.session.deflate().is_some();
    let mut plan = Plan {
        b,
        codec,
        role: state.session.role(),
        call: Call::new(),
        normal: scheduler == Scheduler::Normal,
        open: state.session.is_open(),
        stream: state.stream,
        compress,
        steps: Vec::new(),
        json: Vec::new(),
        bytes: 0,
    };
    let reason = match plan.all(frames.as_c_arg()) {
        Ok(()) => None,
        Err(Failure::BadArg) => return Err(Error::BadArg),
        Err(Failure::Dirty) => return Ok(atoms::dirty().encode(env)),
        Err(Failure::Closed) => Some(b.atom(atoms::closed())),
        Err(Failure::NotJson(term)) => Some(b.tuple([b.atom(atoms::not_json()), term])),
        Err(Failure::NotUtf8) => Some(b.atom(atoms::not_utf8())),
        Err(Failure::Streaming) => Some(b.atom(atoms::streaming())),
        Err(Failure::NotStreaming) => Some(b.atom(atoms::not_streaming())),
    };
    if let Some(reason) = reason {
        return Ok(b.term(env, b.tuple([b.atom(atoms::error()), reason])));
    }
    let mut out = Vec::with_capacity(plan.bytes + 14 * plan.steps.len());
    state.stream = plan.stream;
    if compress {
        with_contexts(|contexts| plan.write(&mut state, Some(contexts), &mut out));
    } else {
        plan.write(&mut state, None, &mut out);
    }
    charge(env, out.len(), plan.steps.len());
    Ok(b.term(env, b.tuple([b.atom(atoms::ok()), b.binary(&out)])))
}

/// The steps of a call, and the state as it will be after them.
struct Plan<'a, 'c> {
    b: Builder<'a>,
    codec: &'c Codec,
    role: Role,
    call: Call,
    normal: bool,
    open: bool,
    stream: Option<Stream>,
    compress: bool,
    steps: Vec<Step<'a>>,
    json: Vec<u8>,
    /// Payload so far.
    bytes: usize,
}

impl<'a> Plan<'a, '_> {
    fn all(&mut self, list: ErlNifTerm) -> Result<(), Failure> {
        let b = self.b;
        if b.cell(list).is_none() && !b.is_nil(list) {
            return self.frame(list);
        }
        let mut rest = list;
        while let Some((head, tail)) = b.cell(rest) {
            if self.normal && self.steps.len() >= NORMAL_FRAMES {
                return Err(Failure::Dirty);
            }
            self.frame(head)?;
            rest = tail;
        }
        if b.is_nil(rest) {
            Ok(())
        } else {
            Err(Failure::BadArg)
        }
    }

    fn frame(&mut self, term: ErlNifTerm) -> Result<(), Failure> {
        let b = self.b;
        let Some(elements) = b.elements(term) else {
            // A map, or nothing that is a frame.
            return if b.is_map(term) {
                self.json(term, Compress::Yes)
            } else {
                Err(Failure::BadArg)
            };
        };
        let is = |tag: &ErlNifTerm, atom: rustler::types::atom::Atom| *tag == b.atom(atom);
        match elements {
            [tag, value] if is(tag, atoms::plain()) && b.is_map(*value) => {
                self.json(*value, Compress::No)
            }
            [tag, value] if is(tag, atoms::plain()) => match b.elements(*value) {
                Some([tag, value]) => self.message(*tag, *value, Compress::No),
                _ => Err(Failure::BadArg),
            },
            [tag, value] if is(tag, atoms::ping()) => self.control(Op::Ping, *value),
            [tag, value] if is(tag, atoms::pong()) => self.control(Op::Pong, *value),
            [tag, value] => self.message(*tag, *value, Compress::Yes),
            [tag, code, reason] if is(tag, atoms::close()) => {
                let Some(Asked::Close(code, reason)) = closing(b, *code, *reason) else {
                    return Err(Failure::BadArg);
                };
                self.admit()?;
                self.open = false;
                self.stream = None;
                self.steps.push(Step::Close(code, reason));
                Ok(())
            }
            [tag, kind, place, value] if is(tag, atoms::stream()) => {
                let kind = if is(kind, atoms::text()) {
                    Kind::Text
                } else if is(kind, atoms::binary()) {
                    Kind::Binary
                } else {
                    return Err(Failure::BadArg);
                };
                let (first, last) = if is(place, atoms::first()) {
                    (true, false)
                } else if is(place, atoms::more()) {
                    (false, false)
                } else if is(place, atoms::last()) {
                    (false, true)
                } else {
                    return Err(Failure::BadArg);
                };
                let bytes = self.payload(*value)?;
                self.fragment(kind, first, last, bytes)
            }
            _ => Err(Failure::BadArg),
        }
    }

    fn admit(&self) -> Result<(), Failure> {
        if self.open {
            Ok(())
        } else {
            Err(Failure::Closed)
        }
    }

    /// Counts a payload against what a normal scheduler does.
    fn count(&mut self, len: usize, most: usize) -> Result<(), Failure> {
        self.bytes = self.bytes.saturating_add(len);
        if self.normal && self.bytes > most {
            return Err(Failure::Dirty);
        }
        Ok(())
    }

    /// What a message may have on a normal scheduler.
    fn most(&self) -> usize {
        if self.compress {
            NORMAL_COMPRESSED
        } else {
            NORMAL_PAYLOAD
        }
    }

    fn payload(&self, term: ErlNifTerm) -> Result<&'a [u8], Failure> {
        let b = self.b;
        if let Some(bytes) = b.bytes(term) {
            return Ok(bytes);
        }
        if self.normal && iolist_exceeds(b, term, NORMAL_PAYLOAD) {
            return Err(Failure::Dirty);
        }
        flatten(b, term).ok_or(Failure::BadArg)
    }

    fn message(
        &mut self,
        tag: ErlNifTerm,
        value: ErlNifTerm,
        compress: Compress,
    ) -> Result<(), Failure> {
        let b = self.b;
        let kind = if tag == b.atom(atoms::json()) {
            return self.json(value, compress);
        } else if tag == b.atom(atoms::text()) {
            Kind::Text
        } else if tag == b.atom(atoms::binary()) {
            Kind::Binary
        } else {
            return Err(Failure::BadArg);
        };
        let bytes = self.payload(value)?;
        self.count(bytes.len(), self.most())?;
        self.whole_message()?;
        if kind == Kind::Text && std::str::from_utf8(bytes).is_err() {
            return Err(Failure::NotUtf8);
        }
        self.steps
            .push(Step::Message(kind, Source::Term(bytes), compress));
        Ok(())
    }

    /// A message may not stand among the fragments of another.
    fn whole_message(&self) -> Result<(), Failure> {
        self.admit()?;
        match self.stream {
            None => Ok(()),
            Some(_) => Err(Failure::Streaming),
        }
    }

    fn json(&mut self, term: ErlNifTerm, compress: Compress) -> Result<(), Failure> {
        self.whole_message()?;
        let limit = if self.normal {
            NORMAL_JSON.min(self.most())
        } else {
            usize::MAX
        };
        let start = self.json.len();
        let null = self.codec.null;
        encode::encode(self.b.env, self.call, term, null, limit, &mut self.json).map_err(|e| {
            match e {
                EncodeError::NotJson(part) => Failure::NotJson(part),
                EncodeError::TooLarge => Failure::Dirty,
            }
        })?;
        let range = start..self.json.len();
        self.count(range.len(), self.most())?;
        let step = Step::Message(Kind::Text, Source::Json(range), compress);
        self.steps.push(step);
        Ok(())
    }

    fn control(&mut self, op: Op, term: ErlNifTerm) -> Result<(), Failure> {
        let b = self.b;
        let bytes = match b.bytes(term) {
            Some(bytes) => bytes,
            None if iolist_exceeds(b, term, CONTROL + 1) => return Err(Failure::BadArg),
            None => flatten(b, term).ok_or(Failure::BadArg)?,
        };
        if bytes.len() > CONTROL {
            return Err(Failure::BadArg);
        }
        self.admit()?;
        self.steps.push(Step::Control(op, bytes));
        Ok(())
    }

    fn fragment(
        &mut self,
        kind: Kind,
        first: bool,
        last: bool,
        bytes: &'a [u8],
    ) -> Result<(), Failure> {
        self.count(bytes.len(), NORMAL_PAYLOAD)?;
        self.admit()?;
        let mut stream = match self.stream {
            None if first => Stream {
                kind,
                utf8: Utf8::default(),
            },
            Some(stream) if !first && stream.kind == kind => stream,
            Some(_) if first => return Err(Failure::Streaming),
            _ => return Err(Failure::NotStreaming),
        };
        if kind == Kind::Text {
            let valid = stream.utf8.feed(bytes).is_ok();
            if !valid || (last && stream.utf8.finish().is_err()) {
                return Err(Failure::NotUtf8);
            }
        }
        self.stream = (!last).then_some(stream);
        let op = if first { kind.op() } else { Op::Continuation };
        self.steps.push(Step::Fragment(op, last, bytes));
        Ok(())
    }

    /// Nothing here can fail.
    fn write(&self, state: &mut State, mut contexts: Option<&mut Codecs>, out: &mut Vec<u8>) {
        let session = &mut state.session;
        let mask = || self.role.mask();
        for step in &self.steps {
            match step {
                Step::Message(kind, source, compress) => {
                    let payload = match source {
                        Source::Term(bytes) => bytes,
                        Source::Json(range) => self.json.get(range.clone()).unwrap_or_default(),
                    };
                    match &mut contexts {
                        Some(contexts) if *compress == Compress::Yes => {
                            session.encode(*kind, payload, &self.codec.tuning, contexts, out);
                        }
                        _ => frame::write(out, kind.op(), payload, mask()),
                    }
                }
                Step::Fragment(op, last, bytes) => {
                    frame::write_fragment(out, *op, *last, bytes, mask());
                }
                Step::Control(op, bytes) => frame::write(out, *op, bytes, mask()),
                Step::Close(code, reason) => {
                    session.close(*code, reason, out);
                }
            }
        }
    }
}
