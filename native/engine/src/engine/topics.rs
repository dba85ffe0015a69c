//! The calls of other threads about topics: subscribe, unsubscribe, publish.

use std::sync::Arc;

use crate::engine::Engine;
use crate::model::backlog::ShardSet;
use crate::model::delivery_count::{DeliveryCount, DeliveryCountReply};
use crate::model::error::SendError;
use crate::model::id::ConnId;
use crate::model::trace::Tracer;
use crate::server::Server;
use crate::server::broadcast::Broadcast;
use crate::server::topics::register::Watcher;
use crate::server::topics::{Audience, Fanout, SubscribeError, Topic};
use crate::shard::handle::Handle;
use crate::shard::op::{ConnectionsReply, Control, Op};

impl Engine {
    /// Subscribes a connection to a topic, or with `*` at the end to all that begin so. It gets
    /// what the caller publishes from here on. True if it is the topic's first subscription.
    ///
    /// # Errors
    /// See [`SubscribeError`].
    pub fn subscribe(&self, conn: ConnId, name: &[u8]) -> Result<bool, SubscribeError> {
        let (shard, server) = self.shard_and_server(conn).ok_or(SubscribeError::Closed)?;
        let mut register = shard.register.open();
        if !shard.slots.is_open(conn) {
            return Err(SubscribeError::Closed);
        }
        let has = register.topics_of(conn);
        // One of many is found by its address, not by looking into each.
        if let Some(known) = server.topics.get(name)
            && has.iter().any(|topic| Arc::ptr_eq(topic, &known))
        {
            return Ok(false);
        }
        if has.len() >= server.config.max_subscriptions {
            return Err(SubscribeError::TooMany);
        }
        let (topic, first) = server.topics.enter(name, shard.index, self.shards());
        if shard.submit(Op::Subscribe(conn, topic.clone())).is_err() {
            server.topics.leave(&topic, shard.index);
            return Err(SubscribeError::Closed);
        }
        register.add(conn, topic);
        Ok(first)
    }

    /// Ends a subscription of this very name, if there is one. True if it was the topic's last.
    ///
    /// # Errors
    /// [`SubscribeError::Closed`].
    pub fn unsubscribe(&self, conn: ConnId, name: &[u8]) -> Result<bool, SubscribeError> {
        let (shard, server) = self.shard_and_server(conn).ok_or(SubscribeError::Closed)?;
        let mut register = shard.register.open();
        let has = register.topics_of(conn);
        let known = server.topics.get(name);
        let Some(topic) = known.filter(|known| has.iter().any(|t| Arc::ptr_eq(t, known))) else {
            return Ok(false);
        };
        if shard.submit(Op::Unsubscribe(conn, topic.clone())).is_err() {
            return Err(SubscribeError::Closed);
        }
        register.take(conn, &topic);
        Ok(server.topics.leave(&topic, shard.index))
    }

    /// Has the end of a connection told, on its shard's thread. False if it has ended.
    pub fn watch(&self, conn: ConnId, watcher: Watcher) -> bool {
        let Some((shard, _)) = self.shard_and_server(conn) else {
            return false;
        };
        let mut register = shard.register.open();
        let known = shard.slots.is_known(conn);
        if known {
            register.watch(conn, watcher);
        }
        known
    }

    /// Shows a connection's frames to one more, from here on, or to one less. False if it has ended.
    pub fn trace(&self, conn: ConnId, change: Result<Tracer, u64>) -> bool {
        let known = self.is_known(conn);
        if let Some(shard) = self.shard(conn.shard()).filter(|_| known) {
            shard.control(Control::Run(Box::new(move |shard| {
                match (shard.conn(conn), change) {
                    (Some(conn), change) => conn.set_trace(change),
                    (None, Ok(tracer)) => tracer.refuse(),
                    (None, Err(_)) => {}
                }
            })));
        }
        known
    }

