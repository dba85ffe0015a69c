//! Topics and their subscribers.
//!
//! Three views of the same thing, each kept where it is asked for. `table`: the topics of a server, by name, with how many
//! subscribers each shard has; any thread looks there before it publishes. `register`: the topics of a connection; callers
//! subscribe there, so that they hear at once of a limit. `subscribers`: the subscribers of a topic on one shard, which only the
//! shard knows; changes reach it in the order of its queue, so that they keep their place among what is published.

pub(crate) mod register;
mod table;

use std::sync::Arc;

pub(crate) use register::Register;
pub use register::{SubscribeError, Watcher};
pub(crate) use table::{Topic, TopicTable};

use crate::model::delivery_count::DeliveryCount;
use crate::model::id::ConnId;

/// Bytes of a topic's name.
pub const MAX_NAME: usize = 255;

/// Ends the name of a subscription to all topics that begin with the rest.
pub const WILDCARD: u8 = b'*';

/// Who gets a frame.
#[derive(Clone, Debug)]
pub(crate) enum Audience {
    /// Every connection of the server but one.
    All(Option<ConnId>),
    /// The subscribers of these topics but one. Who is in several of them gets it once.
    Topics(Arc<[Arc<Topic>]>, Option<ConnId>),
    /// These, in whose queues it has its place already.
    These(Arc<[ConnId]>),
}

impl Audience {
    /// Whether both are known to be the same connections.
    pub(crate) fn is_same(&self, other: &Audience) -> bool {
        match (self, other) {
            (Audience::All(except), Audience::All(other)) => except == other,
            (Audience::Topics(topics, except), Audience::Topics(others, other)) => {
                except == other
                    && topics.len() == others.len()
                    && (topics.iter().zip(&**others)).all(|(one, two)| Arc::ptr_eq(one, two))
            }
            _ => false,
        }
    }
}

/// A frame on its way to many connections of one shard.
#[derive(Clone, Debug)]
pub(crate) struct Fanout {
    pub(crate) audience: Audience,
    /// Told how many got it.
    pub(crate) count: Option<Arc<DeliveryCount>>,
}

/// Whether a topic may have this name: of a subscription, or of something to publish.
pub fn is_name(name: &[u8]) -> bool {
    (1..=MAX_NAME).contains(&name.len())
}

/// Whether something may be published under this name.
pub fn is_plain(name: &[u8]) -> bool {
    is_name(name) && name.last() != Some(&WILDCARD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_length_and_a_plain_one_no_wildcard_at_its_end() {
        let longest = vec![b'n'; MAX_NAME];
        let longer = vec![b'n'; MAX_NAME + 1];
        for (name, is_one, is_free) in [
            (&b""[..], false, false),
            (b"n", true, true),
            (b"*", true, false),
            (b"n*", true, false),
            (b"n*n", true, true),
            (&longest, true, true),
            (&longer, false, false),
        ] {
            assert_eq!(
                (is_name(name), is_plain(name)),
                (is_one, is_free),
                "{name:?}"
            );
        }
    }

    #[test]
    fn the_same_audience() {
        let table = TopicTable::default();
        let topic = |name: &[u8]| table.enter(name, 0, 1).0;
        let (a, b) = (topic(b"a"), topic(b"b"));
        let of = |topics: &[&Arc<Topic>]| topics.iter().map(|topic| (*topic).clone()).collect();
        let one = ConnId::new(0, 1, 1);
        let all = [
            Audience::All(None),
            Audience::All(Some(one)),
            Audience::All(Some(ConnId::new(0, 2, 1))),
            Audience::Topics(of(&[&a]), None),
            Audience::Topics(of(&[&a]), Some(one)),
            Audience::Topics(of(&[&b]), None),
            Audience::Topics(of(&[&a, &b]), None),
        ];
        for (n, first) in all.iter().enumerate() {
            for (m, second) in all.iter().enumerate() {
                assert_eq!(
                    first.is_same(&second.clone()),
                    n == m,
                    "{first:?} {second:?}"
                );
            }
        }
        // Those have their place in queues already.
        let these = Audience::These([one].into());
        assert!(!these.is_same(&these.clone()));
    }
}
