//! What the log is told seldom enough.

use std::time::Duration;

use crate::model::lock::lock;
use crate::world::sync::Mutex;
use crate::world::sync::atomic::{AtomicBool, Ordering};
use crate::world::time::Instant;

/// The log is told again of the same trouble after so long.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// When the log was told of something last.
#[derive(Debug, Default)]
pub(crate) struct LogInterval(Mutex<Option<Instant>>);

impl LogInterval {
    /// Whether to tell it again; then it counts as told.
    pub(crate) fn is_due(&self) -> bool {
        let mut told = lock(&self.0);
        let due = told.is_none_or(|at| at.elapsed() >= LOG_INTERVAL);
        if due {
            *told = Some(Instant::now());
        }
        due
    }
}

/// Trouble that begins and ends: the log is told of both, and of the next one when a minute has passed since the last one began.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    interval: LogInterval,
    is_told: AtomicBool,
}

impl Trouble {
    /// Whether the log is to be told that it begins.
    pub(crate) fn begins(&self) -> bool {
        let is_new = !self.is_told.load(Ordering::SeqCst) && self.interval.is_due();
        is_new && !self.is_told.swap(true, Ordering::SeqCst)
    }

    /// Whether the log is to be told that it is over.
    pub(crate) fn ends(&self) -> bool {
        self.is_told.load(Ordering::SeqCst) && self.is_told.swap(false, Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_once_and_its_end_too() {
        let trouble = Trouble::default();
        assert!(!trouble.ends());
        assert!(trouble.begins() && !trouble.begins());
        assert!(trouble.ends() && !trouble.ends());
        // Within the minute.
        assert!(!trouble.begins() && !trouble.ends());
    }

    #[test]
    fn the_next_trouble_is_told_after_a_minute() {
        let trouble = Trouble::default();
        assert!(trouble.begins() && trouble.ends());
        let told = |ago: Duration| *lock(&trouble.interval.0) = Instant::now().checked_sub(ago);
        told(LOG_INTERVAL - Duration::from_secs(30));
        assert!(!trouble.begins());
        told(LOG_INTERVAL);
        assert!(trouble.begins());
    }
}
