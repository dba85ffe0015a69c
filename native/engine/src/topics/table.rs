//! The topics of a server.

// The counts of a topic change, its name does not.
#![allow(clippy::mutable_key_type)]

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::WILDCARD;

/// A topic that somebody subscribes to.
#[derive(Debug)]
pub(crate) struct Topic {
    /// Without the wildcard of a pattern.
    name: Box<[u8]>,
    pattern: bool,
    /// Unlike the name, never used again.
    pub(crate) key: u64,
    /// Subscriptions on all shards.
    count: AtomicUsize,
    /// Subscriptions on each shard.
    by_shard: Box<[AtomicU32]>,
}

static NEXT_KEY: AtomicU64 = AtomicU64::new(0);

impl Topic {
    fn new(name: &[u8], pattern: bool, shards: usize) -> Arc<Self> {
        Arc::new(Topic {
            name: name.into(),
            pattern,
            key: NEXT_KEY.fetch_add(1, Ordering::Relaxed),
            count: AtomicUsize::new(0),
            by_shard: (0..shards).map(|_| AtomicU32::new(0)).collect(),
        })
    }

    /// As it was subscribed to.
    pub(crate) fn full_name(&self) -> Vec<u8> {
        let star = self.pattern.then_some(WILDCARD);
        self.name.iter().copied().chain(star).collect()
    }

    pub(crate) fn is_named(&self, name: &[u8]) -> bool {
        parse(name) == (&*self.name, self.pattern)
    }

    /// Whether a shard has subscribers.
    pub(crate) fn is_on(&self, shard: usize) -> bool {
        let count = self.by_shard.get(shard);
        count.is_some_and(|count| count.load(Ordering::Acquire) > 0)
    }

    fn count_on(&self, shard: usize, by: i32) {
        if let Some(count) = self.by_shard.get(shard) {
            count.fetch_add(by as u32, Ordering::AcqRel);
        }
    }
}

/// A topic, found by its name.
#[derive(Debug)]
struct ByName(Arc<Topic>);

impl Borrow<[u8]> for ByName {
    fn borrow(&self) -> &[u8] {
        &self.0.name
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for ByName {}

impl Hash for ByName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // As a slice hashes: that is what is looked for.
        (*self.0.name).hash(state);
    }
}

#[derive(Debug, Default)]
struct Names {
    exact: HashSet<ByName>,
    /// Named by what topics begin with.
    patterns: HashSet<ByName>,
    /// How many patterns have a beginning of so many bytes; empty without patterns.
    lengths: Vec<usize>,
}

/// The topics of a server that have subscribers.
#[derive(Debug, Default)]
pub(crate) struct Table {
    names: RwLock<Names>,
}

