//! What has happened, as a hash; and as text, when somebody wants to read it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use crate::with;

/// Lines that are kept.
const KEPT: usize = 20_000;

#[derive(Default)]
pub(crate) struct Trace {
    hash: Cell<u64>,
    wanted: Cell<bool>,
    lines: RefCell<VecDeque<String>>,
}

impl Trace {
    pub(crate) fn clear(&self) {
        self.hash.set(0xCBF2_9CE4_8422_2325);
        self.lines.borrow_mut().clear();
    }
}

/// Whether lines are kept, on this thread.
pub fn keep(wanted: bool) {
    with(|world| world.trace.wanted.set(wanted));
}

/// Adds numbers to the hash.
pub fn mix(numbers: &[u64]) {
    with(|world| {
        let mut hash = world.trace.hash.get();
        for number in numbers {
            hash = (hash ^ number).wrapping_mul(0x0100_0000_01B3);
            hash ^= hash >> 29;
        }
        world.trace.hash.set(hash);
    });
}

/// Notes what has happened. The text is made only if somebody reads it; the hash has it all the same by its numbers.
pub fn note(numbers: &[u64], text: impl FnOnce() -> String) {
    mix(numbers);
    with(|world| {
        if world.trace.wanted.get() {
            let line = format!("{:>13.6} {}", world.now.get() as f64 / 1e9, text());
            let mut lines = world.trace.lines.borrow_mut();
            if lines.len() == KEPT {
                lines.pop_front();
            }
            lines.push_back(line);
        }
    });
}

/// The hash.
pub fn hash() -> u64 {
    with(|world| world.trace.hash.get())
}

/// The lines.
pub fn lines() -> Vec<String> {
    with(|world| world.trace.lines.borrow().iter().cloned().collect())
}
