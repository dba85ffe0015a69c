//! Work that runs when the last clone of a value is dropped.

use std::sync::{Arc, Mutex, PoisonError};

/// Done when the last of its clones is dropped.
pub(crate) struct OnLastDrop(Mutex<Option<Job>>);

pub(crate) type Job = Box<dyn FnOnce() + Send>;

impl OnLastDrop {
    pub(crate) fn new(job: impl FnOnce() + Send + 'static) -> Arc<Self> {
        Arc::new(OnLastDrop(Mutex::new(Some(Box::new(job)))))
    }
}

impl Drop for OnLastDrop {
    fn drop(&mut self) {
        let job = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(job) = job.take() {
            job();
        }
    }
}
