//! Many connections that leave: their memory is scattered, and goes back to the system only when
//! somebody asks for that.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// So many must have left.
const MANY: u32 = 1000;

/// Nobody has left for so long: the rest will stay for a while.
const QUIET: Duration = Duration::from_secs(1);

/// So often that is waited for.
const PATIENCE: u32 = 10;

/// Counts those of a shard that have left.
#[derive(Default)]
pub(crate) struct Crowd {
    left: Cell<u32>,
    waiting: Cell<bool>,
}

impl Crowd {
    /// One has left. When it was one of many, and it is quiet again, `after` is called on a thread
    /// that may take its time.
    pub(crate) fn one_left(self: &Rc<Self>, after: fn()) {
        self.left.set(self.left.get().saturating_add(1));
        if self.left.get() < MANY || self.waiting.replace(true) {
            return;
        }
        let crowd = self.clone();
        tokio::task::spawn_local(async move {
            for _ in 0..PATIENCE {
                let before = crowd.left.get();
                tokio::time::sleep(QUIET).await;
                if crowd.left.get() == before {
                    break;
                }
            }
            crowd.left.set(0);
            let _ = tokio::task::spawn_blocking(after).await;
            crowd.waiting.set(false);
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
    fn a_crowd_that_has_left_is_told_of_once() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build_local(Default::default())
            .unwrap();
        runtime.block_on(async {
            let crowd = Rc::new(Crowd::default());
            let leave = |count: u32| (0..count).for_each(|_| crowd.one_left(call));
            leave(MANY - 1);
            assert!(!crowd.waiting.get());
            leave(1);
            assert!(crowd.waiting.get());
            leave(1);
            let told = async {
                while crowd.waiting.get() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(QUIET * 20, told).await.unwrap();
            assert_eq!(CALLS.load(Ordering::SeqCst), 1);
            leave(MANY - 1);
            assert!(!crowd.waiting.get());
            leave(1);
            assert!(crowd.waiting.get());
        });
    }
}
