//! Communication between threads: atomics, locks, queues, wake-ups. An `Arc` is the standard library's everywhere.

pub(crate) use std::sync::atomic;
pub(crate) use std::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub(crate) use crossbeam_channel as channel;
pub(crate) use tokio::sync::Notify;
