//! Times in buckets of some 3 %: small enough to stay in a cache.

use std::time::Duration;

/// Buckets to each doubling.
const STEPS: u64 = 32;

pub(crate) struct Histogram {
    buckets: Vec<u32>,
    total: u64,
}

impl Histogram {
    pub(crate) fn new() -> Histogram {
        Histogram {
            buckets: vec![0; bucket(u64::MAX) + 1],
            total: 0,
        }
    }

    pub(crate) fn add(&mut self, time: Duration) {
        self.buckets[bucket(time.as_micros() as u64)] += 1;
        self.total += 1;
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The time in microseconds that a share (0 to 1) of all stays at or below; 0 when there is none.
    pub(crate) fn percentile(&self, share: f64) -> u64 {
        let mut left = (self.total as f64 * share).ceil() as u64;
        for (n, count) in self.buckets.iter().enumerate() {
            left = left.saturating_sub(u64::from(*count));
            if left == 0 {
                return lowest(n as u64);
            }
        }
        0
    }
}

fn bucket(us: u64) -> usize {
    if us < STEPS {
        return us as usize;
    }
    let shift = u64::from(us.ilog2() - STEPS.ilog2());
    (shift * STEPS + (us >> shift)) as usize
}

/// The lowest time that falls into a bucket.
fn lowest(bucket: u64) -> u64 {
    if bucket < STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    (bucket - shift * STEPS) << shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous_and_close() {
        let mut last = 0;
        for us in 0..100_000 {
            let n = bucket(us);
            assert!(n == last || n == last + 1, "{us}");
            assert!(lowest(n as u64) <= us && us - lowest(n as u64) <= us / 32);
            last = n;
        }
    }

    #[test]
    fn percentiles() {
        let mut times = Histogram::new();
        assert_eq!(times.percentile(0.5), 0);
        for us in 1..=20 {
            times.add(Duration::from_micros(us));
        }
        assert_eq!(times.percentile(0.5), 10);
        assert_eq!(times.percentile(0.99), 20);
    }
}