impl Table {
    fn read(&self) -> RwLockReadGuard<'_, Names> {
        self.names.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Names> {
        self.names.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a subscription to a topic or pattern. True if it is the first.
    pub(crate) fn enter(&self, name: &[u8], shard: usize, shards: usize) -> (Arc<Topic>, bool) {
        let count = |topic: &Arc<Topic>| {
            topic.count_on(shard, 1);
            topic.count.fetch_add(1, Ordering::AcqRel) == 0
        };
        let (name, pattern) = parse(name);
        {
            let names = self.read();
            if let Some(ByName(topic)) = names.of(pattern).get(name) {
                let first = count(topic);
                return (topic.clone(), first);
            }
        }
        let mut names = self.write();
        if let Some(ByName(topic)) = names.of(pattern).get(name) {
            let first = count(topic);
            return (topic.clone(), first);
        }
        let topic = Topic::new(name, pattern, shards);
        count(&topic);
        if pattern {
            names.note_length(name.len());
        }
        names.of_mut(pattern).insert(ByName(topic.clone()));
        (topic, true)
    }

    /// A subscription has ended. True if it was the last of this topic.
    pub(crate) fn leave(&self, topic: &Arc<Topic>, shard: usize) -> bool {
        topic.count_on(shard, -1);
        if topic.count.fetch_sub(1, Ordering::AcqRel) > 1 {
            return false;
        }
        let mut names = self.write();
        // Somebody may have come in between, or gone again and taken it out.
        if topic.count.load(Ordering::Acquire) > 0 {
            return true;
        }
        let set = names.of_mut(topic.pattern);
        if matches!(set.get(&*topic.name), Some(ByName(found)) if Arc::ptr_eq(found, topic)) {
            set.remove(&*topic.name);
            shrink(set);
            if topic.pattern {
                names.forget_length(topic.name.len());
            }
        }
        true
    }

    /// What a frame that is published under this name goes to.
    pub(crate) fn find(&self, name: &[u8]) -> Vec<Arc<Topic>> {
        let names = self.read();
        let mut found = Vec::new();
        if let Some(ByName(topic)) = names.exact.get(name) {
            found.push(topic.clone());
        }
        for (len, count) in names.lengths.iter().enumerate().take(name.len() + 1) {
            if *count > 0
                && let Some(ByName(topic)) = name.get(..len).and_then(|n| names.patterns.get(n))
            {
                found.push(topic.clone());
            }
        }
        found
    }

    /// The topic or pattern of exactly this name.
    pub(crate) fn get(&self, name: &[u8]) -> Option<Arc<Topic>> {
        let (name, pattern) = parse(name);
        let names = self.read();
        let ByName(topic) = names.of(pattern).get(name)?;
        Some(topic.clone())
    }

    /// How many subscribe to exactly this topic or pattern.
    pub(crate) fn count(&self, name: &[u8]) -> usize {
        let topic = self.get(name);
        topic.map_or(0, |topic| topic.count.load(Ordering::Acquire))
    }

    /// Every topic and pattern as it was subscribed to, with the number of subscriptions.
    pub(crate) fn all(&self) -> Vec<(Vec<u8>, usize)> {
        let names = self.read();
        let both = names.exact.iter().chain(&names.patterns);
        both.map(|ByName(topic)| (topic.full_name(), topic.count.load(Ordering::Acquire)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

impl Names {
    fn note_length(&mut self, len: usize) {
        if self.lengths.len() <= len {
            self.lengths.resize(len + 1, 0);
        }
        if let Some(count) = self.lengths.get_mut(len) {
            *count += 1;
        }
    }

    fn forget_length(&mut self, len: usize) {
        if let Some(count) = self.lengths.get_mut(len) {
            *count = count.saturating_sub(1);
        }
        while self.lengths.last() == Some(&0) {
            self.lengths.pop();
        }
    }

    fn of(&self, pattern: bool) -> &HashSet<ByName> {
        match pattern {
            true => &self.patterns,
            false => &self.exact,
        }
    }

    fn of_mut(&mut self, pattern: bool) -> &mut HashSet<ByName> {
        match pattern {
            true => &mut self.patterns,
            false => &mut self.exact,
        }
    }
}

/// Gives memory back when most of it has become unused.
fn shrink(set: &mut HashSet<ByName>) {
    if set.capacity() > 64 && set.len() < set.capacity() / 8 {
        set.shrink_to(set.len() * 2);
    }
}

/// A name without its wildcard, and whether it had one.
fn parse(name: &[u8]) -> (&[u8], bool) {
    match name.split_last() {
        Some((&WILDCARD, prefix)) => (prefix, true),
        _ => (name, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(table: &Table, name: &str) -> Vec<String> {
        let topics = table.find(name.as_bytes());
        let mut names: Vec<_> = topics
            .iter()
            .map(|t| String::from_utf8_lossy(&t.name).into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_topic_is_there_from_the_first_to_the_last_subscription() {
        let table = Table::default();
        let (one, first) = table.enter(b"a", 0, 2);
        assert!(first);
        let (two, first) = table.enter(b"a", 1, 2);
        assert!(!first);
        assert!(Arc::ptr_eq(&one, &two));
        assert!(one.is_on(0) && one.is_on(1));
        assert_eq!(table.count(b"a"), 2);
        assert!(!table.leave(&one, 0));
        assert!(!one.is_on(0) && one.is_on(1));
        assert_eq!(found(&table, "a"), ["a"]);
        assert!(table.leave(&one, 1));
        assert!(table.find(b"a").is_empty());
        assert!(table.all().is_empty());
        let (again, first) = table.enter(b"a", 0, 2);
        assert!(first);
        assert!(!Arc::ptr_eq(&one, &again));
    }

    #[test]
    fn patterns_match_what_begins_with_them() {
        let table = Table::default();
        let room = table.enter(b"room/*", 0, 1).0;
        table.enter(b"room/1", 0, 1);
        table.enter(b"room/", 0, 1);
        let all = table.enter(b"*", 0, 1).0;
        assert_eq!(found(&table, "room/1"), ["", "room/", "room/1"]);
        assert_eq!(found(&table, "room/22"), ["", "room/"]);
        assert_eq!(found(&table, "room/"), ["", "room/", "room/"]);
        assert_eq!(found(&table, "room"), [""]);
        assert_eq!(found(&table, "x"), [""]);
        assert_eq!(table.count(b"room/*"), 1);
        assert_eq!(table.count(b"room/"), 1);
        table.leave(&all, 0);
        table.leave(&room, 0);
        assert_eq!(found(&table, "room/22"), Vec::<String>::new());
        assert_eq!(found(&table, "room/1"), ["room/1"]);
        assert_eq!(table.read().lengths, Vec::<usize>::new());
    }

    #[test]
    fn all_are_listed_as_they_were_subscribed_to() {
        let table = Table::default();
        table.enter(b"a", 0, 1);
        table.enter(b"a", 0, 1);
        table.enter(b"a*", 0, 1);
        let mut all = table.all();
        all.sort();
        assert_eq!(all, [(b"a".to_vec(), 2), (b"a*".to_vec(), 1)]);
    }

    #[test]
    fn a_table_that_empties_gives_its_memory_back() {
        let table = Table::default();
        let name = |i: u32| i.to_string().into_bytes();
        let topics: Vec<_> = (0..10_000).map(|i| table.enter(&name(i), 0, 1).0).collect();
        topics.iter().for_each(|topic| {
            table.leave(topic, 0);
        });
        assert!(table.read().exact.capacity() <= 64);
    }
}
