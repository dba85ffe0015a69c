//! Decodes bytes that have arrived.

use std::cell::RefCell;

use rustler::sys::ErlNifTerm;
use rustler::{Encoder, Env, Error, NifResult, ResourceArc, Term};
use sockeye_protocol::deflate::Codecs;
use sockeye_protocol::{CloseReason, Kind, Payload, Progress, Sink};

use super::{Codec, CodecState, Scheduler, with_contexts};
use crate::atoms;
use crate::frames::iolist::{flatten, iolist_exceeds};
use crate::frames::outbound::charge;
use crate::terms::Builder;

/// Bytes that a call on a normal scheduler takes: the smallest frames make an event of every two.
const NORMAL: usize = 16 * 1024;
/// Bytes of a message, with those that came before, that such a call completes.
const NORMAL_MESSAGE: usize = 256 * 1024;
/// The same where it may be compressed: a byte can become a thousand.
const NORMAL_COMPRESSED: usize = 1024;
/// Buffers that grew beyond this are given back.
const KEPT: usize = 256 * 1024;

#[derive(Default)]
struct ReceiveBuffers {
    input: Vec<u8>,
    reply: Vec<u8>,
}

thread_local! {
    static BUFFERS: RefCell<ReceiveBuffers> = RefCell::default();
}

/// Makes terms of what comes.
struct EventTerms<'e> {
    b: Builder<'e>,
    terms: Vec<ErlNifTerm>,
}

impl Sink for EventTerms<'_> {
    fn message(&mut self, kind: Kind, payload: Payload<'_>) {
        let tag = match kind {
            Kind::Text => atoms::text(),
            Kind::Binary => atoms::binary(),
        };
        self.push(tag, &payload);
    }

    fn ping(&mut self, payload: &[u8]) {
        self.push(atoms::ping(), payload);
    }

    fn pong(&mut self, payload: &[u8]) {
        self.push(atoms::pong(), payload);
    }
}

impl EventTerms<'_> {
    fn push(&mut self, tag: rustler::types::atom::Atom, payload: &[u8]) {
        let b = self.b;
        self.terms.push(b.tuple([b.atom(tag), b.binary(payload)]));
    }

    fn end(&mut self, end: &CloseReason) {
        let b = self.b;
        let reason = b.binary(end.reason.as_bytes());
        let event = b.tuple([b.atom(atoms::closed()), b.integer(end.code.into()), reason]);
        self.terms.push(event);
    }
}

/// `{Events, Reply} | dirty`
#[rustler::nif]
fn codec_decode<'a>(
    env: Env<'a>,
    codec: ResourceArc<Codec>,
    bytes: Term<'a>,
) -> NifResult<Term<'a>> {
    decode(env, &codec, bytes, Scheduler::Normal)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn codec_decode_dirty<'a>(
    env: Env<'a>,
    codec: ResourceArc<Codec>,
    bytes: Term<'a>,
) -> NifResult<Term<'a>> {
    decode(env, &codec, bytes, Scheduler::Dirty)
}

fn decode<'a>(
    env: Env<'a>,
    codec: &Codec,
    bytes: Term<'a>,
    scheduler: Scheduler,
) -> NifResult<Term<'a>> {
    let b = Builder::of(env);
    let dirty = || Ok(atoms::dirty().encode(env));
    let term = bytes.as_c_arg();
    let bytes = match b.bytes(term) {
        Some(bytes) => bytes,
        None if scheduler == Scheduler::Normal && iolist_exceeds(b, term, NORMAL) => {
            return dirty();
        }
        None => flatten(b, term).ok_or(Error::BadArg)?,
    };
    let Some(mut state) = codec.lock(scheduler) else {
        return dirty();
    };
    let compressed = state.session.deflate().is_some();
    let whole = state.session.buffered().saturating_add(bytes.len());
    let most = if compressed {
        NORMAL_COMPRESSED
    } else {
        NORMAL_MESSAGE
    };
    if scheduler == Scheduler::Normal && (bytes.len() > NORMAL || whole > most) {
        return dirty();
    }
    let mut events = EventTerms {
        b,
        terms: Vec::new(),
    };
    let reply = BUFFERS.with_borrow_mut(|buffers| {
        buffers.input.clear();
        buffers.input.extend_from_slice(bytes);
        buffers.reply.clear();
        if compressed {
            with_contexts(|contexts| take(codec, &mut state, contexts, buffers, &mut events));
        } else {
            let contexts = &mut Codecs::default();
            take(codec, &mut state, contexts, buffers, &mut events);
        }
        let reply = b.binary(&buffers.reply);
        if buffers.input.capacity().max(buffers.reply.capacity()) > KEPT {
            *buffers = ReceiveBuffers::default();
        }
        reply
    });
    charge(env, bytes.len(), events.terms.len());
    let result = b.tuple([b.list(&events.terms), reply]);
    Ok(b.term(env, result))
}

fn take(
    codec: &Codec,
    state: &mut CodecState,
    contexts: &mut Codecs,
    buffers: &mut ReceiveBuffers,
    events: &mut EventTerms,
) {
    if matches!(state.session.progress(), Progress::Finished(_)) {
        return;
    }
    let (input, reply) = (&mut buffers.input, &mut buffers.reply);
    let progress = state
        .session
        .receive_with(input, &codec.limits, contexts, reply, events);
    if let Progress::Finished(end) = progress {
        events.end(&end);
    }
}
