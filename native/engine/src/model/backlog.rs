//! Backpressure on callers: how far they may be ahead of a shard.
//!
//! A shard takes every call, in one order: only the queue of a connection refuses anything. Who finds more calls
//! before its own than may wait is told, and waits until its own has been carried out before it makes another. So
//! what waits is bounded, by a number of calls and one of each caller, and costs time instead of data.

/// Calls that may wait for a shard before callers have to wait too.
pub const CALLS: usize = 8192;

/// Bytes of frames for many connections that may wait for a shard before those who send such frames have to
/// wait too.
pub const FRAMES: usize = 16 << 20;

/// Some of the shards of an engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardSet(u64);

impl ShardSet {
    /// The shard of this index alone.
    pub fn one(index: usize) -> Self {
        let mut shards = ShardSet::default();
        shards.insert(index);
        shards
    }

    /// The shards whose bits are set.
    pub fn from_bits(bits: u64) -> Self {
        ShardSet(bits)
    }

    /// A bit for each, the first shard's being the lowest.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Adds the shard of this index.
    pub fn insert(&mut self, index: usize) {
        self.0 |= 1u64.checked_shl(index as u32).unwrap_or(0);
    }

    /// Adds those of another set.
    pub fn add(&mut self, others: ShardSet) {
        self.0 |= others.0;
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
pub enum CallKind {
    /// Something for one connection.
    Single,
    /// A frame for many.
    Fanout,
}

/// Told once, on a shard's thread.
pub type Done = Box<dyn FnOnce() + Send>;

/// Told once: when its turn comes, or when the shard ends.
pub(crate) struct Signal(Option<Done>);

impl Signal {
    pub(crate) fn new(tell: Done) -> Self {
        Signal(Some(tell))
    }

    /// It will not be told.
    pub(crate) fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_shards() {
        let mut shards = ShardSet::one(0);
        shards.insert(63);
        shards.insert(64);
        assert_eq!(shards.iter().collect::<Vec<_>>(), [0, 63]);
        assert_eq!(shards.len(), 2);
        assert_eq!(ShardSet::from_bits(shards.bits()), shards);
        assert!(!shards.is_empty() && ShardSet::default().is_empty());
        let mut others = ShardSet::one(5);
        others.add(shards);
        assert_eq!(others.iter().collect::<Vec<_>>(), [0, 5, 63]);
        others.add(ShardSet::one(5));
        assert_eq!(others.len(), 3);
    }

    #[test]
    fn told_once_or_forgotten() {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicUsize, Ordering};
        let count = Arc::new(AtomicUsize::new(0));
        let told = || {
            let count = count.clone();
            Signal::new(Box::new(move || {
                count.fetch_add(1, Ordering::Relaxed);
            }))
        };
        drop(told());
        assert_eq!(count.load(Ordering::Relaxed), 1);
        told().forget();
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }
}
