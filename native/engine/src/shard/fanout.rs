//! The shard's part: who is a subscriber, and a frame for each of them.

use std::rc::Rc;

use crate::model::error::SendError;
use crate::model::id::ConnId;
use crate::server::broadcast::Broadcast;
use crate::server::topics::{Audience, Fanout, Topic};
use crate::server::{Server, bump};
use crate::shard::Shard;
use crate::shard::conn::Conn;
use crate::shard::outbox::Segment;

/// The reason of the Close frame for a client that misses a frame for many.
const SLOW: &str = "too slow";

impl Shard {
    /// Gives a frame to each connection that it is for. They are written to at the end of the turn.
    pub(crate) fn fan_out(self: &Rc<Self>, server: &Server, frame: &Broadcast, to: &Fanout) {
        let (mut sent, mut dropped, mut saved) = (0, 0, 0);
        let mut slow = Vec::new();
        let has_place = matches!(to.audience, Audience::These(_));
        self.audience(server, &to.audience, |conn| {
            let form = frame.form(conn.compression);
            // Behind a Close frame nothing counts, for its queue either.
            let place = match has_place {
                _ if !conn.takes_frames() => Err(SendError::Closed),
                true => Ok(()),
                false => self.handle.slots.reserve_earlier(conn.id, form.len()),
            };
            match place {
                Ok(()) => {
                    let part = Segment::new(form.clone(), 0, form.len() as u32);
                    conn.send(self, part, frame.compresses());
                    sent += 1;
                    saved += frame.saved_by(form);
                }
                Err(SendError::Busy) => {
                    dropped += 1;
                    if server.config.close_slow {
                        slow.push(conn.clone());
                    }
                }
                Err(SendError::Closed) => {}
            }
        });
        for conn in slow {
            conn.fail(self, 1008, SLOW);
        }
        bump(&server.traffic.of(self.handle.index).frames_out, sent);
        bump(&server.counters.dropped, dropped);
        if saved > 0 {
            server.saved(saved);
        }
        if let Some(count) = &to.count {
            count.add(sent, dropped);
        }
    }

    /// Each open connection here that is meant.
    pub(crate) fn audience(
        &self,
        server: &Server,
        audience: &Audience,
        mut work: impl FnMut(&Rc<Conn>),
    ) {
        let mut one = |id: ConnId| {
            if let Some(conn) = self.conn(id) {
                work(&conn);
            }
        };
        match audience {
            Audience::All(except) => self.with_members(server, |members| {
                let others = members.iter().filter(|conn| Some(conn.id) != *except);
                others.for_each(work);
            }),
            Audience::Topics(topics, except) => {
                let subscribers = self.subscribers.borrow();
                subscribers.each(topics, |id| {
                    if Some(id) != *except {
                        one(id);
                    }
                });
            }
            Audience::These(conns) => conns.iter().copied().for_each(one),
        }
    }

    pub(crate) fn subscribe(&self, conn: ConnId, topic: &Topic) {
        if self.conn(conn).is_some() {
            self.subscribers.borrow_mut().add(topic, conn);
        }
    }
}
