//! Broadcasts on one shard: finds the subscribers, and queues the frame for each of them.

use std::rc::Rc;
use std::sync::Arc;

use crate::model::compression::Compression;
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

/// Bytes of frames that go to their connections together.
const MOST: usize = 64 * 1024;

/// Frames for the same connections, of which one came directly after the other. Each connection is come to once for all
/// of them: with many connections, none is in a cache any more when its turn comes again.
pub(crate) struct Burst {
    server: Arc<Server>,
    frames: Vec<(Broadcast, Fanout)>,
    /// Bytes of all frames, in all forms.
    len: usize,
}

impl Burst {
    /// Whether this frame may go together with those before it.
    fn takes(&self, server: &Arc<Server>, frame: &Broadcast, to: &Fanout) -> bool {
        let is_same = |(_, first): &(_, Fanout)| first.audience.is_same(&to.audience);
        Arc::ptr_eq(&self.server, server)
            && self.len + frame.len() <= MOST
            && self.frames.first().is_some_and(is_same)
    }

    /// The frames one after the other, for those who get them as they are.
    fn plain(&self) -> Option<Arc<Vec<u8>>> {
        let all = self.frames.iter().map(|(frame, _)| frame.plain_form());
        (self.frames.len() > 1).then(|| Arc::new(all.collect::<Vec<_>>().concat()))
    }
}

/// What has become of a frame.
#[derive(Clone, Copy, Default)]
struct Outcome {
    sent: u64,
    dropped: u64,
}

impl Shard {
    /// Takes a frame for many, which goes to them with those that follow.
    pub(crate) fn gather(self: &Rc<Self>, server: Arc<Server>, frame: Broadcast, to: Fanout) {
        let takes = |burst: &Burst| burst.takes(&server, &frame, &to);
        if !self.burst.borrow().as_ref().is_some_and(takes) {
            self.fan_out();
        }
        let mut burst = self.burst.borrow_mut();
        let burst = burst.get_or_insert_with(|| Burst {
            server,
            frames: Vec::new(),
            len: 0,
        });
        burst.len += frame.len();
        burst.frames.push((frame, to));
    }

    /// Gives what has been gathered to each connection that it is for. They are written to at the end of the turn.
    pub(crate) fn fan_out(self: &Rc<Self>) {
        let Some(burst) = self.burst.take() else {
            return;
        };
        let Burst { server, frames, .. } = &burst;
        let Some((_, first)) = frames.first() else {
            return;
        };
        let plain = burst.plain();
        let mut outcomes = vec![Outcome::default(); frames.len()];
        let (mut whole, mut saved) = (0, 0);
        let mut slow = Vec::new();
        let has_place = matches!(first.audience, Audience::These(_));
        self.audience(server, &first.audience, |conn| {
            if let Some(plain) = &plain
                && conn.compression == Compression::None
                && conn.takes_frames()
                && self.handle.slots.reserve_all(conn.id, plain.len())
            {
                let part = Segment::new(plain.clone(), 0, plain.len() as u32);
                conn.send(self, part, false);
                whole += 1;
                return;
            }
            for ((frame, _), outcome) in frames.iter().zip(&mut outcomes) {
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
                        outcome.sent += 1;
                        saved += frame.saved_by(form);
                    }
                    Err(SendError::Busy) => {
                        outcome.dropped += 1;
                        if server.config.close_slow {
                            slow.push(conn.clone());
                            // It gets nothing more.
                            return;
                        }
                    }
                    Err(SendError::Closed) => return,
                }
            }
        });
        for conn in slow {
            conn.fail(self, 1008, SLOW);
        }
        let (mut sent, mut dropped) = (0, 0);
        for ((_, to), outcome) in frames.iter().zip(&outcomes) {
            sent += outcome.sent + whole;
            dropped += outcome.dropped;
            if let Some(count) = &to.count {
                count.add(outcome.sent + whole, outcome.dropped);
            }
        }
        bump(&server.traffic.of(self.handle.index).frames_out, sent);
        bump(&server.counters.dropped, dropped);
        if saved > 0 {
            server.saved(saved);
        }
        self.handle.fanned_out(burst.len);
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
