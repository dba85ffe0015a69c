//! Many connections that close at about the same time: their memory is scattered, and goes back to the system only
//! when somebody asks for that.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::world::task;
use crate::world::time;

/// So many must have closed.
const MANY: u32 = 1000;

/// None has closed for so long: the rest stays for a while.
const QUIET: Duration = Duration::from_secs(1);

/// So often that is waited for, at most.
const MAX_WAITS: u32 = 10;

/// Counts the connections of a shard that have closed.
#[derive(Default)]
pub(crate) struct MassDisconnect {
    closed: Cell<u32>,
    waiting: Cell<bool>,
}

impl MassDisconnect {
    /// One has closed. When it was one of many, and no more close, `after` is called on a thread
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
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    static CALLS: AtomicUsize = AtomicUsize::new(0);

    fn call() {
        CALLS.fetch_add(1, Ordering::SeqCst);
    }

    #[test]
    fn many_that_close_are_one_call() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build_local(Default::default())
            .unwrap();
        runtime.block_on(async {
            let counter = Rc::new(MassDisconnect::default());
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
}
