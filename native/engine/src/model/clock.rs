//! The clock of a shard, in steps of 100 ms.

use std::time::Duration;

/// The step of the clock that closes what has waited too long.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// A duration in steps of the shard's clock, never shorter than it.
pub(crate) fn ticks(duration: Duration) -> u32 {
    let ticks = duration.as_millis().div_ceil(TICK.as_millis()) + 1;
    ticks.min(u128::from(u32::MAX / 2)) as u32
}

/// What the clock shows so many milliseconds after it began.
pub(crate) fn steps(millis: u64) -> u32 {
    (millis / TICK.as_millis() as u64) as u32 + 1
}
