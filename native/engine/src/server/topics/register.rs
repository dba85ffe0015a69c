//! The topics of each connection of a shard.

use std::sync::Arc;

use crate::model::id::ConnId;
use crate::model::lock::lock;
use crate::server::topics::Topic;
use crate::world::collections::HashMap;
use crate::world::sync::atomic::{AtomicUsize, Ordering};
use crate::world::sync::{Mutex, MutexGuard};

/// Why a connection was not subscribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeError {
    /// The connection is closed or closing.
    Closed,
    /// It has as many subscriptions as it may have.
    TooMany,
}

/// Told when a connection has ended.
pub type Watcher = Box<dyn FnOnce(ConnId) + Send>;

/// What a connection leaves behind when it ends.
#[derive(Default)]
pub(crate) struct RemovedEntries {
    pub(crate) topics: Vec<Arc<Topic>>,
    pub(crate) watchers: Vec<Watcher>,
}

/// What is kept for those connections that have subscriptions, or are watched. Others have no
/// entry.
#[derive(Default)]
struct Entries {
    topics: HashMap<ConnId, Vec<Arc<Topic>>>,
    // Few are watched: they do not make the others larger.
    watchers: HashMap<ConnId, Vec<Watcher>>,
}

impl Entries {
    fn len(&self) -> usize {
        self.topics.len() + self.watchers.len()
    }
}

/// The register of a shard.
#[derive(Default)]
pub(crate) struct Register {
    entries: Mutex<Entries>,
    /// Entries, and threads that are about to change them.
    count: AtomicUsize,
}

/// The register while it is being changed. What is handed to the shard meanwhile has the order of
/// the changes.
pub(crate) struct OpenRegister<'a> {
    entries: MutexGuard<'a, Entries>,
    before: usize,
    count: &'a AtomicUsize,
}

impl Register {
    /// From here on, either the end of a connection is seen by the caller, or what the caller
    /// enters is seen at the end of the connection.
    pub(crate) fn open(&self) -> OpenRegister<'_> {
        self.count.fetch_add(1, Ordering::SeqCst);
        let entries = lock(&self.entries);
        OpenRegister {
            before: entries.len(),
            entries,
            count: &self.count,
        }
    }

    /// Entries there are.
    #[cfg(sim)]
    pub(crate) fn len(&self) -> usize {
        lock(&self.entries).len()
    }

    /// Takes out what there is of a connection, whose id names nothing any more.
    pub(crate) fn remove(&self, conn: ConnId) -> RemovedEntries {
        if self.count.load(Ordering::SeqCst) == 0 {
            return RemovedEntries::default();
        }
        let mut open = self.open();
        let topics = open.entries.topics.remove(&conn).unwrap_or_default();
        let watchers = open.entries.watchers.remove(&conn).unwrap_or_default();
        let len = open.entries.topics.len();
        let capacity = open.entries.topics.capacity();
        if capacity > 64 && len < capacity / 8 {
            open.entries.topics.shrink_to(len * 2);
        }
        RemovedEntries { topics, watchers }
    }
}

impl Drop for OpenRegister<'_> {
    fn drop(&mut self) {
        let change = self.entries.len().wrapping_sub(self.before + 1);
        self.count.fetch_add(change, Ordering::SeqCst);
    }
}

impl OpenRegister<'_> {
    /// The topics of a connection.
    pub(crate) fn topics_of(&self, conn: ConnId) -> &[Arc<Topic>] {
        self.entries.topics.get(&conn).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn add(&mut self, conn: ConnId, topic: Arc<Topic>) {
        // Most have one or two: no room for four.
        let topics = self.entries.topics.entry(conn);
        topics.or_insert_with(|| Vec::with_capacity(1)).push(topic);
    }

    pub(crate) fn take(&mut self, conn: ConnId, topic: &Arc<Topic>) {
        if let Some(topics) = self.entries.topics.get_mut(&conn) {
            if let Some(at) = topics.iter().position(|other| Arc::ptr_eq(other, topic)) {
                topics.swap_remove(at);
            }
            if topics.is_empty() {
                self.entries.topics.remove(&conn);
            }
        }
    }

    /// Has somebody told of the end of a connection.
    pub(crate) fn watch(&mut self, conn: ConnId, watcher: Watcher) {
        self.entries.watchers.entry(conn).or_default().push(watcher);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::topics::TopicTable;

    fn id(slot: u32) -> ConnId {
        ConnId::new(0, slot, 1)
    }

    #[test]
    fn subscriptions_are_removed_once() {
        let (register, table) = (Register::default(), TopicTable::default());
        let [a, b] = [b"a", b"b"].map(|name| table.enter(name, 0, 1).0);
        register.open().add(id(1), a.clone());
        register.open().add(id(1), b.clone());
        register.open().add(id(2), b.clone());
        assert_eq!(register.open().topics_of(id(1)).len(), 2);
        register.open().take(id(1), &a);
        assert_eq!(register.count.load(Ordering::SeqCst), 2);
        let left = register.remove(id(1));
        assert!(matches!(&left.topics[..], [only] if Arc::ptr_eq(only, &b)));
        assert!(register.remove(id(1)).topics.is_empty());
        register.open().take(id(2), &b);
        assert_eq!(register.count.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn watchers_outlast_subscriptions() {
        let (register, table) = (Register::default(), TopicTable::default());
        let topic = table.enter(b"a", 0, 1).0;
        register.open().watch(id(1), Box::new(|_| ()));
        register.open().add(id(1), topic.clone());
        register.open().take(id(1), &topic);
        assert_eq!(register.remove(id(1)).watchers.len(), 1);
        assert_eq!(register.count.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn memory_is_given_back_when_little_of_it_is_used() {
        let (register, table) = (Register::default(), TopicTable::default());
        let topic = table.enter(b"a", 0, 1).0;
        let capacity = || register.open().entries.topics.capacity();
        (0..1000).for_each(|slot| register.open().add(id(slot), topic.clone()));
        let full = capacity();
        (250..1000).for_each(|slot| drop(register.remove(id(slot))));
        assert!(capacity() > full / 2, "a quarter is left");
        (60..250).for_each(|slot| drop(register.remove(id(slot))));
        assert!((120..full / 2).contains(&capacity()), "{}", capacity());
        (0..60).for_each(|slot| drop(register.remove(id(slot))));
        assert!(capacity() <= 64);
    }

    #[test]
    fn a_small_register_keeps_its_memory() {
        let (register, table) = (Register::default(), TopicTable::default());
        let topic = table.enter(b"a", 0, 1).0;
        (0..50).for_each(|slot| register.open().add(id(slot), topic.clone()));
        (0..49).for_each(|slot| drop(register.remove(id(slot))));
        assert!(register.open().entries.topics.capacity() > 8);
    }
}
