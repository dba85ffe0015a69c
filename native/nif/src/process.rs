//! Messages to processes, from threads of our own and from schedulers.
//!
//! Both build terms and send, each in its way. The VM makes large maps with data of the scheduler
//! that runs, and dies where there is none (erlang/otp#8208): a term whose shape a peer decides is
//! built on a scheduler, and what builds such a term asks for an [`OnScheduler`].

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;

use rustler::sys::{
    ERL_NIF_THR_UNDEFINED, ErlNifEnv, ErlNifTerm, enif_alloc_env, enif_clear_env, enif_free_env,
    enif_is_current_process_alive, enif_send, enif_thread_type,
};
use rustler::{Env, LocalPid};

use crate::terms::Builder;

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
    pub(crate) fn send(self, to: &LocalPid, term: ErlNifTerm) -> Sent {
        // SAFETY: the environment of the call on this thread. Without a message environment the
        // term is copied.
        let sent = unsafe { enif_send(self.env, to.as_c_arg(), ptr::null_mut(), term) != 0 };
        if sent {
            Sent::Done
        } else if self.is_alive() {
            Sent::Dead
        } else {
            Sent::NotAlive
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
pub(crate) enum Sent {
    Done,
    /// The receiver is dead.
    Dead,
    /// The sender has been killed: nothing that it says is heard.
    NotAlive,
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

/// Sends an atom, which needs no environment. False if the process is dead.
pub(crate) fn send_atom(to: &LocalPid, atom: rustler::types::atom::Atom) -> bool {
    send_term(to, atom.as_c_arg())
}

/// Builds a message and sends it. The message is copied into the receiver: a moved one would
/// take whole heap fragments along. False if the process is dead.
pub(crate) fn send(to: &LocalPid, build: impl FnOnce(Builder) -> ErlNifTerm) -> bool {
    with_env(|builder| send_term(to, build(builder)))
}

/// Sends an atom, or a term of an environment of this thread.
pub(crate) fn send_term(to: &LocalPid, term: ErlNifTerm) -> bool {
    assert_foreign();
    // SAFETY: not a scheduler's thread, so the caller has no environment. Without a message
    // environment the term is copied.
    unsafe { enif_send(ptr::null_mut(), to.as_c_arg(), ptr::null_mut(), term) != 0 }
}

struct ThreadEnv(Cell<*mut ErlNifEnv>);

impl Drop for ThreadEnv {
    fn drop(&mut self) {
        free(self.0.get());
    }
}

thread_local! {
    /// Reused by all messages of a thread.
    static ENV: ThreadEnv = const { ThreadEnv(Cell::new(ptr::null_mut())) };
}

/// An environment out of its slot: a call within a call gets one of its own.
struct Lent<'a> {
    env: *mut ErlNifEnv,
    slot: &'a Cell<*mut ErlNifEnv>,
}

impl<'a> Lent<'a> {
    fn of(slot: &'a Cell<*mut ErlNifEnv>) -> Self {
        let mut env = slot.replace(ptr::null_mut());
        if env.is_null() {
            // SAFETY: may be called by any thread.
            env = unsafe { enif_alloc_env() };
        }
        Lent { env, slot }
    }
}

/// Also when what it was lent to panics: its terms are gone, and it is of use to the next.
impl Drop for Lent<'_> {
    fn drop(&mut self) {
        // SAFETY: the environment is this thread's, and no term of it is kept.
        unsafe { enif_clear_env(self.env) };
        free(self.slot.replace(self.env));
    }
}

fn free(env: *mut ErlNifEnv) {
    if !env.is_null() {
        // SAFETY: made by `enif_alloc_env`, this thread's alone, and out of its slot.
        unsafe { enif_free_env(env) }
    }
}

/// Lends this thread's environment, and clears it afterwards.
pub(crate) fn with_env<T>(work: impl FnOnce(Builder) -> T) -> T {
    ENV.with(|slot| {
        let lent = Lent::of(&slot.0);
        // SAFETY: it is cleared when `lent` is dropped. The work is over by then, and can not have
        // kept what it does not know the lifetime of.
        work(unsafe { Builder::over(lent.env) })
    })
}
