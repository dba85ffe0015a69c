//! Mutexes that ignore poisoning: a panic elsewhere is no reason to stop.

use std::sync::PoisonError;

use crate::world::sync::{Mutex, MutexGuard};

/// Locks a mutex. After a panic the next one works on with what is there: a panic costs what it met, not the engine.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
