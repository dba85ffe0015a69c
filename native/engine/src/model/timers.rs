//! The deadline of each connection: one number a slot, read in one sweep.

use std::cell::{Cell, RefCell};

/// No timer.
pub(crate) const NEVER: u32 = u32::MAX;

/// How many connections one step of the clock serves at least; the rest follow with the next.
/// Thousands that came together would otherwise all be pinged at once, time and again.
const MOST: usize = 512;

/// The timers of a shard: one for each connection, by slot.
pub(crate) struct Timers {
    due: RefCell<Vec<u32>>,
    /// No timer is before this.
    earliest: Cell<u32>,
    /// Where the next sweep begins, so that all get their turn.
    from: Cell<usize>,
}

impl Default for Timers {
    fn default() -> Self {
        Timers {
            due: RefCell::default(),
            earliest: Cell::new(NEVER),
            from: Cell::new(0),
        }
    }
}

impl Timers {
    /// Sets or moves a timer. True if it is before all others.
    pub(crate) fn set(&self, slot: u32, due: u32) -> bool {
        let slot = slot as usize;
        let mut all = self.due.borrow_mut();
        if slot >= all.len() && due != NEVER {
            all.resize(slot + 1, NEVER);
        }
        if let Some(place) = all.get_mut(slot) {
            *place = due;
        }
        let first = due < self.earliest.get();
        if first {
            self.earliest.set(due);
        }
        first
    }

    /// Whether a slot has a timer.
    #[cfg(sim)]
    pub(crate) fn is_set(&self, slot: u32) -> bool {
        let all = self.due.borrow();
        all.get(slot as usize).is_some_and(|due| *due != NEVER)
    }

    /// When the next one is, at the earliest.
    pub(crate) fn earliest(&self) -> u32 {
        self.earliest.get()
    }

    /// The slots whose time has come; they have no timer from here on.
    pub(crate) fn take(&self, now: u32) -> Vec<u32> {
        let mut slots = Vec::new();
        if self.earliest.get() > now {
            return slots;
        }
        let mut all = self.due.borrow_mut();
        let most = MOST.max(all.len() / 32);
        let from = self.from.get().min(all.len());
        let mut earliest = NEVER;
        let mut last = 0;
        let (before, after) = all.split_at_mut(from);
        let after = after.iter_mut().zip(from..);
        for (due, slot) in after.chain(before.iter_mut().zip(0..)) {
            if *due <= now && slots.len() < most {
                *due = NEVER;
                slots.push(slot as u32);
                last = slot;
            }
            earliest = earliest.min(*due);
        }
        self.earliest.set(earliest);
        self.from
            .set(if slots.len() == most { last + 1 } else { 0 });
        slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_at_less_equal_and_more() {
        let all = Timers::default();
        assert!(all.set(3, 10));
        assert!(!all.set(5, 11));
        assert!(!all.set(6, 10), "not before all others");
        all.set(6, NEVER);
        assert_eq!(all.earliest(), 10);
        assert_eq!(all.take(9), []);
        assert_eq!(all.take(10), [3]);
        assert_eq!(all.earliest(), 11);
        assert_eq!(all.take(12), [5]);
        assert_eq!(all.earliest(), NEVER);
        assert_eq!(all.take(NEVER - 1), []);
    }

    #[test]
    fn a_timer_moves() {
        let all = Timers::default();
        all.set(0, 10);
        all.set(0, 20);
        assert_eq!(all.take(10), []);
        assert_eq!(all.earliest(), 20);
        all.set(0, NEVER);
        assert_eq!(all.take(30), []);
        assert_eq!(all.earliest(), NEVER);
    }

    #[test]
    fn many_are_served_in_turns_and_nobody_is_left_out() {
        let all = Timers::default();
        let count = MOST as u32 * 2 + 10;
        for slot in 0..count {
            all.set(slot, 10);
        }
        // Each is at once due again: the others come first.
        let mut next = 0;
        for now in 10..if cfg!(miri) { 12 } else { 20 } {
            let mut slots = all.take(now);
            let mut expected: Vec<u32> = (0..MOST as u32).map(|n| (next + n) % count).collect();
            for slot in &slots {
                all.set(*slot, 10);
            }
            next = (next + MOST as u32) % count;
            slots.sort_unstable();
            expected.sort_unstable();
            assert_eq!(slots, expected, "{now}");
        }
    }

    #[test]
    fn of_very_many_a_part_is_served() {
        let all = Timers::default();
        let count = MOST as u32 * if cfg!(miri) { 34 } else { 64 };
        for slot in 0..count {
            all.set(slot, 10);
        }
        assert_eq!(all.take(10).len(), count as usize / 32);
    }
}
