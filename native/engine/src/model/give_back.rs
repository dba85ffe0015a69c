//! Memory that is free but stays: where many connections have closed it is scattered, and where large messages went
//! the C library keeps some for the next. It goes back to the system only when somebody asks for that.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::world::task;
use crate::world::time;

/// So many connections must have closed.
const MANY: u32 = 1000;

/// None has closed for so long: the rest stays for a while.
const QUIET: Duration = Duration::from_secs(1);

/// So often that is waited for, at most.
const MAX_WAITS: u32 = 10;

/// Bytes that were read or written at once, from which on they count as large.
const LARGE: usize = 16 * 1024;

/// Nothing large has come or gone for so long.
const IDLE: Duration = Duration::from_secs(10);

/// What a shard has seen since memory was given back.
#[derive(Default)]
pub(crate) struct GiveBack {
    closed: Cell<u32>,
    waiting: Cell<bool>,
    /// Something large has come or gone since the last look.
    large: Cell<bool>,
    looking: Cell<bool>,
}

impl GiveBack {
    /// A connection has closed. When it was one of many, and no more close, `after` is called on a thread
    /// that may take its time.
    pub(crate) fn connection_closed(self: &Rc<Self>, after: fn()) {
        self.closed.set(self.closed.get().saturating_add(1));
        if self.closed.get() < MANY || self.waiting.replace(true) {
            return;
        }
        let counter = self.clone();
        task::spawn_local(async move {
            for _ in 0..MAX_WAITS {
                let before = counter.closed.get();
                time::sleep(QUIET).await;
                if counter.closed.get() == before {
                    break;
                }
            }
            counter.closed.set(0);
            let _ = task::spawn_blocking(after).await;
            counter.waiting.set(false);
        });
    }

    /// So much has come or gone at once. When nothing large does any more, `after` is called, as above.
    #[inline]
    pub(crate) fn moved(self: &Rc<Self>, bytes: usize, after: fn()) {
        if bytes >= LARGE && !self.large.replace(true) {
            self.look(IDLE, after);
        }
    }

    fn look(self: &Rc<Self>, idle: Duration, after: fn()) {
        if self.looking.replace(true) {
            return;
        }
        let counter = self.clone();
        task::spawn_local(async move {
            while counter.large.replace(false) {
                time::sleep(idle).await;
            }
            let _ = task::spawn_blocking(after).await;
            counter.looking.set(false);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn run(work: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build_local(Default::default())
            .unwrap();
        runtime.block_on(work);
    }

    #[test]
    fn many_that_close_are_one_call() {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        let call = || {
            CALLS.fetch_add(1, Ordering::SeqCst);
        };
        run(async {
            let counter = Rc::new(GiveBack::default());
            let close = |count: u32| (0..count).for_each(|_| counter.connection_closed(call));
            close(MANY - 1);
            assert!(!counter.waiting.get());
            close(1);
            assert!(counter.waiting.get());
            close(1);
            let told = async {
                while counter.waiting.get() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(QUIET * 20, told).await.unwrap();
            assert_eq!(CALLS.load(Ordering::SeqCst), 1);
            close(MANY - 1);
            assert!(!counter.waiting.get());
            close(1);
            assert!(counter.waiting.get());
        });
    }

    #[test]
    fn a_large_transfer_gives_memory_back_once_it_is_over() {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        let call = || {
            CALLS.fetch_add(1, Ordering::SeqCst);
        };
        run(async {
            let counter = Rc::new(GiveBack::default());
            counter.moved(LARGE - 1, call);
            assert!(!counter.looking.get(), "not large");
            for times in 1..3 {
                counter.large.set(true);
                counter.look(Duration::from_millis(1), call);
                let told = async {
                    while counter.looking.get() {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                };
                tokio::time::timeout(Duration::from_secs(20), told)
                    .await
                    .unwrap();
                assert_eq!(CALLS.load(Ordering::SeqCst), times);
            }
        });
    }

    #[test]
    fn a_large_transfer_in_progress_gives_nothing_back() {
        let called = || unreachable!("an hour has not passed");
        run(async {
            let counter = Rc::new(GiveBack::default());
            for _ in 0..3 {
                counter.moved(LARGE, called);
                assert!(counter.large.get() && counter.looking.get());
                // The task looks, and sleeps.
                tokio::task::yield_now().await;
                assert!(counter.looking.get());
            }
            assert!(counter.large.get(), "seen while it slept");
        });
    }
}
