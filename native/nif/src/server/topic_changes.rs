//! What a process is told of topics: once that there is news, and of which topics when it asks.
//!
//! Who subscribes and unsubscribes is faster than who must tell other nodes of it. So a topic is
//! noted once, however often it changes, and too many of them are one note: look at all.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard};

use rustler::LocalPid;
use rustler::sys::ErlNifTerm;

use crate::atoms;
use crate::terms::Builder;
use crate::vm::lock;

/// Topics that are noted one by one.
const MOST: usize = 4096;
/// Names that are taken at once.
const BATCH: usize = 256;

#[derive(Default)]
pub(crate) struct TopicChanges {
    noted: Mutex<ChangedTopics>,
}

#[derive(Default)]
struct ChangedTopics {
    watcher: Option<LocalPid>,
    names: HashSet<Box<[u8]>>,
    too_many: bool,
}

/// What has been noted.
pub(crate) enum TakenChanges {
    /// Some topics, and whether there are more.
    Names(Vec<Box<[u8]>>, bool),
    /// Any topic may have changed.
    All,
}

impl TopicChanges {
    fn open(&self) -> MutexGuard<'_, ChangedTopics> {
        lock(&self.noted)
    }

    /// This process is told from now on, instead of another.
    pub(crate) fn watch(&self, pid: LocalPid) {
        *self.open() = ChangedTopics {
            watcher: Some(pid),
            ..ChangedTopics::default()
        };
    }

    /// Notes a topic. Some if a process must be told that there is news.
    pub(crate) fn note(&self, name: &[u8]) -> Option<LocalPid> {
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

    pub(crate) fn take(&self) -> TakenChanges {
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

/// Tells a process that first subscriptions of topics have come, or last ones have gone.
pub(crate) fn changed(b: Builder, server: u64) -> ErlNifTerm {
    b.tuple([b.atom(atoms::sockeye_topics()), b.integer(server)])
}
