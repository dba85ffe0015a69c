//! The subscribers of each topic on one shard.

use crate::model::id::ConnId;
use crate::server::topics::Topic;
use crate::world::collections::{HashMap, HashSet};

/// By the keys of topics.
#[derive(Default)]
pub(crate) struct Subscribers {
    by_topic: HashMap<u64, HashSet<ConnId>>,
}

impl Subscribers {
    /// Topics that have subscribers here.
    #[cfg(sim)]
    pub(crate) fn len(&self) -> usize {
        self.by_topic.len()
    }

    pub(crate) fn add(&mut self, topic: &Topic, conn: ConnId) {
        self.by_topic.entry(topic.key).or_default().insert(conn);
    }

    pub(crate) fn remove(&mut self, topic: &Topic, conn: ConnId) {
        let Some(set) = self.by_topic.get_mut(&topic.key) else {
            return;
        };
        set.remove(&conn);
        if set.is_empty() {
            self.by_topic.remove(&topic.key);
        } else if set.capacity() > 64 && set.len() < set.capacity() / 8 {
            set.shrink_to(set.len() * 2);
        }
        let topics = self.by_topic.len();
        if self.by_topic.capacity() > 64 && topics < self.by_topic.capacity() / 8 {
            self.by_topic.shrink_to(topics * 2);
        }
    }

    /// Each subscriber of these topics once.
    pub(crate) fn each(&self, topics: &[impl AsRef<Topic>], mut work: impl FnMut(ConnId)) {
        let sets = topics
            .iter()
            .filter_map(|topic| self.by_topic.get(&topic.as_ref().key));
        let sets: Vec<_> = sets.collect();
        for (n, set) in sets.iter().enumerate() {
            let had = |conn: &&ConnId| sets.iter().take(n).any(|earlier| earlier.contains(conn));
            set.iter()
                .filter(|conn| !had(conn))
                .for_each(|conn| work(*conn));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::server::topics::TopicTable;

    fn id(slot: u32) -> ConnId {
        ConnId::new(0, slot, 1)
    }

    fn topic(name: u32) -> Arc<Topic> {
        let table = TopicTable::default();
        table.enter(&name.to_be_bytes(), 0, 1).0
    }

    fn of(all: &Subscribers, topics: &[&Arc<Topic>]) -> Vec<u32> {
        let topics: Vec<Arc<Topic>> = topics.iter().map(|topic| (*topic).clone()).collect();
        let mut found = Vec::new();
        all.each(&topics, |conn| found.push(conn.slot()));
        found.sort_unstable();
        found
    }

    #[test]
    fn a_subscriber_of_several_topics_is_visited_once() {
        let mut all = Subscribers::default();
        let (a, b) = (topic(1), topic(2));
        for (topic, conn) in [(&a, 1), (&a, 2), (&b, 2), (&b, 3)] {
            all.add(topic, id(conn));
        }
        assert_eq!(of(&all, &[&a, &b]), [1, 2, 3]);
        all.remove(&a, id(2));
        all.remove(&a, id(3));
        assert_eq!((of(&all, &[&a]), of(&all, &[&b])), (vec![1], vec![2, 3]));
        all.remove(&topic(3), id(1));
        all.remove(&a, id(1));
        assert_eq!(of(&all, &[&b, &a]), [2, 3]);
    }

    /// Memory of those that have left is given back when they were most, and not before.
    #[test]
    #[cfg_attr(miri, ignore = "it takes minutes there")]
    fn most_must_leave_before_memory_does() {
        const MANY: u32 = 1000;
        let mut all = Subscribers::default();
        let crowded = topic(0);
        (0..MANY).for_each(|n| all.add(&crowded, id(n)));
        let room = |all: &Subscribers| all.by_topic[&crowded.key].capacity();
        // Places of some that have left count as taken.
        let before = room(&all);
        let (more, less) = (before as u32 / 8 + 20, before as u32 / 8 - 20);
        (more..MANY).for_each(|n| all.remove(&crowded, id(n)));
        assert!(room(&all) > before / 10 * 9);
        (less..more).for_each(|n| all.remove(&crowded, id(n)));
        assert!(room(&all) < before / 2);
        (1..less).for_each(|n| all.remove(&crowded, id(n)));
        assert_eq!(of(&all, &[&crowded]), [0]);
        assert!(room(&all) <= 64, "{}", room(&all));

        let mut all = Subscribers::default();
        let topics: Vec<_> = (0..MANY).map(topic).collect();
        topics.iter().for_each(|topic| all.add(topic, id(1)));
        let before = all.by_topic.capacity();
        let (more, less) = (before / 8 + 20, before / 8 - 20);
        let mut leave = |which: &[Arc<Topic>]| {
            which.iter().for_each(|topic| all.remove(topic, id(1)));
            all.by_topic.capacity()
        };
        assert!(leave(&topics[more..]) > before / 10 * 9);
        assert!(leave(&topics[less..more]) < before / 2);
        assert!(leave(&topics[1..less]) <= 64);
        assert_eq!(of(&all, &[&topics[0]]), [1]);
    }
}
