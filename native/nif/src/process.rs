//! Messages to processes from threads that are not the VM's.

use std::cell::Cell;
use std::ptr;

use rustler::LocalPid;
use rustler::sys::{
    ErlNifEnv, ErlNifTerm, enif_alloc_env, enif_clear_env, enif_free_env, enif_send,
};

use crate::terms::Builder;

/// Sends an atom, which needs no environment. False if the process is dead.
pub(crate) fn send_atom(to: &LocalPid, atom: rustler::types::atom::Atom) -> bool {
    // SAFETY: not a scheduler's thread, so the caller has no environment; an atom belongs to none.
    unsafe {
        enif_send(
            ptr::null_mut(),
            to.as_c_arg(),
            ptr::null_mut(),
            atom.as_c_arg(),
        ) != 0
    }
}

struct ThreadEnv(Cell<*mut ErlNifEnv>);

impl Drop for ThreadEnv {
    fn drop(&mut self) {
        let env = self.0.get();
        if !env.is_null() {
            // SAFETY: made by `enif_alloc_env`, and this thread's alone.
            unsafe { enif_free_env(env) }
        }
    }
}

thread_local! {
    /// Reused by all messages of a thread.
    static ENV: ThreadEnv = const { ThreadEnv(Cell::new(ptr::null_mut())) };
}

/// Builds a message and sends it. The message is copied into the receiver: a moved one would
/// take whole heap fragments along. False if the process is dead.
pub(crate) fn send(to: &LocalPid, build: impl FnOnce(Builder) -> ErlNifTerm) -> bool {
    with_env(|builder| send_term(to, build(builder)))
}

/// Sends a term of an environment of this thread.
pub(crate) fn send_term(to: &LocalPid, term: ErlNifTerm) -> bool {
    // SAFETY: not a scheduler's thread. Without a message environment the term is copied.
    unsafe { enif_send(ptr::null_mut(), to.as_c_arg(), ptr::null_mut(), term) != 0 }
}

/// Lends this thread's environment, and clears it afterwards.
pub(crate) fn with_env<T>(work: impl FnOnce(Builder) -> T) -> T {
    ENV.with(|slot| {
        // Taken out while in use, so that a call within a call gets one of its own.
        let mut env = slot.0.replace(ptr::null_mut());
        if env.is_null() {
            // SAFETY: may be called by any thread.
            env = unsafe { enif_alloc_env() };
        }
        let result = work(Builder { env });
        // SAFETY: the environment is this thread's, and no term of it is kept.
        unsafe { enif_clear_env(env) };
        let before = slot.0.replace(env);
        if !before.is_null() {
            // SAFETY: as above.
            unsafe { enif_free_env(before) };
        }
        result
    })
}
