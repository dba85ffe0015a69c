//! Raw terms: what the hot paths build and read without wrapping each one.

pub(crate) mod existing;
pub(crate) mod owned;
pub(crate) mod scheduler;
pub(crate) mod term_type;
mod writer;

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use rustler::sys::{
    ErlNifBinary, ErlNifEnv, ErlNifPid, ErlNifTerm, enif_get_list_cell, enif_get_tuple,
    enif_get_uint64, enif_inspect_binary, enif_is_identical, enif_make_list_from_array,
    enif_make_map_from_arrays, enif_make_new_binary, enif_make_pid, enif_make_tuple_from_array,
    enif_make_uint64, enif_self,
};
use rustler::types::atom::Atom;
use rustler::{Encoder, Env, Error, LocalPid, NifResult, Term};
use sockeye_engine::ConnId;

use crate::atoms;
use scheduler::OnScheduler;
use term_type::term_type;

/// An environment and its terms, good for the call or callback that brought it.
#[derive(Clone, Copy)]
pub(crate) struct Builder<'e> {
    pub(crate) env: *mut ErlNifEnv,
    lives: PhantomData<&'e ErlNifEnv>,
}

impl<'e> Builder<'e> {
    pub(crate) fn of(env: Env<'e>) -> Self {
        Builder {
            env: env.as_c_arg(),
            lives: PhantomData,
        }
    }

    /// Of an environment that no process has.
    ///
    /// # Safety
    /// It is neither cleared nor freed while `'e` lasts.
    pub(crate) unsafe fn over(env: *mut ErlNifEnv) -> Self {
        Builder {
            env,
            lives: PhantomData,
        }
    }

    pub(crate) fn boolean(self, value: bool) -> ErlNifTerm {
        self.atom(if value {
            atoms::true_()
        } else {
            atoms::false_()
        })
    }

    pub(crate) fn atom(self, atom: Atom) -> ErlNifTerm {
        atom.as_c_arg()
    }

    pub(crate) fn tuple<const N: usize>(self, terms: [ErlNifTerm; N]) -> ErlNifTerm {
        // SAFETY: all terms belong to this environment or are atoms.
        unsafe { enif_make_tuple_from_array(self.env, terms.as_ptr(), N as u32) }
    }

    #[inline]
    fn tuple_of(self, terms: &[ErlNifTerm]) -> ErlNifTerm {
        // SAFETY: as in `tuple`.
        unsafe { enif_make_tuple_from_array(self.env, terms.as_ptr(), terms.len() as u32) }
    }

    pub(crate) fn list(self, terms: &[ErlNifTerm]) -> ErlNifTerm {
        // SAFETY: as in `tuple`.
        unsafe { enif_make_list_from_array(self.env, terms.as_ptr(), terms.len() as u32) }
    }

    pub(crate) fn binary(self, bytes: &[u8]) -> ErlNifTerm {
        let mut term = MaybeUninit::uninit();
        // SAFETY: the buffer that the VM gives has the length it was asked for, and the term is
        // always set.
        unsafe {
            let buffer = enif_make_new_binary(self.env, bytes.len(), term.as_mut_ptr());
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer, bytes.len());
            term.assume_init()
        }
    }

    pub(crate) fn integer(self, n: u64) -> ErlNifTerm {
        // SAFETY: `env` is valid.
        unsafe { enif_make_uint64(self.env, n) }
    }

    pub(crate) fn pid(self, pid: &LocalPid) -> ErlNifTerm {
        // SAFETY: a local pid belongs to no environment.
        unsafe { enif_make_pid(self.env, *pid.as_c_arg()) }
    }

    /// The calling process, as a number. Only within a call.
    pub(crate) fn caller(self) -> u64 {
        let mut pid = MaybeUninit::<ErlNifPid>::uninit();
        // SAFETY: within a call there is a process, and then the pid is set. The
        // word of a local pid is the pid itself.
        unsafe {
            if enif_self(self.env, pid.as_mut_ptr()).is_null() {
                return 0;
            }
            word(enif_make_pid(self.env, pid.assume_init())) as u64
        }
    }

    pub(crate) fn conn(self, conn: ConnId) -> ErlNifTerm {
        let id = self.integer(conn.as_u64());
        self.tuple([self.atom(atoms::sockeye_conn()), id])
    }

    /// The elements of a tuple. They live as long as the environment.
    pub(crate) fn elements(self, tuple: ErlNifTerm) -> Option<&'e [ErlNifTerm]> {
        let (mut arity, mut array) = (0, std::ptr::null());
        // SAFETY: on success `array` points to `arity` terms inside the tuple, which the environment
        // keeps.
        unsafe {
            if enif_get_tuple(self.env, tuple, &mut arity, &mut array) == 0 {
                return None;
            }
            if arity == 0 {
                return Some(&[]);
            }
            Some(std::slice::from_raw_parts(array, arity as usize))
        }
    }

    pub(crate) fn as_u64(self, term: ErlNifTerm) -> Option<u64> {
        let mut n = 0;
        // SAFETY: `n` is written when the result is not 0.
        (unsafe { enif_get_uint64(self.env, term, &mut n) } != 0).then_some(n)
    }

    pub(crate) fn as_conn(self, term: ErlNifTerm) -> Option<ConnId> {
        match self.elements(term)? {
            [tag, id] if *tag == atoms::sockeye_conn().as_c_arg() => {
                ConnId::from_u64(self.as_u64(*id)?)
            }
            _ => None,
        }
    }

    /// Head and tail of a list that is not empty.
    pub(crate) fn cell(self, list: ErlNifTerm) -> Option<(ErlNifTerm, ErlNifTerm)> {
        let (mut head, mut tail) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        // SAFETY: both are written when the result is not 0.
        unsafe {
            let found =
                enif_get_list_cell(self.env, list, head.as_mut_ptr(), tail.as_mut_ptr()) != 0;
            found.then(|| (head.assume_init(), tail.assume_init()))
        }
    }

    /// The bytes of a binary. They live as long as the environment.
    pub(crate) fn bytes(self, term: ErlNifTerm) -> Option<&'e [u8]> {
        let mut binary = MaybeUninit::<ErlNifBinary>::uninit();
        // SAFETY: `binary` is written when the result is not 0; its data belongs to the term, which
        // the environment keeps.
        unsafe {
            if enif_inspect_binary(self.env, term, binary.as_mut_ptr()) == 0 {
                return None;
            }
            let binary = binary.assume_init();
            if binary.size == 0 {
                return Some(&[]);
            }
            Some(std::slice::from_raw_parts(binary.data, binary.size))
        }
    }

    pub(crate) fn is_map(self, term: ErlNifTerm) -> bool {
        // SAFETY: the term belongs to the environment.
        unsafe { term_type(self.env, term) == term_type::MAP }
    }

    pub(crate) fn is_nil(self, term: ErlNifTerm) -> bool {
        // SAFETY: compares two valid terms.
        unsafe { enif_is_identical(term, self.list(&[])) != 0 }
    }

    /// The term, as rustler's own functions want it.
    pub(crate) fn term<'a>(self, env: Env<'a>, term: ErlNifTerm) -> Term<'a> {
        // SAFETY: the builder was made of this environment.
        unsafe { Term::new(env, term) }
    }
}

