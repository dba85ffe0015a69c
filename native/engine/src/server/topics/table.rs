//! The topics of a server.

// The counts of a topic change, its name does not.
#![allow(clippy::mutable_key_type)]

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock, PoisonError};

use crate::server::topics::WILDCARD;
use crate::world::collections::HashSet;
use crate::world::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use crate::world::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use crate::world::{Numbers, unique};

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

static NEXT_KEY: Numbers = Numbers::new(0);

impl Topic {
    fn new(name: &[u8], pattern: bool, shards: usize) -> Arc<Self> {
        Arc::new(Topic {
            name: name.into(),
            pattern,
            key: unique(&NEXT_KEY),
            count: AtomicUsize::new(0),
            by_shard: (0..shards).map(|_| AtomicU32::new(0)).collect(),
        })
    }

    /// As it was subscribed to.
    pub(crate) fn full_name(&self) -> Vec<u8> {
        let star = self.pattern.then_some(WILDCARD);
        self.name.iter().copied().chain(star).collect()
    }

    /// Whether a shard has subscribers.
    pub(crate) fn is_on(&self, shard: usize) -> bool {
        let count = self.by_shard.get(shard);
        count.is_some_and(|count| count.load(Ordering::SeqCst) > 0)
    }

    fn count_on(&self, shard: usize, by: i32) {
        if let Some(count) = self.by_shard.get(shard) {
            count.fetch_add(by as u32, Ordering::SeqCst);
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

/// Parts of the table with a lock of their own: whoever lists all topics holds up others for one
/// part at a time.
const PARTS: usize = 32;

/// Topics, or patterns, named by what topics begin with.
#[derive(Debug, Default)]
struct Names {
    set: HashSet<ByName>,
    /// How many patterns have a beginning of so many bytes; empty without patterns.
    lengths: Vec<usize>,
}

#[derive(Debug, Default)]
struct Partition(RwLock<Names>);

impl Partition {
    fn read(&self) -> RwLockReadGuard<'_, Names> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Names> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> Vec<Arc<Topic>> {
        let names = self.read();
        names
            .set
            .iter()
            .map(|ByName(topic)| topic.clone())
            .collect()
    }
}

/// The topics of a server that have subscribers.
#[derive(Debug, Default)]
pub(crate) struct TopicTable {
    /// Made with the first topic: most servers and all clients have none.
    exact: OnceLock<Box<[Partition; PARTS]>>,
    patterns: Partition,
    /// How many patterns there are.
    pattern_count: AtomicUsize,
}

/// The part of a name. Whoever chooses names may fill one part: that is a table of one part.
fn part_of(name: &[u8]) -> usize {
    let hash = name.iter().fold(0_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    (hash ^ (hash >> 16)) as usize % PARTS
}

impl TopicTable {
    fn exact(&self, name: &[u8]) -> Option<&Partition> {
        self.exact.get()?.get(part_of(name))
    }

    /// Where a name is, or would be.
    fn place(&self, name: &[u8], pattern: bool) -> Option<&Partition> {
        match pattern {
            true => Some(&self.patterns),
            false => self.exact(name),
        }
    }

    /// Counts a subscription to a topic or pattern. True if it is the first.
    pub(crate) fn enter(&self, name: &[u8], shard: usize, shards: usize) -> (Arc<Topic>, bool) {
        let count = |topic: &Arc<Topic>| {
            topic.count_on(shard, 1);
            topic.count.fetch_add(1, Ordering::SeqCst) == 0
        };
        let (name, pattern) = parse(name);
        if !pattern {
            self.exact.get_or_init(Box::default);
        }
        let part = self.place(name, pattern).unwrap_or(&self.patterns);
        {
            let names = part.read();
            if let Some(ByName(topic)) = names.set.get(name) {
                let first = count(topic);
                return (topic.clone(), first);
            }
        }
        let mut names = part.write();
        if let Some(ByName(topic)) = names.set.get(name) {
            let first = count(topic);
            return (topic.clone(), first);
        }
        let topic = Topic::new(name, pattern, shards);
        count(&topic);
        if pattern {
            names.note_length(name.len());
            self.pattern_count.fetch_add(1, Ordering::SeqCst);
        }
        names.set.insert(ByName(topic.clone()));
        (topic, true)
    }

    /// A subscription has ended. True if it was the last of this topic.
    pub(crate) fn leave(&self, topic: &Arc<Topic>, shard: usize) -> bool {
        topic.count_on(shard, -1);
        if topic.count.fetch_sub(1, Ordering::SeqCst) > 1 {
            return false;
        }
        let Some(part) = self.place(&topic.name, topic.pattern) else {
            return true;
        };
        let mut names = part.write();
        // Somebody may have come in between, or gone again and taken it out.
        if topic.count.load(Ordering::SeqCst) > 0 {
            return true;
        }
        let set = &mut names.set;
        if matches!(set.get(&*topic.name), Some(ByName(found)) if Arc::ptr_eq(found, topic)) {
            set.remove(&*topic.name);
            shrink(set);
            if topic.pattern {
                names.forget_length(topic.name.len());
                self.pattern_count.fetch_sub(1, Ordering::SeqCst);
            }
        }
        true
    }

    /// What a frame that is published under this name goes to.
    pub(crate) fn find(&self, name: &[u8]) -> Vec<Arc<Topic>> {
        let mut found = Vec::new();
        if let Some(part) = self.exact(name)
            && let Some(ByName(topic)) = part.read().set.get(name)
        {
            found.push(topic.clone());
        }
        if self.pattern_count.load(Ordering::SeqCst) == 0 {
            return found;
        }
        let names = self.patterns.read();
        for (len, count) in names.lengths.iter().enumerate().take(name.len() + 1) {
            if *count > 0
                && let Some(ByName(topic)) = name.get(..len).and_then(|n| names.set.get(n))
            {
                found.push(topic.clone());
            }
        }
        found
    }

    /// The topic or pattern of exactly this name.
    pub(crate) fn get(&self, name: &[u8]) -> Option<Arc<Topic>> {
        let (name, pattern) = parse(name);
        let names = self.place(name, pattern)?.read();
        let ByName(topic) = names.set.get(name)?;
        Some(topic.clone())
    }

    /// How many subscribe to exactly this topic or pattern.
    pub(crate) fn count(&self, name: &[u8]) -> usize {
        let topic = self.get(name);
        topic.map_or(0, |topic| topic.count.load(Ordering::SeqCst))
    }

    /// Every topic and pattern as it was subscribed to, with the number of subscriptions.
    pub(crate) fn all(&self) -> Vec<(Vec<u8>, usize)> {
        let exact = self.exact.get().into_iter().flat_map(|parts| parts.iter());
        // Names are copied with no lock held.
        exact
            .chain([&self.patterns])
            .flat_map(Partition::all)
            .map(|topic| (topic.full_name(), topic.count.load(Ordering::SeqCst)))
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

    const MANY: u32 = if cfg!(miri) { 300 } else { 10_000 };

    fn found(table: &TopicTable, name: &str) -> Vec<String> {
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
        let table = TopicTable::default();
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
        let table = TopicTable::default();
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
        assert_eq!(table.patterns.read().lengths, Vec::<usize>::new());
        assert_eq!(table.pattern_count.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn all_are_listed_as_they_were_subscribed_to() {
        let table = TopicTable::default();
        table.enter(b"a", 0, 1);
        table.enter(b"a", 0, 1);
        table.enter(b"a*", 0, 1);
        let mut all = table.all();
        all.sort();
        assert_eq!(all, [(b"a".to_vec(), 2), (b"a*".to_vec(), 1)]);
    }

    #[test]
    fn a_table_without_topics_has_no_parts() {
        let table = TopicTable::default();
        let pattern = table.enter(b"a*", 0, 1).0;
        assert_eq!(found(&table, "ab"), ["a"]);
        assert_eq!(table.count(b"ab"), 0);
        assert!(table.exact.get().is_none());
        assert!(table.leave(&pattern, 0));
        assert!(table.find(b"ab").is_empty());
    }

    #[test]
    fn names_are_spread_over_the_parts() {
        let mut parts = [0; PARTS];
        for i in 0..3200 {
            parts[part_of(format!("room/{i}").as_bytes())] += 1;
        }
        assert!(
            parts.iter().all(|count| (50..200).contains(count)),
            "{parts:?}"
        );
    }

    #[test]
    fn a_table_that_empties_gives_its_memory_back() {
        let table = TopicTable::default();
        let name = |i: u32| i.to_string().into_bytes();
        let topics: Vec<_> = (0..MANY).map(|i| table.enter(&name(i), 0, 1).0).collect();
        topics.iter().for_each(|topic| {
            table.leave(topic, 0);
        });
        let parts = table.exact.get().map(|parts| &parts[..]);
        let capacity = |part: &Partition| part.read().set.capacity();
        assert!(
            parts
                .unwrap_or_default()
                .iter()
                .all(|part| capacity(part) <= 64)
        );
    }

    #[test]
    fn names_that_differ_in_the_upper_bits_of_their_bytes_are_spread_too() {
        let mut parts = std::collections::BTreeSet::new();
        for i in 0..729_usize {
            let name: Vec<u8> = (0..6_u32).map(|n| b"!Aa"[i / 3_usize.pow(n) % 3]).collect();
            parts.insert(part_of(&name));
        }
        assert_eq!(parts.len(), PARTS);
    }

    #[test]
    fn names_whose_hashes_are_alike_are_not_taken_for_each_other() {
        let table = TopicTable::default();
        let name = |i: u32| i.to_string();
        (0..MANY).for_each(|i| drop(table.enter(name(i).as_bytes(), 0, 1)));
        for i in 0..MANY {
            assert_eq!(found(&table, &name(i)), [name(i)]);
        }
    }

    /// The last subscription ends, and a new one comes before the topic is taken out.
    #[test]
    fn a_topic_stays_for_who_comes_while_the_last_one_leaves() {
        let table = TopicTable::default();
        let topic = table.enter(b"a", 0, 1).0;
        let names = table.exact(b"a").unwrap().write();
        let left = std::thread::scope(|scope| {
            let leaves = scope.spawn(|| table.leave(&topic, 0));
            while topic.count.load(Ordering::SeqCst) > 0 {
                std::thread::yield_now();
            }
            topic.count_on(0, 1);
            topic.count.fetch_add(1, Ordering::SeqCst);
            drop(names);
            leaves.join().unwrap()
        });
        assert!(left);
        assert_eq!(found(&table, "a"), ["a"]);
        assert_eq!(table.count(b"a"), 1);
    }

    #[test]
    fn a_topic_that_the_last_one_is_leaving_is_not_listed() {
        let table = TopicTable::default();
        let topic = table.enter(b"a", 0, 1).0;
        table.enter(b"b", 0, 1);
        topic.count.fetch_sub(1, Ordering::SeqCst);
        assert_eq!(table.all(), [(b"b".to_vec(), 1)]);
    }

    #[test]
    fn memory_is_given_back_when_little_of_it_is_used() {
        let topic = |i: u32| ByName(Topic::new(&i.to_be_bytes(), false, 1));
        let mut set: HashSet<_> = (0..1000).map(topic).collect();
        let full = set.capacity();
        let mut take = |from: u32, to: u32| {
            for i in from..to {
                set.remove(&i.to_be_bytes()[..]);
                shrink(&mut set);
            }
            set.capacity()
        };
        assert!(take(250, 1000) > full / 2, "a quarter is left");
        let capacity = take(60, 250);
        assert!((120..full / 2).contains(&capacity), "{capacity}");
        assert!(take(0, 60) <= 64);
    }

    #[test]
    fn a_small_table_keeps_its_memory() {
        let mut set: HashSet<_> = (0..50_u8)
            .map(|i| ByName(Topic::new(&[i], false, 1)))
            .collect();
        set.retain(|ByName(topic)| topic.name[0] == 7);
        let before = set.capacity();
        shrink(&mut set);
        assert_eq!(set.capacity(), before);
    }
}
