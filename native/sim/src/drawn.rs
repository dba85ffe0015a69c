//! What the plans of all parts of a world are drawn with.

use std::time::Duration;

use sockeye_world::Chance;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Reads {
    #[default]
    Always,
    /// With a pause before each read.
    Slowly(Duration),
    /// So many bytes, and then nothing.
    Until(usize),
}

pub(crate) fn between(chance: &mut Chance, low: u64, high: u64) -> u64 {
    low + chance.below(high - low + 1)
}

pub(crate) fn millis(chance: &mut Chance, low: u64, high: u64) -> Duration {
    Duration::from_millis(between(chance, low, high))
}
