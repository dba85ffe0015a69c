//! What the engine takes of `world::sync`, made of loom's types.
//!
//! Each place where an ordering is given is a *site*. One site at a time can be weakened, to see which check notices: a place that nobody
//! misses has no check, or needs no order.
//!
//! loom takes an access that is `SeqCst` for `AcqRel`. Here it has a fence as well, in the two ways in which compilers make one: before each
//! access, or behind those that write; each check runs with both. And it lets a store stand before a change (an `fetch_add`, a `swap`) that was made before it, which no machine does: a store is a `swap` here.

pub(crate) mod atomic;
pub(crate) mod channel;
mod notify;

use std::collections::BTreeSet;
use std::panic::Location;
use std::pin::pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex as Plain, OnceLock};
use std::task::{Context, Poll, Wake, Waker};

pub(crate) use loom::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
pub(crate) use notify::Notify;
pub(crate) use std::sync::{Arc, PoisonError};

static SEEN: Plain<BTreeSet<String>> = Plain::new(BTreeSet::new());
static WEAKENED: OnceLock<String> = OnceLock::new();

/// All sites that were passed until now: `engine/src/vm/inbox.rs:225:33 load SeqCst -> Acquire`, with what stands there when it is weakened.
pub fn sites() -> Vec<String> {
    let seen = SEEN.lock().map(|seen| seen.iter().cloned().collect());
    seen.unwrap_or_default()
}

/// Weakens this site in all that follows.
pub fn weaken(site: &str) {
    let _ = WEAKENED.set(site.to_owned());
}

static FENCES_BEHIND: AtomicBool = AtomicBool::new(false);

/// Where an access that is `SeqCst` has its fence.
pub fn set_fences_behind(behind: bool) {
    FENCES_BEHIND.store(behind, std::sync::atomic::Ordering::SeqCst);
}

fn fences_before() -> bool {
    !FENCES_BEHIND.load(std::sync::atomic::Ordering::SeqCst)
}

fn is_weakened(at: &Location<'_>, says: &str, weaker: &str) -> bool {
    let file = at.file().rsplit("../").next().unwrap_or_default();
    let site = format!("{file}:{}:{} {says} -> {weaker}", at.line(), at.column());
    let is = WEAKENED.get() == Some(&site);
    if let Ok(mut seen) = SEEN.lock() {
        seen.insert(site);
    }
    is
}

struct Wakeup(loom::sync::Notify);

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

/// Runs a task on this thread until it is done.
pub(crate) fn block_on<T>(task: impl Future<Output = T>) -> T {
    let wakeup = Arc::new(Wakeup(loom::sync::Notify::new()));
    let waker = Waker::from(wakeup.clone());
    let mut task = pin!(task);
    loop {
        if let Poll::Ready(done) = task.as_mut().poll(&mut Context::from_waker(&waker)) {
            return done;
        }
        wakeup.0.wait();
    }
}
