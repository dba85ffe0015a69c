//! A term that outlives the call that brought it.

use rustler::Term;
use rustler::sys::{ErlNifEnv, ErlNifTerm, enif_alloc_env, enif_free_env, enif_make_copy};

use super::Builder;

/// A term in an environment of its own.
pub(crate) struct OwnedTerm {
    env: *mut ErlNifEnv,
    term: ErlNifTerm,
}

// SAFETY: the environment belongs to no process, and only the owner of this reads it.
unsafe impl Send for OwnedTerm {}

impl OwnedTerm {
    #[expect(
        clippy::disallowed_methods,
        reason = "holds a copy of a term that the VM has made"
    )]
    pub(crate) fn new(term: Term<'_>) -> Self {
        // SAFETY: allocating an environment and copying into it is allowed anywhere.
        unsafe {
            let env = enif_alloc_env();
            let term = enif_make_copy(env, term.as_c_arg());
            OwnedTerm { env, term }
        }
    }

    /// The term, in another environment.
    pub(crate) fn copy(&self, b: Builder) -> ErlNifTerm {
        // SAFETY: the term lives as long as this; both environments are valid.
        unsafe { enif_make_copy(b.env, self.term) }
    }
}

impl Drop for OwnedTerm {
    fn drop(&mut self) {
        // SAFETY: made by `enif_alloc_env`, and nobody else has it.
        unsafe { enif_free_env(self.env) }
    }
}
