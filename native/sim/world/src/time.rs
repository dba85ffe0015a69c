//! The clock. It moves when the world steps, and when nothing else can happen.

use std::future::poll_fn;
use std::ops::{Add, AddAssign, Sub};
use std::pin::{Pin, pin};
use std::sync::LazyLock;
use std::task::{Context, Poll};
pub use std::time::SystemTime;
use std::time::{Duration, UNIX_EPOCH};

use crate::timers::{self, Key};

/// What the real clock's type shows when this one shows 0.
static BASE: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

/// A tick of tokio's timers: they are never early, and late by this much at most.
const TICK: u64 = 1_000_000;

/// A point in time, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

fn nanos(duration: Duration) -> u64 {
    // Centuries are for ever.
    u64::try_from(duration.as_nanos())
        .unwrap_or(u64::MAX)
        .min(u64::MAX / 4)
}

impl Instant {
    /// Now.
    pub fn now() -> Self {
        Instant(crate::now())
    }

    /// As the standard library has it.
    pub fn into_std(self) -> std::time::Instant {
        *BASE + Duration::from_nanos(self.0)
    }

    /// The time since then.
    pub fn elapsed(self) -> Duration {
        Instant::now().duration_since(self)
    }

    /// The time between the two; none if the other is later.
    pub fn duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The same.
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.duration_since(earlier)
    }

    /// The time so much later.
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        let nanos = u64::try_from(duration.as_nanos()).ok()?;
        self.0.checked_add(nanos).map(Instant)
    }
}

impl From<std::time::Instant> for Instant {
    fn from(instant: std::time::Instant) -> Self {
        Instant(nanos(instant.saturating_duration_since(*BASE)))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Instant(self.0.saturating_add(nanos(duration)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Instant(self.0.saturating_sub(nanos(duration)))
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.duration_since(earlier)
    }
}

/// The time of day: the world begins on the same one each time.
pub fn system_now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000) + Duration::from_nanos(crate::now())
}

/// A wait.
#[derive(Debug)]
pub struct Sleep {
    at: u64,
    key: Option<Key>,
    epoch: u64,
}

impl Sleep {
    fn until(Instant(at): Instant) -> Self {
        Sleep {
            at: at.div_ceil(TICK).saturating_mul(TICK),
            key: None,
            epoch: crate::epoch(),
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if crate::now() >= self.at {
            return Poll::Ready(());
        }
        let renewed = self.key.is_some_and(|key| timers::renew(key, cx.waker()));
        if !renewed {
            self.key = Some(timers::wake_at(self.at, cx.waker()));
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key
            && self.epoch == crate::epoch()
        {
            timers::cancel(key);
        }
    }
}

/// Waits so long.
pub fn sleep(duration: Duration) -> Sleep {
    Sleep::until(Instant::now() + duration)
}

/// Waits until then.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep::until(deadline)
}

/// The time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl std::fmt::Display for Elapsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the time is over")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for std::io::Error {
    fn from(_: Elapsed) -> Self {
        std::io::ErrorKind::TimedOut.into()
    }
}

/// Work that has so long.
pub fn timeout<F: Future>(
    duration: Duration,
    work: F,
) -> impl Future<Output = Result<F::Output, Elapsed>> {
    timeout_at(Instant::now() + duration, work)
}

/// Work that has until then.
pub fn timeout_at<F: Future>(
    deadline: Instant,
    work: F,
) -> impl Future<Output = Result<F::Output, Elapsed>> {
    async move {
        let mut work = pin!(work);
        let mut over = pin!(sleep_until(deadline));
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            over.as_mut().poll(cx).map(|()| Err(Elapsed))
        })
        .await
    }
}
