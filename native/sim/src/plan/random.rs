//! Random numbers and times, with which plans are drawn.

use std::time::Duration;

use sockeye_world::Chance;

/// Nanoseconds of a millisecond.
pub(crate) const MS: u64 = 1_000_000;

pub(crate) fn between(chance: &mut Chance, low: u64, high: u64) -> u64 {
    low + chance.below(high - low + 1)
}

pub(crate) fn millis(chance: &mut Chance, low: u64, high: u64) -> Duration {
    Duration::from_millis(between(chance, low, high))
}
