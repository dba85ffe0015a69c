//! Looking into terms: the calls of the VM, each with its danger dealt with.
//!
//! Every function takes an environment that is valid for the call, and terms of that environment.

use std::mem::MaybeUninit;
use std::sync::OnceLock;

use rustler::sys::{
    ErlNifBinary, ErlNifCharEncoding, ErlNifEnv, ErlNifMapIterator, ErlNifMapIteratorEntry,
    ErlNifTerm, c_int, c_uint, enif_compare, enif_get_atom, enif_get_double, enif_get_int64,
    enif_get_list_cell, enif_get_tuple, enif_get_uint64, enif_inspect_binary, enif_is_empty_list,
    enif_make_atom_len, enif_make_double, enif_make_tuple_from_array, enif_map_iterator_create,
    enif_map_iterator_destroy, enif_map_iterator_get_pair, enif_map_iterator_next,
    enif_release_binary, enif_term_to_binary,
};

/// The atoms that mean something in JSON. Atoms are the same in every environment.
pub(super) struct JsonAtoms {
    pub(super) true_: ErlNifTerm,
    pub(super) false_: ErlNifTerm,
    pub(super) null: ErlNifTerm,
    pub(super) undefined: ErlNifTerm,
    pub(super) nil: ErlNifTerm,
    pub(super) json_raw: ErlNifTerm,
    /// The key that makes a map a struct of Elixir.
    pub(super) struct_: ErlNifTerm,
    pub(super) struct_tag: ErlNifTerm,
    pub(super) duplicate_key: ErlNifTerm,
}

impl JsonAtoms {
    pub(super) fn of(env: *mut ErlNifEnv) -> &'static Self {
        static ATOMS: OnceLock<JsonAtoms> = OnceLock::new();
        ATOMS.get_or_init(|| {
            // SAFETY: `env` is valid for this call and the name is read up to its length only.
            let atom =
                |name: &str| unsafe { enif_make_atom_len(env, name.as_ptr().cast(), name.len()) };
            Self {
                true_: atom("true"),
                false_: atom("false"),
                null: atom("null"),
                undefined: atom("undefined"),
                nil: atom("nil"),
                json_raw: atom("json_raw"),
                struct_: atom("__struct__"),
                struct_tag: atom("struct"),
                duplicate_key: atom("duplicate_key"),
            }
        })
    }
}

/// The type of a term: see [`crate::terms::term_type`].
#[inline]
pub(super) fn term_type(env: *mut ErlNifEnv, term: ErlNifTerm) -> c_int {
    // SAFETY: `env` and `term` are valid.
    unsafe { crate::terms::term_type::term_type(env, term) }
}

pub(super) fn int64(env: *mut ErlNifEnv, term: ErlNifTerm) -> Option<i64> {
    let mut n = 0;
    // SAFETY: `env` and `term` are valid; the integer is written when the result is not 0.
    (unsafe { enif_get_int64(env, term, &mut n) } != 0).then_some(n)
}

pub(super) fn uint64(env: *mut ErlNifEnv, term: ErlNifTerm) -> Option<u64> {
    let mut n = 0;
    // SAFETY: as in `int64`.
    (unsafe { enif_get_uint64(env, term, &mut n) } != 0).then_some(n)
}

pub(super) fn double(env: *mut ErlNifEnv, term: ErlNifTerm) -> Option<f64> {
    let mut v = 0.0;
    // SAFETY: as in `int64`.
    (unsafe { enif_get_double(env, term, &mut v) } != 0).then_some(v)
}

/// Whether an integer is beyond the range of floats. The VM tells that by its length.
pub(super) fn exceeds_double(env: *mut ErlNifEnv, integer: ErlNifTerm) -> bool {
    // SAFETY: `env` is valid, and so are the terms, one of which is made in it.
    unsafe {
        enif_compare(integer, enif_make_double(env, f64::MAX)) > 0
            || enif_compare(integer, enif_make_double(env, f64::MIN)) < 0
    }
}

/// A tuple of a size that means something.
pub(super) enum ShortTuple {
    One(ErlNifTerm),
    Two(ErlNifTerm, ErlNifTerm),
}

pub(super) fn tuple(env: *mut ErlNifEnv, term: ErlNifTerm) -> Option<ShortTuple> {
    let mut arity: c_int = 0;
    let mut elements = std::ptr::null();
    // SAFETY: `env` and `term` are valid; on success `elements` points to `arity` terms.
    unsafe {
        match enif_get_tuple(env, term, &mut arity, &mut elements) {
            0 => None,
            _ => match arity {
                1 => Some(ShortTuple::One(*elements)),
                2 => Some(ShortTuple::Two(*elements, *elements.add(1))),
                _ => None,
            },
        }
    }
}

pub(super) fn make_pair(env: *mut ErlNifEnv, first: ErlNifTerm, second: ErlNifTerm) -> ErlNifTerm {
    let elements = [first, second];
    // SAFETY: both terms belong to the environment, or are atoms.
    unsafe { enif_make_tuple_from_array(env, elements.as_ptr(), 2) }
}

/// 255 characters and the terminator.
pub(super) const ATOM_BUFFER: usize = 256;

/// The name of an atom, in Latin-1, if it can be written so.
pub(super) fn latin1_atom(
    env: *mut ErlNifEnv,
    term: ErlNifTerm,
    buffer: &mut [u8; ATOM_BUFFER],
) -> Option<&[u8]> {
    let latin1 = ErlNifCharEncoding::ERL_NIF_LATIN1;
    // SAFETY: `env` and `term` are valid; at most as many bytes are written as the buffer has.
    let written = unsafe {
        enif_get_atom(
            env,
            term,
            buffer.as_mut_ptr().cast(),
            ATOM_BUFFER as c_uint,
            latin1,
        )
    };
    // The terminator counts.
    buffer.get(..usize::try_from(written).ok()?.checked_sub(1)?)
}

