//! How far callers may be ahead of a shard.
//!
//! A shard takes every call, in one order: only the queue of a connection refuses anything. Who finds more calls
//! before its own than may wait is told, and waits until its own has been carried out before it makes another. So
//! what waits is bounded, by a number of calls and one of each caller, and costs time instead of data.

use crate::engine::Engine;
use crate::op::Op;

/// Calls that may wait for a shard before callers have to wait too.
pub const CALLS: usize = 8192;

/// Bytes of frames for many connections that may wait for a shard before those who send such frames have to
/// wait too.
pub const FRAMES: usize = 16 << 20;

/// Some of the shards of an engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shards(u64);

impl Shards {
    /// The shard of this index alone.
    pub fn one(index: usize) -> Self {
        let mut shards = Shards::default();
        shards.insert(index);
        shards
    }

    /// The shards whose bits are set.
    pub fn from_bits(bits: u64) -> Self {
        Shards(bits)
    }

    /// A bit for each, the first shard's being the lowest.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Adds the shard of this index.
    pub fn insert(&mut self, index: usize) {
        self.0 |= 1u64.checked_shl(index as u32).unwrap_or(0);
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Their indexes.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..u64::BITS as usize).filter(move |index| self.0 >> index & 1 == 1)
    }
}

/// What a call brings to a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Something for one connection.
    Call,
    /// A frame for many.
    Frame,
}

/// Told once: when its turn comes, or when the shard ends.
pub(crate) struct Told(Option<Box<dyn FnOnce() + Send>>);

impl Told {
    fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell();
        }
    }
}

impl Engine {
    /// Of the shards that a call gave something to, those that have more to do than may wait: its caller is to
    /// wait for [`Engine::when_done`] before it makes another.
    pub fn crowded(&self, shards: Shards, load: Load) -> Shards {
        let mut crowded = Shards::default();
        for index in shards.iter() {
            if self
                .shard(index)
                .is_some_and(|shard| shard.is_crowded(load))
            {
                crowded.insert(index);
            }
        }
        crowded
    }

    /// Has it told, on the thread of each of these shards, when it has carried out what was handed over until
    /// now, or ends. Returns how many will tell: a shard that has ended will not.
    pub fn when_done(&self, shards: Shards, tell: impl Fn() -> Box<dyn FnOnce() + Send>) -> usize {
        let mut count = 0;
        for shard in shards.iter().filter_map(|index| self.shard(index)) {
            match shard.submit(Op::Tell(Told(Some(tell())))) {
                Ok(()) => {
                    shard.count_delayed();
                    count += 1;
                }
                Err(Op::Tell(told)) => told.forget(),
                Err(_) => {}
            }
        }
        count
    }

    /// Calls that wait for a shard now.
    pub fn queued_calls(&self) -> usize {
        self.handles().map(|shard| shard.queued()).sum()
    }

    /// How often a caller was asked to wait.
    pub fn delayed_calls(&self) -> u64 {
        self.handles().map(|shard| shard.delayed()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_shards() {
        let mut shards = Shards::one(0);
        shards.insert(63);
        shards.insert(64);
        assert_eq!(shards.iter().collect::<Vec<_>>(), [0, 63]);
        assert_eq!(shards.len(), 2);
        assert_eq!(Shards::from_bits(shards.bits()), shards);
        assert!(!shards.is_empty() && Shards::default().is_empty());
    }

    #[test]
    fn told_once_or_forgotten() {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicUsize, Ordering};
        let count = Arc::new(AtomicUsize::new(0));
        let told = || {
            let count = count.clone();
            Told(Some(Box::new(move || {
                count.fetch_add(1, Ordering::Relaxed);
            })))
        };
        drop(told());
        assert_eq!(count.load(Ordering::Relaxed), 1);
        told().forget();
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }
}
