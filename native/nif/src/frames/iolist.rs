//! Bytes out of io lists.

use rustler::sys::{ErlNifBinary, ErlNifTerm, enif_inspect_iolist_as_binary};

use crate::terms::Builder;

/// Whether walking this much of an io list does not reach its end.
pub(crate) fn iolist_exceeds(b: Builder<'_>, term: ErlNifTerm, limit: usize) -> bool {
    // A byte of a list is two steps: its cell, and itself.
    let most = limit.saturating_mul(2).saturating_add(64).min(16 * 1024);
    let mut open = vec![term];
    let (mut size, mut steps) = (0usize, 0usize);
    while let Some(next) = open.pop() {
        steps += 1;
        if size > limit || steps > most {
            return true;
        }
        if let Some(bytes) = b.bytes(next) {
            size += bytes.len();
        } else if let Some((head, tail)) = b.cell(next) {
            open.push(tail);
            open.push(head);
        } else if !b.is_nil(next) {
            size += 1;
        }
    }
    size > limit
}

/// The bytes of an io list. They live as long as the environment.
pub(crate) fn flatten(b: Builder<'_>, term: ErlNifTerm) -> Option<&[u8]> {
    let mut binary = std::mem::MaybeUninit::<ErlNifBinary>::uninit();
    // SAFETY: set when the result is not 0; the data lives until the call ends, and with it the
    // environment.
    unsafe {
        if enif_inspect_iolist_as_binary(b.env, term, binary.as_mut_ptr()) == 0 {
            return None;
        }
        let binary = binary.assume_init();
        if binary.size == 0 {
            return Some(&[]);
        }
        Some(std::slice::from_raw_parts(binary.data, binary.size))
    }
}
