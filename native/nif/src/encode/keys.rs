//! Keys that a call has written before: the same term need not be looked into again.

use std::cell::Cell;

use rustler::sys::ErlNifTerm;

use crate::terms::word;

/// How many are remembered: a power of 2.
const REMEMBERED: usize = 64;
/// Longest key that is, with quotes and colon.
const LONGEST: usize = 47;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// A call into the library. While it lasts, nothing moves the terms of its environment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call(u64);

impl Call {
    /// For terms of one environment only.
    pub(crate) fn new() -> Self {
        Call(CALLS.with(|calls| {
            calls.set(calls.get() + 1);
            calls.get()
        }))
    }
}

#[derive(Clone, Copy)]
struct Seen {
    term: usize,
    /// Terms of other calls may be gone.
    call: Call,
    len: u8,
    written: [u8; LONGEST],
}

/// What keys became.
pub(super) struct Keys {
    seen: [Seen; REMEMBERED],
}

impl Keys {
    pub(super) const fn new() -> Self {
        let none = Seen {
            term: 0,
            call: Call(0),
            len: 0,
            written: [0; LONGEST],
        };
        Self {
            seen: [none; REMEMBERED],
        }
    }

    /// The key as it was written, with quotes and colon.
    #[inline]
    pub(super) fn find(&self, call: Call, key: ErlNifTerm) -> Option<&[u8]> {
        let term = word(key);
        match self.seen.get(place(term)) {
            Some(seen) if seen.term == term && seen.call == call => {
                seen.written.get(..usize::from(seen.len))
            }
            _ => None,
        }
    }

    #[inline]
    pub(super) fn remember(&mut self, call: Call, key: ErlNifTerm, written: &[u8]) {
        let term = word(key);
        let Some(seen) = self.seen.get_mut(place(term)) else {
            return;
        };
        let Some(room) = seen.written.get_mut(..written.len()) else {
            return;
        };
        room.copy_from_slice(written);
        seen.term = term;
        seen.call = call;
        // No more than LONGEST.
        seen.len = written.len() as u8;
    }
}

#[inline]
fn place(term: usize) -> usize {
    ((term as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize % REMEMBERED
}
