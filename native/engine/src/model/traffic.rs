//! Counters that each message or read changes.

use crate::world::sync::atomic::{AtomicU64, Ordering};

/// What one shard counts of a server. It has cache lines of its own: all shards do so at the same time.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Traffic {
    pub(crate) frames_in: AtomicU64,
    pub(crate) frames_out: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
}

/// What all shards count.
pub(crate) struct TrafficCounters {
    first: Traffic,
    others: Box<[Traffic]>,
}

impl TrafficCounters {
    /// For so many shards.
    pub(crate) fn new(shards: usize) -> Self {
        TrafficCounters {
            first: Traffic::default(),
            others: (1..shards).map(|_| Traffic::default()).collect(),
        }
    }

    /// What this shard counts. Those beyond the last count with the first.
    pub(crate) fn of(&self, shard: usize) -> &Traffic {
        let other = shard.checked_sub(1).and_then(|at| self.others.get(at));
        other.unwrap_or(&self.first)
    }

    /// Of all shards.
    pub(crate) fn sum(&self, counter: impl Fn(&Traffic) -> &AtomicU64) -> u64 {
        let all = [&self.first].into_iter().chain(&self.others);
        all.fold(0, |sum, traffic| {
            sum.wrapping_add(counter(traffic).load(Ordering::Relaxed))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shard_has_its_own_and_those_beyond_the_first() {
        let traffic = TrafficCounters::new(3);
        for (shard, bytes) in [(0, 1), (1, 10), (2, 100), (3, 1000), (64, 10_000)] {
            let own = traffic.of(shard);
            own.bytes_in.fetch_add(bytes, Ordering::Relaxed);
        }
        let of = |shard: usize| traffic.of(shard).bytes_in.load(Ordering::Relaxed);
        assert_eq!([of(0), of(1), of(2)], [11_001, 10, 100]);
        assert_eq!(traffic.sum(|t| &t.bytes_in), 11_111);
        assert_eq!(traffic.sum(|t| &t.frames_in), 0);
        assert!(size_of::<Traffic>() >= 128);
    }
}
