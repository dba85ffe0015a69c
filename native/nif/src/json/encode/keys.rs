//! Keys that a call has written before: the same term need not be looked into again.

use std::cell::Cell;

use rustler::sys::ErlNifTerm;

use crate::terms::word;

/// How many are remembered: a power of 2.
const REMEMBERED: usize = 64;
/// Longest key that is, with quotes and colon.
const LONGEST: usize = 46;

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

/// What kinds of terms some keys are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) struct Kinds(u8);

impl Kinds {
    pub(super) const INTEGER: Kinds = Kinds(1);
    pub(super) const ATOM: Kinds = Kinds(2);
    pub(super) const BINARY: Kinds = Kinds(4);

    pub(super) fn and(self, other: Kinds) -> Kinds {
        Kinds(self.0 | other.0)
    }

    pub(super) fn are_several(self) -> bool {
        !self.0.is_power_of_two()
    }
}

#[derive(Clone, Copy)]
struct Seen {
    term: usize,
    /// Terms of other calls may be gone.
    call: Call,
    kind: Kinds,
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
            kind: Kinds::BINARY,
            len: 0,
            written: [0; LONGEST],
        };
        Self {
            seen: [none; REMEMBERED],
        }
    }

    /// The key as it was written, with quotes and colon.
    #[inline]
    pub(super) fn find(&self, call: Call, key: ErlNifTerm) -> Option<(&[u8], Kinds)> {
        let term = word(key);
        match self.seen.get(place(term)) {
            Some(seen) if seen.term == term && seen.call == call => {
                let written = seen.written.get(..usize::from(seen.len))?;
                Some((written, seen.kind))
            }
            _ => None,
        }
    }

    #[inline]
    pub(super) fn remember(&mut self, call: Call, key: ErlNifTerm, written: &[u8], kind: Kinds) {
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
        seen.kind = kind;
        // No more than LONGEST.
        seen.len = written.len() as u8;
    }
}

#[inline]
fn place(term: usize) -> usize {
    ((term as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize % REMEMBERED
}
