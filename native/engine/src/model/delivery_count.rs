//! How many connections got a frame, counted over the shards.

use crate::model::lock::lock;
use crate::world::sync::Mutex;
use crate::world::sync::atomic::{AtomicU64, Ordering};

/// Receives how many connections got a frame, and how many did not since their queue was full.
pub type DeliveryCountReply = Box<dyn FnOnce(u64, u64) + Send>;

/// Shared by the shards that have a part in it. The last one to drop it tells the outcome.
pub(crate) struct DeliveryCount {
    sent: AtomicU64,
    dropped: AtomicU64,
    outcome: Mutex<Option<DeliveryCountReply>>,
}

impl DeliveryCount {
    pub(crate) fn new(outcome: DeliveryCountReply) -> Self {
        DeliveryCount {
            sent: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            outcome: Mutex::new(Some(outcome)),
        }
    }

    pub(crate) fn add(&self, sent: u64, dropped: u64) {
        self.sent.fetch_add(sent, Ordering::Relaxed);
        self.dropped.fetch_add(dropped, Ordering::Relaxed);
    }

    /// Nobody will be told.
    pub(crate) fn cancel(&self) {
        lock(&self.outcome).take();
    }
}

impl Drop for DeliveryCount {
    fn drop(&mut self) {
        let outcome = lock(&self.outcome).take();
        if let Some(outcome) = outcome {
            let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
            outcome(read(&self.sent), read(&self.dropped));
        }
    }
}

impl std::fmt::Debug for DeliveryCount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeliveryCount").finish_non_exhaustive()
    }
}
