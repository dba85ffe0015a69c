//! What a process waits for.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Wakes one process.
#[derive(Default)]
pub(crate) struct Wakeup {
    notify: Notify,
    dead: AtomicBool,
}

impl Wakeup {
    pub(crate) fn notify(&self) {
        self.notify.notify_one();
    }

    /// Since it was here the last time, or from now on.
    pub(crate) async fn notified(&self) {
        self.notify.notified().await;
    }

    /// The process is dead.
    pub(crate) fn die(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }
}
