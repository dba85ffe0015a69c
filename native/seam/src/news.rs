//! What a process is told of topics: once that there is news, and of which topics when it asks.
//!
//! Who subscribes and unsubscribes is faster than who must tell other nodes of it. So a topic is
//! noted once, however often it changes, and too many of them are one note: look at all.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Topics that are noted one by one.
const MOST: usize = 4096;
/// Names that are taken at once.
const BATCH: usize = 256;

/// The topics of a server; `P` names the process that is told.
pub struct News<P> {
    noted: Mutex<Noted<P>>,
}

impl<P> Default for News<P> {
    fn default() -> Self {
        News {
            noted: Mutex::new(Noted::of(None)),
        }
    }
}

struct Noted<P> {
    watcher: Option<P>,
    names: HashSet<Box<[u8]>>,
    too_many: bool,
}

/// What has been noted.
pub enum Taken {
    /// Some topics, and whether there are more.
    Names(Vec<Box<[u8]>>, bool),
    /// Any topic may have changed.
    All,
}

impl<P> Noted<P> {
    fn of(watcher: Option<P>) -> Self {
        Noted {
            watcher,
            names: HashSet::new(),
            too_many: false,
        }
    }
}

impl<P: Copy> News<P> {
    fn open(&self) -> MutexGuard<'_, Noted<P>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This process is told from now on, instead of another.
    pub fn watch(&self, process: P) {
        *self.open() = Noted::of(Some(process));
    }

    /// Notes a topic. Some if a process must be told that there is news.
    pub fn note(&self, name: &[u8]) -> Option<P> {
        let mut noted = self.open();
        let watcher = noted.watcher?;
        if noted.too_many || noted.names.contains(name) {
            return None;
        }
        let first = noted.names.is_empty();
        if noted.names.len() < MOST {
            noted.names.insert(name.into());
        } else {
            noted.names = HashSet::new();
            noted.too_many = true;
        }
        first.then_some(watcher)
    }

    /// What has been noted since.
    pub fn take(&self) -> Taken {
        let mut noted = self.open();
        if std::mem::take(&mut noted.too_many) {
            return Taken::All;
        }
        let names: Vec<_> = noted.names.extract_if(|_| true).take(BATCH).collect();
        let more = !noted.names.is_empty();
        if !more {
            noted.names = HashSet::new();
        }
        Taken::Names(names, more)
    }
}
