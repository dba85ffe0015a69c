//! The library and the VM, for all servers: messages, monitors, the one engine of a node.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) mod backlog;
pub(crate) mod memory;
pub(crate) mod monitor;
pub(crate) mod process;
pub(crate) mod reply;
pub(crate) mod running;

/// What our locks guard is whole between any two statements: a panic of a holder spoils nothing.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