    fn shard_and_server(&self, conn: ConnId) -> Option<(&Arc<Handle>, Arc<Server>)> {
        let label = self.label_of(conn)?;
        Some((self.shard(conn.shard())?, self.server(label.server)?))
    }

    /// Sends one frame to every connection of a server but one. A connection whose queue is full
    /// does not get it, which is counted. `outcome` is told on a shard's thread how many got it. The
    /// shards that take part: see [`Engine::backlogged`].
    ///
    /// # Errors
    /// [`SendError::Closed`] if the server stops, [`SendError::Busy`] for a frame that no queue takes, of
    /// 4 GiB or more.
    pub fn fan_out(
        &self,
        server: &Arc<Server>,
        frame: &Broadcast,
        except: Option<ConnId>,
        outcome: Option<DeliveryCountReply>,
    ) -> Result<ShardSet, SendError> {
        let everywhere = |_| true;
        self.spread(server, frame, Audience::All(except), everywhere, outcome)
    }

    /// Sends one frame to the subscribers of a topic but one, in the same way. If no shard takes
    /// part, `outcome` is not told.
    ///
    /// # Errors
    /// As for [`Engine::fan_out`].
    pub fn publish(
        &self,
        server: &Arc<Server>,
        name: &[u8],
        frame: &Broadcast,
        except: Option<ConnId>,
        outcome: Option<DeliveryCountReply>,
    ) -> Result<ShardSet, SendError> {
        let topics: Arc<[Arc<Topic>]> = server.topics.find(name).into();
        let concerned = |index: usize| topics.iter().any(|topic| topic.is_on(index));
        let audience = Audience::Topics(topics.clone(), except);
        self.spread(server, frame, audience, concerned, outcome)
    }

    fn spread(
        &self,
        server: &Arc<Server>,
        frame: &Broadcast,
        audience: Audience,
        concerned: impl Fn(usize) -> bool,
        outcome: Option<DeliveryCountReply>,
    ) -> Result<ShardSet, SendError> {
        if frame.is_too_long() {
            return Err(SendError::Busy);
        }
        if server.is_stopping() {
            return Err(SendError::Closed);
        }
        let mut chosen = ShardSet::default();
        (0..self.shards())
            .filter(|index| concerned(*index))
            .for_each(|index| chosen.insert(index));
        let mut count = outcome
            .filter(|_| !chosen.is_empty())
            .map(|outcome| Arc::new(DeliveryCount::new(outcome)));
        let mut shards = chosen
            .iter()
            .filter_map(|index| self.shard(index))
            .peekable();
        while let Some(shard) = shards.next() {
            // Ours goes with the last: a shard tells the outcome, not this thread.
            let count = if shards.peek().is_some() {
                count.clone()
            } else {
                count.take()
            };
            let to = Fanout {
                audience: audience.clone(),
                count,
            };
            shard.fan_out(server, frame, to);
        }
        Ok(chosen)
    }

    /// How many subscribe to a topic, or to a pattern, of exactly this name.
    pub fn subscriptions(&self, server: &Server, name: &[u8]) -> usize {
        server.topics.count(name)
    }

    /// The topics and patterns that have subscribers, with their number.
    pub fn topics(&self, server: &Server) -> Vec<(Vec<u8>, usize)> {
        server.topics.all()
    }

    /// Asks each shard for its connections of a server: for all of them, or for those that would get
    /// what is published under a name. `reply` makes the receiver of one answer, which comes on
    /// the shard's thread. Returns how many answers will come.
    pub fn connections(
        &self,
        server: &Arc<Server>,
        topic: Option<&[u8]>,
        reply: impl Fn() -> ConnectionsReply,
    ) -> usize {
        let audience = match topic {
            None => Audience::All(None),
            Some(name) => Audience::Topics(server.topics.find(name).into(), None),
        };
        self.ask_connections(server, &audience, reply)
    }
}