/// The connection that a term names.
pub(crate) fn conn_of(env: Env<'_>, term: Term<'_>) -> NifResult<ConnId> {
    Builder::of(env)
        .as_conn(term.as_c_arg())
        .ok_or(Error::BadArg)
}

/// `ok`, or `{error, closed}`.
pub(crate) fn ok_or_closed(env: Env<'_>, ok: bool) -> Term<'_> {
    match ok {
        true => atoms::ok().encode(env),
        false => (atoms::error(), atoms::closed()).encode(env),
    }
}

/// The elements of a list that a caller gave. Rustler's own decoding panics where it is improper.
pub(crate) fn list(term: Term<'_>) -> NifResult<Vec<Term<'_>>> {
    term.list_length()?;
    term.decode()
}

/// What tells one term from another as long as nothing moves them: within a call.
#[inline]
pub(crate) fn word(term: ErlNifTerm) -> usize {
    // SAFETY: a term is one word, whatever it means.
    unsafe { std::mem::transmute::<ErlNifTerm, usize>(term) }
}

/// Pairs of a map that the VM makes as one piece, on any thread.
const FLAT: usize = 32;

/// A map of these pairs, whose keys differ and are ours, and so few.
pub(crate) fn map(b: Builder, pairs: &[(ErlNifTerm, ErlNifTerm)]) -> ErlNifTerm {
    assert!(pairs.len() <= FLAT, "a map of our own is small");
    make_map(b, pairs)
}

/// A map of any number of pairs, whose keys differ.
pub(crate) fn map_of_any(
    b: Builder,
    _: OnScheduler<'_>,
    pairs: &[(ErlNifTerm, ErlNifTerm)],
) -> ErlNifTerm {
    make_map(b, pairs)
}

#[expect(
    clippy::disallowed_methods,
    reason = "few pairs, or on a scheduler: the two callers above"
)]
fn make_map(b: Builder, pairs: &[(ErlNifTerm, ErlNifTerm)]) -> ErlNifTerm {
    let keys: Vec<_> = pairs.iter().map(|p| p.0).collect();
    let values: Vec<_> = pairs.iter().map(|p| p.1).collect();
    let mut term = MaybeUninit::uninit();
    // SAFETY: both arrays have the given length; the map is set when the result is not 0.
    unsafe {
        let made = enif_make_map_from_arrays(
            b.env,
            keys.as_ptr(),
            values.as_ptr(),
            pairs.len(),
            term.as_mut_ptr(),
        );
        if made != 0 {
            term.assume_init()
        } else {
            b.list(&[])
        }
    }
}

/// `{error, Name}` of an error of the operating system, as `inet` names it.
pub(crate) fn errno<'a>(env: Env<'a>, error: &std::io::Error) -> Term<'a> {
    let b = Builder::of(env);
    let name = atoms::named(sockeye_seam::errno(error));
    b.term(env, b.tuple([b.atom(atoms::error()), name]))
}
