//! Answers of the engine's threads to processes that wait for them.
#![expect(
    clippy::disallowed_types,
    reason = "holds a reference; the answer is built by a `Builder` alone"
)]

use std::sync::Mutex;

use rustler::env::{OwnedEnv, SavedTerm};
use rustler::types::atom::Atom;
use rustler::{Env, LocalPid, Reference, Resource, ResourceArc};

use crate::atoms;
use crate::terms::Builder;
use crate::vm::{lock, running};

/// Whether somebody still waits.
pub(crate) struct ReplyWait(Mutex<bool>);

impl Resource for ReplyWait {}

/// A reference for the answer, and the wait for it.
pub(crate) type PendingReply<'a> = (Reference<'a>, ResourceArc<ReplyWait>);

#[rustler::nif]
fn wait_begin() -> ResourceArc<ReplyWait> {
    ResourceArc::new(ReplyWait(Mutex::new(true)))
}

/// Nobody waits any more: what has been answered is in the mailbox, and nothing else will come.
#[rustler::nif]
fn wait_end(waiting: ResourceArc<ReplyWait>) -> Atom {
    *lock(&waiting.0) = false;
    atoms::ok()
}

/// Where an answer goes: the process that asked, with its reference.
pub(crate) struct ReplyTo {
    env: OwnedEnv,
    pid: LocalPid,
    reference: SavedTerm,
    waiting: ResourceArc<ReplyWait>,
}

impl ReplyTo {
    pub(crate) fn new(env: Env<'_>, (reference, waiting): PendingReply<'_>) -> Self {
        let owned = OwnedEnv::new();
        let reference = owned.save(reference);
        ReplyTo {
            env: owned,
            pid: running::caller(env),
            reference,
            waiting,
        }
    }

    /// Sends `{Reference, Answer}`. Called on a shard's thread.
    pub(crate) fn answer(mut self, build: impl FnOnce(Builder) -> rustler::sys::ErlNifTerm) {
        let reference = self.reference;
        // Held while it is sent: who ends the wait knows that it has come.
        let waits = lock(&self.waiting.0);
        if !*waits {
            return;
        }
        let _ = self.env.send_and_clear(&self.pid, |env| {
            let b = Builder::of(env);
            let reference = reference.load(env).as_c_arg();
            let answer = build(b);
            b.term(env, b.tuple([reference, answer]))
        });
    }
}
