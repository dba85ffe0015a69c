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
pub(crate) struct CallId(u64);

impl CallId {
    /// For terms of one environment only.
    pub(crate) fn new() -> Self {
        CallId(CALLS.with(|calls| {
            calls.set(calls.get() + 1);
            calls.get()
        }))
    }
}

/// What kinds of terms some keys are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) struct KeyKinds(u8);

impl KeyKinds {
    pub(super) const INTEGER: KeyKinds = KeyKinds(1);
    pub(super) const ATOM: KeyKinds = KeyKinds(2);
    pub(super) const BINARY: KeyKinds = KeyKinds(4);

    pub(super) fn and(self, other: KeyKinds) -> KeyKinds {
        KeyKinds(self.0 | other.0)
    }

    pub(super) fn are_several(self) -> bool {
        !self.0.is_power_of_two()
    }
}

#[derive(Clone, Copy)]
struct CachedText {
    term: usize,
    /// Terms of other calls may be gone.
    call: CallId,
    kind: KeyKinds,
    len: u8,
    written: [u8; LONGEST],
}

/// What keys became.
pub(super) struct KeyCache {
    seen: [CachedText; REMEMBERED],
}

impl KeyCache {
    pub(super) const fn new() -> Self {
        let none = CachedText {
            term: 0,
            call: CallId(0),
            kind: KeyKinds::BINARY,
            len: 0,
            written: [0; LONGEST],
        };
        Self {
            seen: [none; REMEMBERED],
        }
    }

    /// The key as it was written, with quotes and colon.
    #[inline]
    pub(super) fn find(&self, call: CallId, key: ErlNifTerm) -> Option<(&[u8], KeyKinds)> {
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
    pub(super) fn remember(
        &mut self,
        call: CallId,
        key: ErlNifTerm,
        written: &[u8],
        kind: KeyKinds,
    ) {
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
