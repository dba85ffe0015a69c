//! Changes of topics for a process: it is notified once that there are some, and asks which.
//!
//! Who subscribes and unsubscribes is faster than who must tell other nodes of it. So a topic is
//! noted once, however often it changes, and too many of them are one note: look at all.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::atoms::Atom;
use crate::write::Writer;

/// Topics that are noted one by one.
const MOST: usize = 4096;
/// Names that are taken at once.
const BATCH: usize = 256;

/// The topics of a server; `P` names the process that is told.
pub struct TopicChanges<P> {
    noted: Mutex<ChangedTopics<P>>,
}

impl<P> Default for TopicChanges<P> {
    fn default() -> Self {
        TopicChanges {
            noted: Mutex::new(ChangedTopics::of(None)),
        }
    }
}

struct ChangedTopics<P> {
    watcher: Option<P>,
    names: HashSet<Box<[u8]>>,
    too_many: bool,
}

/// What has been noted.
pub enum TakenChanges {
    /// Some topics, and whether there are more.
    Names(Vec<Box<[u8]>>, bool),
    /// Any topic may have changed.
    All,
}

impl<P> ChangedTopics<P> {
    fn of(watcher: Option<P>) -> Self {
        ChangedTopics {
            watcher,
            names: HashSet::new(),
            too_many: false,
        }
    }
}

impl<P: Copy> TopicChanges<P> {
    fn open(&self) -> MutexGuard<'_, ChangedTopics<P>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This process is told from now on, instead of another.
    pub fn watch(&self, process: P) {
        *self.open() = ChangedTopics::of(Some(process));
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
    pub fn take(&self) -> TakenChanges {
        let mut noted = self.open();
        if std::mem::take(&mut noted.too_many) {
            return TakenChanges::All;
        }
        let names: Vec<_> = noted.names.extract_if(|_| true).take(BATCH).collect();
        let more = !noted.names.is_empty();
        if !more {
            noted.names = HashSet::new();
        }
        TakenChanges::Names(names, more)
    }
}

/// Tells a process that first subscriptions of topics have come, or last ones have gone: `{sockeye_topics, Server}`
pub fn changed<W: Writer>(w: &mut W, server: u64) -> W::Term {
    w.tuple(2);
    let parts = [w.atom(Atom::sockeye_topics), w.integer(server)];
    w.end_tuple(&parts)
}
