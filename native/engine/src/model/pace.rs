//! The rate of messages from one client: a token bucket, allocated only where a limit is set.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::world::time::{self, Instant, Sleep};

/// A token, in parts: a microsecond brings as many of them as the rate has messages a second.
const TOKEN: u64 = 1_000_000;

/// Waits are this long where a burst fills longer: a flood then wakes its shard a hundred times
/// a second, not once a message.
const NAP: u64 = 10_000;

/// The bound on the messages of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageRate {
    /// Messages a second, in the long run.
    pub rate: u32,
    /// Messages at once.
    pub burst: u32,
    /// Close with 1008 who sends more; otherwise, do not read from it until it may go on.
    pub close: bool,
}

/// Tokens: each message takes one, and time brings them back.
#[derive(Debug)]
struct Bucket {
    rate: u64,
    most: u64,
    level: u64,
}

impl Bucket {
    fn full(rate: MessageRate) -> Self {
        let most = u64::from(rate.burst.max(1)) * TOKEN;
        Bucket {
            rate: rate.rate.max(1).into(),
            most,
            level: most,
        }
    }

    fn refill(&mut self, elapsed: Duration) {
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let more = micros.saturating_mul(self.rate);
        self.level = self.level.saturating_add(more).min(self.most);
    }

    fn has_token(&self) -> bool {
        self.level >= TOKEN
    }

    fn take(&mut self) {
        self.level = self.level.saturating_sub(TOKEN);
    }

    /// How long to wait for the next token, or for as many as a nap brings and the bucket holds.
    fn wait(&self) -> Duration {
        let wanted = (NAP * self.rate).min(self.most).max(TOKEN);
        let missing = wanted.saturating_sub(self.level);
        Duration::from_micros(missing.div_ceil(self.rate))
    }
}

/// The pace of one connection.
pub(crate) struct Pace {
    bucket: Bucket,
    filled: Instant,
    close: bool,
    exceeded: bool,
    /// The wait for the next message that may be delivered.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(crate) fn new(rate: MessageRate) -> Self {
        Pace {
            bucket: Bucket::full(rate),
            filled: Instant::now(),
            close: rate.close,
            exceeded: false,
            sleep: None,
        }
    }

    /// Looks at the clock: once for all that a read brings.
    pub(crate) fn refill(&mut self) {
        let now = Instant::now();
        self.bucket.refill(now.duration_since(self.filled));
        self.filled = now;
    }

    /// Whether the next message may be delivered now.
    pub(crate) fn allows(&self) -> bool {
        self.close || self.bucket.has_token()
    }

    /// Notes that a message has come. True if that is the end of the connection.
    pub(crate) fn exceeds(&mut self) -> bool {
        if self.close {
            self.exceeded |= !self.bucket.has_token();
            self.bucket.take();
        }
        self.exceeded
    }

    pub(crate) fn is_exceeded(&self) -> bool {
        self.exceeded
    }

    /// Notes that a message is delivered.
    pub(crate) fn take(&mut self) {
        if !self.close {
            self.bucket.take();
        }
    }

    /// Waits until more may be delivered. To be called by the task of the connection, while
    /// something waits for that.
    pub(crate) fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.sleep.is_none() {
            self.refill();
            if self.allows() {
                return Poll::Ready(());
            }
        }
        let wait = self.bucket.wait();
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(time::sleep(wait)));
        if sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.sleep = None;
        self.refill();
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(rate: u32, burst: u32) -> Bucket {
        Bucket::full(MessageRate {
            rate,
            burst,
            close: false,
        })
    }

    fn drain(bucket: &mut Bucket) -> u32 {
        let mut n = 0;
        while bucket.has_token() {
            bucket.take();
            n += 1;
        }
        n
    }

    #[test]
    fn a_burst_is_as_large_as_said() {
        for burst in [1, 2, 1000] {
            let mut bucket = bucket(10, burst);
            assert_eq!(drain(&mut bucket), burst);
            bucket.refill(Duration::from_secs(3600));
            assert_eq!(drain(&mut bucket), burst);
        }
    }

    #[test]
    fn a_token_comes_back_at_its_time_and_not_before() {
        let mut bucket = bucket(10, 1);
        bucket.take();
        bucket.refill(Duration::from_micros(99_999));
        assert!(!bucket.has_token());
        assert_eq!(bucket.wait(), Duration::from_micros(1));
        bucket.refill(Duration::from_micros(1));
        assert!(bucket.has_token());
        assert_eq!(drain(&mut bucket), 1);
    }

    #[test]
    fn the_rate_holds_in_the_long_run() {
        let all = [(1, 1), (7, 3), (1000, 1000), (100_000, 5000)];
        for &(rate, burst) in if cfg!(miri) { &all[..2] } else { &all[..] } {
            let mut bucket = bucket(rate, burst);
            drain(&mut bucket);
            let (mut n, mut time) = (0u64, Duration::ZERO);
            while time < Duration::from_secs(10) {
                let wait = bucket.wait();
                assert!(wait > Duration::ZERO);
                time += wait;
                bucket.refill(wait);
                n += u64::from(drain(&mut bucket));
            }
            let expected = time.as_secs_f64() * f64::from(rate);
            assert!(
                (n as f64 - expected).abs() <= 1.0 + expected / 100.0,
                "{rate}: {n} in {time:?}"
            );
        }
    }

    #[test]
    fn a_clock_that_jumps_does_no_harm() {
        let mut bucket = bucket(u32::MAX, u32::MAX);
        bucket.refill(Duration::MAX);
        assert!(bucket.has_token());
        assert!(bucket.wait() <= Duration::from_secs(2));
    }
}
