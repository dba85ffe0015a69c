//! Keys that a text has already: the same term need not be looked into again.

use std::ops::Range;

use rustler::sys::ErlNifTerm;

use crate::terms::word;

/// How many are remembered: a power of 2.
const REMEMBERED: usize = 64;

#[derive(Clone, Copy)]
struct Seen {
    term: usize,
    /// Which text: terms of others may be gone.
    text: u64,
    start: u32,
    end: u32,
}

/// Where the keys of a text stand in the output.
pub(super) struct Keys {
    text: u64,
    seen: [Seen; REMEMBERED],
}

impl Keys {
    pub(super) const fn new() -> Self {
        let none = Seen {
            term: 0,
            text: 0,
            start: 0,
            end: 0,
        };
        Self {
            text: 1,
            seen: [none; REMEMBERED],
        }
    }

    /// A new text begins.
    pub(super) fn forget(&mut self) {
        self.text += 1;
    }

    /// Where this key stands in the output.
    #[inline]
    pub(super) fn find(&self, key: ErlNifTerm) -> Option<Range<usize>> {
        let term = word(key);
        match self.seen.get(place(term)) {
            Some(seen) if seen.term == term && seen.text == self.text => {
                Some(seen.start as usize..seen.end as usize)
            }
            _ => None,
        }
    }

    #[inline]
    pub(super) fn remember(&mut self, key: ErlNifTerm, written: Range<usize>) {
        let term = word(key);
        let (Ok(start), Ok(end)) = (u32::try_from(written.start), u32::try_from(written.end))
        else {
            return;
        };
        if let Some(seen) = self.seen.get_mut(place(term)) {
            *seen = Seen {
                term,
                text: self.text,
                start,
                end,
            };
        }
    }
}

#[inline]
fn place(term: usize) -> usize {
    ((term as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize % REMEMBERED
}