pub(super) fn list_cell(env: *mut ErlNifEnv, list: ErlNifTerm) -> Option<(ErlNifTerm, ErlNifTerm)> {
    let mut head = MaybeUninit::uninit();
    let mut tail = MaybeUninit::uninit();
    // SAFETY: `env` and `list` are valid; both are written when the result is not 0.
    unsafe {
        (enif_get_list_cell(env, list, head.as_mut_ptr(), tail.as_mut_ptr()) != 0)
            .then(|| (head.assume_init(), tail.assume_init()))
    }
}

pub(super) fn is_nil(env: *mut ErlNifEnv, term: ErlNifTerm) -> bool {
    // SAFETY: `env` and `term` are valid.
    unsafe { enif_is_empty_list(env, term) != 0 }
}

pub(super) fn inspect(env: *mut ErlNifEnv, term: ErlNifTerm) -> Option<ErlNifBinary> {
    let mut binary = MaybeUninit::uninit();
    // SAFETY: `env` and `term` are valid; the result is written when it is not 0.
    unsafe {
        (enif_inspect_binary(env, term, binary.as_mut_ptr()) != 0).then(|| binary.assume_init())
    }
}

pub(super) fn as_bytes(binary: &ErlNifBinary) -> &[u8] {
    if binary.size == 0 {
        return &[];
    }
    // SAFETY: the VM keeps `size` bytes at `data`, unchanged, until the NIF returns (inspected) or
    // the binary is released (owned), which needs the binary that is borrowed here.
    unsafe { std::slice::from_raw_parts(binary.data, binary.size) }
}

/// The pairs of a map.
pub(crate) struct MapPairs {
    env: *mut ErlNifEnv,
    iter: ErlNifMapIterator,
}

impl MapPairs {
    pub(crate) fn new(env: *mut ErlNifEnv, map: ErlNifTerm) -> Option<Self> {
        let mut one = Vec::with_capacity(1);
        Self::push(&mut one, env, map).then(|| one.pop())?
    }

    /// Adds the pairs of a map to a stack, if it is one. They are made in their place: what the VM
    /// writes there word by word is slow to copy at once.
    pub(super) fn push(stack: &mut Vec<Self>, env: *mut ErlNifEnv, map: ErlNifTerm) -> bool {
        stack.reserve(1);
        let Some(place) = stack.spare_capacity_mut().first_mut() else {
            return false;
        };
        let place = place.as_mut_ptr();
        let first = ErlNifMapIteratorEntry::ERL_NIF_MAP_ITERATOR_HEAD;
        // SAFETY: `env` and `map` are valid; `place` is ours to write, and counted as written only
        // when both fields are: the iterator is when the result is not 0. It may be moved: what it
        // points to is on the heap.
        unsafe {
            (&raw mut (*place).env).write(env);
            if enif_map_iterator_create(env, map, &raw mut (*place).iter, first) == 0 {
                return false;
            }
            stack.set_len(stack.len() + 1);
        }
        true
    }

    pub(crate) fn next(&mut self) -> Option<(ErlNifTerm, ErlNifTerm)> {
        let mut key = MaybeUninit::uninit();
        let mut value = MaybeUninit::uninit();
        // SAFETY: the iterator is valid until it is dropped; both terms are written when the
        // result is not 0.
        unsafe {
            let (k, v) = (key.as_mut_ptr(), value.as_mut_ptr());
            if enif_map_iterator_get_pair(self.env, &mut self.iter, k, v) == 0 {
                return None;
            }
            enif_map_iterator_next(self.env, &mut self.iter);
            Some((key.assume_init(), value.assume_init()))
        }
    }
}

impl Drop for MapPairs {
    fn drop(&mut self) {
        // SAFETY: created in `new` and destroyed only here.
        unsafe { enif_map_iterator_destroy(self.env, &mut self.iter) }
    }
}

/// A term in external term format, for what no other call can tell.
pub(super) struct ExternalTerm(ErlNifBinary);

impl ExternalTerm {
    pub(super) fn of(env: *mut ErlNifEnv, term: ErlNifTerm) -> Option<Self> {
        let mut binary = MaybeUninit::uninit();
        // SAFETY: `env` and `term` are valid; the binary is written, and then ours to release,
        // when the result is not 0.
        unsafe {
            (enif_term_to_binary(env, term, binary.as_mut_ptr()) != 0)
                .then(|| Self(binary.assume_init()))
        }
    }

    /// Sign and magnitude of a big integer.
    pub(super) fn big(&self) -> Option<(bool, &[u8])> {
        match as_bytes(&self.0) {
            // SMALL_BIG_EXT and LARGE_BIG_EXT
            [131, 110, _, sign, magnitude @ ..] | [131, 111, _, _, _, _, sign, magnitude @ ..] => {
                Some((*sign != 0, magnitude))
            }
            _ => None,
        }
    }

    /// The name of an atom that is not Latin-1.
    pub(super) fn atom(&self) -> Option<&str> {
        match as_bytes(&self.0) {
            // SMALL_ATOM_UTF8_EXT and ATOM_UTF8_EXT
            [131, 119, _, name @ ..] | [131, 118, _, _, name @ ..] => {
                std::str::from_utf8(name).ok()
            }
            _ => None,
        }
    }
}

impl Drop for ExternalTerm {
    fn drop(&mut self) {
        // SAFETY: made by `enif_term_to_binary` and released only here.
        unsafe { enif_release_binary(&mut self.0) }
    }
}
