//! The side of a shard: it locks an inbox once for all that a read brought, and appends events.

use sockeye_protocol::Payload;

use super::{Filling, Inbox, SHARE};
use crate::model::id::ConnId;
use crate::vm::batch::{Batch, EVENT_COST};
use crate::world::sync::MutexGuard;
use crate::world::sync::atomic::Ordering;

/// What came of an attempt to append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    Done,
    /// No room, or the connection has had its share.
    Full,
    /// Nobody will ever read this inbox again.
    Dead,
}

/// How much of an inbox one connection has filled since the process last took it over.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Share {
    epoch: u32,
    bytes: u32,
}

/// A locked inbox: one lock for all that a read brought.
pub(crate) struct Filler<'a> {
    pub(super) inbox: &'a Inbox,
    pub(super) filling: MutexGuard<'a, Filling>,
    pub(super) touched: bool,
    /// Cost of the events that have been appended, and how many they are: others are told when it is unlocked.
    pub(super) cost: usize,
    pub(super) events: u64,
}

impl Drop for Filler<'_> {
    fn drop(&mut self) {
        if self.events > 0 {
            // Only who holds the lock writes it.
            let added = self.inbox.added.load(Ordering::Relaxed);
            self.inbox
                .added
                .store(added + self.events, Ordering::Relaxed);
            self.inbox.pending.fetch_add(self.cost, Ordering::Relaxed);
        }
    }
}

impl Filler<'_> {
    /// Appends a message, if it fits.
    pub(crate) fn message(
        &mut self,
        share: &mut Share,
        conn: ConnId,
        text: bool,
        payload: &mut Option<Payload<'_>>,
    ) -> Pushed {
        let len = payload.as_ref().map_or(0, |payload| payload.len());
        let pushed = self.admit(share, len);
        if pushed == Pushed::Done
            && let Some(payload) = payload.take()
        {
            self.append(|batch| batch.push_message(conn, text, payload));
        }
        pushed
    }

    /// Appends a ping or a pong, if it fits.
    pub(crate) fn control(
        &mut self,
        share: &mut Share,
        conn: ConnId,
        pong: bool,
        payload: &[u8],
    ) -> Pushed {
        let pushed = self.admit(share, payload.len());
        if pushed == Pushed::Done {
            self.append(|batch| batch.push_control(conn, pong, payload));
        }
        pushed
    }

    /// Moves an event out of a batch that was held back, if it fits.
    pub(crate) fn take_over(
        &mut self,
        share: &mut Share,
        held: &mut Batch,
        index: usize,
    ) -> Pushed {
        let pushed = if held.is_message(index) {
            self.admit(share, held.payload_len(index))
        } else if self.filling.dead {
            Pushed::Dead
        } else {
            Pushed::Done
        };
        if pushed == Pushed::Done {
            self.append(|batch| held.move_to(index, batch));
        }
        pushed
    }

    /// Appends an event that is bounded by the number of connections and so needs no room.
    pub(crate) fn event(&mut self, push: impl FnOnce(&mut Batch)) -> Pushed {
        if self.filling.dead {
            return Pushed::Dead;
        }
        self.append(push);
        Pushed::Done
    }

    fn admit(&self, share: &mut Share, len: usize) -> Pushed {
        if self.filling.dead {
            return Pushed::Dead;
        }
        let epoch = self.inbox.epoch.load(Ordering::Relaxed);
        if share.epoch != epoch {
            *share = Share { epoch, bytes: 0 };
        }
        let cost = len + EVENT_COST;
        let pending = self.inbox.pending.load(Ordering::Relaxed) + self.cost;
        let is_full = pending > self.inbox.limit / 2 && self.inbox.is_full.load(Ordering::SeqCst);
        let no_room = is_full || (pending != 0 && pending + cost > self.inbox.limit);
        let share_used = self.inbox.only().is_none()
            && share.bytes != 0
            && share.bytes as usize + cost > self.inbox.limit / SHARE;
        // A share is only for those who must share.
        if no_room {
            self.inbox.is_full.store(true, Ordering::SeqCst);
            return Pushed::Full;
        }
        if share_used && pending != 0 {
            return Pushed::Full;
        }
        share.bytes = share
            .bytes
            .saturating_add(cost.min(u32::MAX as usize) as u32);
        Pushed::Done
    }

    fn append(&mut self, push: impl FnOnce(&mut Batch)) {
        let before = self.filling.batch.cost();
        let events = self.filling.batch.len();
        push(&mut self.filling.batch);
        self.cost += self.filling.batch.cost() - before;
        self.events += (self.filling.batch.len() - events) as u64;
        if !self.filling.notifying {
            self.filling.notifying = true;
            self.touched = true;
        }
    }

    /// Whether the caller is now the one who must notify when its turn ends.
    pub(crate) fn finish(self) -> bool {
        self.touched
    }
}
