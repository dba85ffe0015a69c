//! The protocol for people who own the socket: a session behind a mutex, bytes in and out.

mod handshake;
mod receive;
mod send;

use std::sync::{Mutex, MutexGuard, TryLockError};

use rustler::{Encoder, Env, Error, NifResult, Resource, ResourceArc, Term};
use sockeye_engine::pieces::OpenMessage;
use sockeye_json::Null;
use sockeye_protocol::deflate::{self, Codecs, Params, Policy, Tuning};
use sockeye_protocol::{Limits, Progress, Role, Session};
use sockeye_seam::settings::{deflate_policy, null};

use crate::atoms;
use crate::settings::config::get;
use crate::settings::tree::{bad_arg, tree};
use crate::terms::{Builder, map};
use crate::vm::lock;

/// Contexts that are kept for the next call that needs some: each holds up to some 500 KiB.
const SPARE_CONTEXTS: usize = 4;

/// Shared by all codecs, since nothing stays in them of a message that another could see.
static CONTEXTS: Mutex<Vec<Codecs>> = Mutex::new(Vec::new());

/// One end of a connection after its handshake.
pub(crate) struct Codec {
    state: Mutex<CodecState>,
    limits: Limits,
    null: Null,
    tuning: Tuning,
}

impl Resource for Codec {}

struct CodecState {
    session: Session,
    /// The message of which we have sent fragments, but not the last.
    stream: Option<OpenMessage>,
}

/// Where a call runs.
#[derive(Clone, Copy, PartialEq)]
enum Scheduler {
    Normal,
    Dirty,
}

impl Codec {
    /// `options` is complete: `sockeye_codec` has seen to it.
    fn new(
        role: Role,
        options: Term<'_>,
        params: Option<Params>,
        tuning: Tuning,
    ) -> NifResult<Codec> {
        let mut limits = Limits::default();
        limits.max_message_size = get(options, atoms::max_message_size())?;
        limits.max_frame_size = get(options, atoms::max_frame_size())?;
        limits.max_fragments = get(options, atoms::max_fragments())?;
        Ok(Codec {
            state: Mutex::new(CodecState {
                session: Session::with_deflate(role, params),
                stream: None,
            }),
            limits,
            null: null(&tree(get(options, atoms::null())?)).map_err(bad_arg)?,
            tuning,
        })
    }

    /// A normal scheduler does not wait for another call: `None`.
    fn lock(&self, scheduler: Scheduler) -> Option<MutexGuard<'_, CodecState>> {
        if scheduler == Scheduler::Dirty {
            return Some(lock(&self.state));
        }
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// Lends contexts to compress and inflate with.
fn with_contexts<T>(work: impl FnOnce(&mut Codecs) -> T) -> T {
    let spare = || lock(&CONTEXTS);
    let taken = spare().pop();
    let mut contexts = taken.unwrap_or_default();
    let result = work(&mut contexts);
    let mut kept = spare();
    if kept.len() < SPARE_CONTEXTS {
        kept.push(contexts);
    }
    result
}

fn role(term: Term<'_>) -> NifResult<Role> {
    if term.as_c_arg() == atoms::server().as_c_arg() {
        Ok(Role::Server)
    } else if term.as_c_arg() == atoms::client().as_c_arg() {
        Ok(Role::Client)
    } else {
        Err(Error::BadArg)
    }
}

fn tuning(policy: Option<&Policy>) -> Tuning {
    policy.map(|policy| policy.tuning).unwrap_or_default()
}

/// What the options want of permessage-deflate.
fn policy(options: Term<'_>) -> NifResult<Option<Policy>> {
    deflate_policy(&tree(get(options, atoms::deflate())?)).map_err(bad_arg)
}

/// A codec for a connection whose handshake others have done.
#[rustler::nif]
fn codec_new<'a>(who: Term<'a>, options: Term<'a>) -> NifResult<ResourceArc<Codec>> {
    let policy = policy(options)?;
    // What would be agreed on if both sides wanted just this.
    let params = policy.as_ref().and_then(|policy| {
        let offer = deflate::offer(policy);
        deflate::accept([offer.as_bytes()], policy)
    });
    let params = params.map(|(params, _)| params);
    let codec = Codec::new(role(who)?, options, params, tuning(policy.as_ref()))?;
    Ok(ResourceArc::new(codec))
}

/// The transport has ended. `{closed, Code, Reason}`
#[rustler::nif]
fn codec_eof<'a>(env: Env<'a>, codec: ResourceArc<Codec>) -> Term<'a> {
    let Some(mut state) = codec.lock(Scheduler::Normal) else {
        return atoms::dirty().encode(env);
    };
    eof(env, &mut state)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn codec_eof_dirty<'a>(env: Env<'a>, codec: ResourceArc<Codec>) -> Term<'a> {
    match codec.lock(Scheduler::Dirty) {
        Some(mut state) => eof(env, &mut state),
        None => atoms::dirty().encode(env),
    }
}

fn eof<'a>(env: Env<'a>, state: &mut CodecState) -> Term<'a> {
    let b = Builder::of(env);
    let end = state.session.eof();
    let reason = b.binary(end.reason.as_bytes());
    let term = b.tuple([b.atom(atoms::closed()), b.integer(end.code.into()), reason]);
    b.term(env, term)
}

/// `#{role, state, deflate, buffered}`
#[rustler::nif]
fn codec_info<'a>(env: Env<'a>, codec: ResourceArc<Codec>) -> Term<'a> {
    match codec.lock(Scheduler::Normal) {
        Some(state) => info(env, &state),
        None => atoms::dirty().encode(env),
    }
}

#[rustler::nif(schedule = "DirtyCpu")]
fn codec_info_dirty<'a>(env: Env<'a>, codec: ResourceArc<Codec>) -> Term<'a> {
    match codec.lock(Scheduler::Dirty) {
        Some(state) => info(env, &state),
        None => atoms::dirty().encode(env),
    }
}

fn info<'a>(env: Env<'a>, state: &CodecState) -> Term<'a> {
    let b = Builder::of(env);
    let session = &state.session;
    let role = match session.role() {
        Role::Server => atoms::server(),
        Role::Client => atoms::client(),
    };
    let progress = match session.progress() {
        Progress::Open => atoms::open(),
        Progress::Closing => atoms::closing(),
        Progress::Ended(_) | Progress::Finished(_) => atoms::closed(),
    };
    let compresses = match session.deflate() {
        Some(_) => atoms::true_(),
        None => atoms::false_(),
    };
    let pairs = [
        (b.atom(atoms::role()), b.atom(role)),
        (b.atom(atoms::state()), b.atom(progress)),
        (b.atom(atoms::deflate()), b.atom(compresses)),
        (
            b.atom(atoms::buffered()),
            b.integer(session.buffered() as u64),
        ),
    ];
    b.term(env, map(b, &pairs))
}
