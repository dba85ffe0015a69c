//! Terms by their names or bytes: atoms that the VM has, and external term format.

use std::mem::MaybeUninit;

use rustler::sys::{
    ERL_NIF_BIN2TERM_SAFE, ErlNifCharEncoding, ErlNifEnv, ErlNifTerm, enif_binary_to_term,
    enif_make_existing_atom_len,
};

#[expect(
    clippy::disallowed_methods,
    reason = "for a text, on a scheduler: integers and atoms"
)]
pub(crate) fn binary_to_term(env: *mut ErlNifEnv, etf: &[u8], options: u32) -> Option<ErlNifTerm> {
    let mut term = MaybeUninit::uninit();
    // SAFETY: `env` is valid for this call, `etf` is read only, and `term` is written when the
    // result is not 0.
    unsafe {
        let read = enif_binary_to_term(env, etf.as_ptr(), etf.len(), term.as_mut_ptr(), options);
        (read != 0).then(|| term.assume_init())
    }
}

/// The atom of this name (at most 255 characters), if the VM has it.
pub(crate) fn atom(env: *mut ErlNifEnv, name: &str) -> Option<ErlNifTerm> {
    if !name.is_ascii() {
        return utf8_atom(env, name);
    }
    let mut atom = MaybeUninit::uninit();
    // SAFETY: `env` is valid for this call and the name is read up to its length only. ASCII is
    // the same in Latin-1, the encoding that every NIF version has.
    unsafe {
        let found = enif_make_existing_atom_len(
            env,
            name.as_ptr().cast(),
            name.len(),
            atom.as_mut_ptr(),
            ErlNifCharEncoding::ERL_NIF_LATIN1,
        );
        (found != 0).then(|| atom.assume_init())
    }
}

/// Before OTP 26 a NIF could name only Latin-1 atoms, so ask for a term that must not make any.
fn utf8_atom(env: *mut ErlNifEnv, name: &str) -> Option<ErlNifTerm> {
    const VERSION: u8 = 131;
    const ATOM_UTF8_EXT: u8 = 118;
    let len = u16::try_from(name.len()).ok()?;
    let [hi, lo] = len.to_be_bytes();
    let mut etf = Vec::with_capacity(4 + name.len());
    etf.extend_from_slice(&[VERSION, ATOM_UTF8_EXT, hi, lo]);
    etf.extend_from_slice(name.as_bytes());
    binary_to_term(env, &etf, ERL_NIF_BIN2TERM_SAFE)
}
