//! Messages to processes from threads of our own.

use std::cell::Cell;
use std::ptr;

use rustler::LocalPid;
use rustler::sys::{
    ErlNifEnv, ErlNifTerm, enif_alloc_env, enif_clear_env, enif_free_env, enif_send,
};

use crate::terms::Builder;
use crate::terms::scheduler::assert_foreign;

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
#[expect(
    clippy::disallowed_methods,
    reason = "from a thread that is none of the VM's"
)]
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
struct BorrowedEnv<'a> {
    env: *mut ErlNifEnv,
    slot: &'a Cell<*mut ErlNifEnv>,
}

impl<'a> BorrowedEnv<'a> {
    #[expect(
        clippy::disallowed_methods,
        reason = "lent to what is sent from this thread"
    )]
    fn of(slot: &'a Cell<*mut ErlNifEnv>) -> Self {
        let mut env = slot.replace(ptr::null_mut());
        if env.is_null() {
            // SAFETY: may be called by any thread.
            env = unsafe { enif_alloc_env() };
        }
        BorrowedEnv { env, slot }
    }
}

/// Also when what it was lent to panics: its terms are gone, and it is of use to the next.
impl Drop for BorrowedEnv<'_> {
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
        let lent = BorrowedEnv::of(&slot.0);
        // SAFETY: it is cleared when `lent` is dropped. The work is over by then, and cannot have
        // kept what it does not know the lifetime of.
        work(unsafe { Builder::over(lent.env) })
    })
}
