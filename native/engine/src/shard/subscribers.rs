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
