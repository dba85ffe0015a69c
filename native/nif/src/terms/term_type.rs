//! What type a term has, as a number: a newer VM may have types that the enum of the bindings does not name, and a value
//! that an enum does not have is undefined behaviour.

use std::ffi::c_int;

use rustler::sys::{ErlNifEnv, ErlNifTerm};

pub(crate) const ATOM: c_int = 1;
pub(crate) const BITSTRING: c_int = 2;
pub(crate) const FLOAT: c_int = 3;
pub(crate) const INTEGER: c_int = 5;
pub(crate) const LIST: c_int = 6;
pub(crate) const MAP: c_int = 7;
pub(crate) const TUPLE: c_int = 11;

/// The type of a term, one of the above or another.
///
/// # Safety
/// The term belongs to the environment.
#[inline]
pub(crate) unsafe fn term_type(env: *mut ErlNifEnv, term: ErlNifTerm) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { vm::enif_term_type(env, term) }
}

/// Linked by name, as the bindings do it here.
#[cfg(not(any(target_os = "macos", windows)))]
mod vm {
    use super::{ErlNifEnv, ErlNifTerm, c_int};

    unsafe extern "C" {
        pub(super) fn enif_term_type(env: *mut ErlNifEnv, term: ErlNifTerm) -> c_int;
    }
}

/// A library that names functions of its host cannot be linked on macOS: it looks for them, as the bindings do.
#[cfg(target_os = "macos")]
mod vm {
    use std::ffi::{c_char, c_void};
    use std::sync::OnceLock;

    use super::{ErlNifEnv, ErlNifTerm, c_int};

    type TermType = unsafe extern "C" fn(*mut ErlNifEnv, ErlNifTerm) -> c_int;

    unsafe extern "C" {
        fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    }

    /// `RTLD_DEFAULT`: whatever is loaded.
    const ANYWHERE: isize = -2;

    pub(super) unsafe fn enif_term_type(env: *mut ErlNifEnv, term: ErlNifTerm) -> c_int {
        static FOUND: OnceLock<Option<TermType>> = OnceLock::new();
        let found = FOUND.get_or_init(|| {
            // SAFETY: the name ends in a zero, and the function that has it has this type, or there
            // is none.
            unsafe {
                let at = dlsym(ANYWHERE as *mut c_void, c"enif_term_type".as_ptr());
                std::mem::transmute::<*mut c_void, Option<TermType>>(at)
            }
        });
        match found {
            // SAFETY: as the caller promises.
            Some(term_type) => unsafe { term_type(env, term) },
            None => 0,
        }
    }
}

#[cfg(windows)]
mod vm {
    use super::{ErlNifEnv, ErlNifTerm, c_int};

    pub(super) unsafe fn enif_term_type(env: *mut ErlNifEnv, term: ErlNifTerm) -> c_int {
        // SAFETY: as the caller promises. The table that the VM passes has no other way to this function.
        unsafe { rustler::sys::enif_term_type(env, term) as c_int }
    }
}
