//! On which thread terms are built.
//!
//! The VM makes large maps with data of the scheduler that runs, and dies where there is none
//! (erlang/otp#8208): a term whose shape a peer decides is built on a scheduler, and what builds such a term
//! asks for an [`OnScheduler`]. That nothing else makes maps, or gets an environment, clippy sees to: `clippy.toml` has the
//! list, and whoever is excepted says why.

use std::marker::PhantomData;
use std::ptr;

use rustler::sys::{
    ERL_NIF_THR_UNDEFINED, ErlNifEnv, ErlNifTerm, enif_is_current_process_alive, enif_send,
    enif_thread_type,
};
use rustler::{Env, LocalPid};

/// Proof that this thread is a scheduler of the VM, in a call of a process.
#[derive(Clone, Copy)]
pub(crate) struct OnScheduler<'a> {
    /// The environment of the call. Being a pointer, it stays on its thread.
    env: *mut ErlNifEnv,
    _call: PhantomData<&'a ()>,
}

impl<'a> OnScheduler<'a> {
    /// An environment that a thread of our own has made is a defect.
    pub(crate) fn of(env: Env<'a>) -> Self {
        assert!(is_scheduler(), "not on a scheduler");
        OnScheduler {
            env: env.as_c_arg(),
            _call: PhantomData,
        }
    }

    /// Sends a copy of a term, in the name of the calling process.
    #[expect(
        clippy::disallowed_methods,
        reason = "from the environment of the call"
    )]
    pub(crate) fn send(self, to: &LocalPid, term: ErlNifTerm) -> SendOutcome {
        // SAFETY: the environment of the call on this thread. Without a message environment the
        // term is copied.
        let sent = unsafe { enif_send(self.env, to.as_c_arg(), ptr::null_mut(), term) != 0 };
        if sent {
            SendOutcome::Delivered
        } else if self.is_alive() {
            SendOutcome::ReceiverDead
        } else {
            SendOutcome::SenderDead
        }
    }

    /// Whether the calling process is. On a dirty scheduler it may have been killed meanwhile.
    pub(crate) fn is_alive(self) -> bool {
        // SAFETY: the environment of the call on this thread.
        unsafe { enif_is_current_process_alive(self.env) != 0 }
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendOutcome {
    Delivered,
    ReceiverDead,
    /// The sender has been killed: nothing that it says is heard.
    SenderDead,
}

pub(crate) fn is_scheduler() -> bool {
    // SAFETY: any thread may ask.
    unsafe { enif_thread_type() != ERL_NIF_THR_UNDEFINED }
}

/// The VM takes a message that names no environment of its sender only from threads that are not schedulers. A callback
/// of a resource runs on one, too.
pub(crate) fn assert_foreign() {
    assert!(
        !is_scheduler(),
        "only threads of the engine may do this without an environment"
    );
}
