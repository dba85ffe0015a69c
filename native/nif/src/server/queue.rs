//! A queue of inboxes that have something, and the process that serves it.
//!
//! `native/loom` explores what threads hand to each other here.

use std::collections::VecDeque;

use super::sync::atomic::{AtomicBool, Ordering};
use super::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What stands in a queue.
pub(crate) trait Queued {
    /// Whether it is in its queue.
    fn queued(&self) -> &AtomicBool;
}

/// What one process serves, and who it is.
pub(crate) struct Queue<Inbox, Process> {
    inboxes: Mutex<VecDeque<Arc<Inbox>>>,
    /// The process has been told that there is something, and has not seen the queue empty since.
    told: AtomicBool,
    process: Mutex<Option<Process>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<Inbox: Queued, Process: Clone> Queue<Inbox, Process> {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Queue {
            inboxes: Mutex::new(VecDeque::new()),
            told: AtomicBool::new(false),
            process: Mutex::new(None),
        }
    }

    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Queue {
            inboxes: Mutex::new(VecDeque::new()),
            told: AtomicBool::new(false),
            process: Mutex::new(None),
        }
    }

    pub(crate) fn put(&self, inbox: Arc<Inbox>) {
        if !inbox.queued().swap(true, Ordering::SeqCst) {
            lock(&self.inboxes).push_back(inbox);
        }
    }

    /// This process serves the queue from now on. It looks without being told.
    pub(crate) fn begin(&self, process: Process) {
        *lock(&self.process) = Some(process);
        self.told.store(true, Ordering::SeqCst);
    }

    /// Has the process told that there is something, unless it has been.
    pub(crate) fn tell(&self, tell: impl FnOnce(Process)) {
        if self.told.swap(true, Ordering::SeqCst) {
            return;
        }
        let process = lock(&self.process).clone();
        if let Some(process) = process {
            tell(process);
        }
    }

    pub(crate) fn next(&self) -> Option<Arc<Inbox>> {
        let mut inboxes = lock(&self.inboxes);
        let inbox = inboxes.pop_front();
        match &inbox {
            Some(inbox) => inbox.queued().store(false, Ordering::SeqCst),
            // Whoever puts something in from now on tells.
            None => self.told.store(false, Ordering::SeqCst),
        }
        inbox
    }
}
