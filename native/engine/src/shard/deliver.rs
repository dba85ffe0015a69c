//! Delivers messages from the protocol to the receiver.

use std::sync::Arc;

use sockeye_protocol::{Kind, Payload, Sink};

use crate::model::active::{Active, Credit};
use crate::model::id::ConnId;
use crate::model::pace::Pace;
use crate::vm::batch::{Batch, CloseInfo, Event, OpenInfo};
use crate::vm::inbox::{Filler, Inbox, Pushed, Share};

/// Who gets the events of a connection.
pub(crate) enum EventReceiver {
    /// Nobody yet. What the process will hear first.
    Unassigned(Box<OpenInfo>),
    /// A process for it alone, which has been asked for. It is counted as one that waits.
    Awaited(Box<OpenInfo>),
    /// Whoever reads this inbox.
    Inbox(InboxUser),
    /// Nobody any more.
    Nobody,
}

/// Counts a connection among the users of an inbox.
pub(crate) struct InboxUser(Arc<Inbox>);

impl Drop for InboxUser {
    fn drop(&mut self) {
        self.0.user_removed();
    }
}

impl EventReceiver {
    pub(crate) fn to(inbox: Arc<Inbox>) -> Self {
        inbox.user_added();
        Self::Inbox(InboxUser(inbox))
    }

    pub(crate) fn inbox(&self) -> Option<&Arc<Inbox>> {
        match self {
            Self::Inbox(InboxUser(inbox)) => Some(inbox),
            Self::Unassigned(_) | Self::Awaited(_) | Self::Nobody => None,
        }
    }

    pub(crate) fn is_awaited(&self) -> bool {
        matches!(self, Self::Awaited(_))
    }

    /// What its process has not heard yet.
    pub(crate) fn info(self) -> Option<Box<OpenInfo>> {
        match self {
            Self::Unassigned(info) | Self::Awaited(info) => Some(info),
            Self::Inbox(_) | Self::Nobody => None,
        }
    }

    /// How much the receiver still takes, if it is behind.
    pub(crate) fn room(&self) -> Option<usize> {
        self.inbox()?.room()
    }
}

/// A connection whose receiver wants nothing goes on reading until it holds this much, so that
/// pings behind a few messages are still answered.
pub(crate) const HOLD: usize = 16 * 1024;

/// Events that arrived while the receiver wanted none.
#[derive(Default)]
pub(crate) struct Held {
    pub(crate) batch: Batch,
    next: usize,
    taken: usize,
}

impl Held {
    /// Cost of what is still held.
    pub(crate) fn cost(&self) -> usize {
        self.batch.cost() - self.taken
    }

    /// The last event, if it is held.
    pub(crate) fn closed(&self) -> Option<CloseInfo> {
        match self.batch.event(self.batch.len().checked_sub(1)?)? {
            (_, Event::Closed(ended)) => Some(ended.clone()),
            _ => None,
        }
    }

    fn drop_taken(&mut self) {
        if self.next * 2 < self.batch.len() {
            return;
        }
        let mut rest = Batch::default();
        for index in self.next..self.batch.len() {
            self.batch.move_to(index, &mut rest);
        }
        *self = Held {
            batch: rest,
            next: 0,
            taken: 0,
        };
    }
}

/// What a delivery leaves to do.
#[derive(Default)]
pub(crate) struct FollowUp {
    /// The process must be notified when the turn ends.
    pub(crate) notify: bool,
    /// There was no room: wait for it.
    pub(crate) wait: bool,
    /// The receiver is dead.
    pub(crate) dead: bool,
    /// Messages that came from the peer.
    pub(crate) messages: u64,
    /// Their bytes.
    bytes: usize,
}

/// The delivery side of a connection's state, borrowed for one read.
pub(crate) struct Delivery<'a> {
    conn: ConnId,
    receiver: &'a EventReceiver,
    /// The inbox, open as long as this lasts.
    filler: Option<Filler<'a>>,
    held: &'a mut Option<Box<Held>>,
    active: &'a mut Active,
    share: &'a mut Share,
    /// There if the receiver wants pings and pongs: whether a pong to a ping of ours is due.
    control: Option<&'a mut bool>,
    /// There if the messages of the peer are counted against the time.
    pace: Option<&'a mut Pace>,
    follow_up: FollowUp,
}

impl<'a> Delivery<'a> {
    pub(crate) fn new(
        conn: ConnId,
        receiver: &'a EventReceiver,
        held: &'a mut Option<Box<Held>>,
        active: &'a mut Active,
        share: &'a mut Share,
    ) -> Self {
        Delivery {
            conn,
            receiver,
            filler: None,
            held,
            active,
            share,
            control: None,
            pace: None,
            follow_up: FollowUp::default(),
        }
    }

    /// Also delivers pings and pongs.
    pub(crate) fn with_control(mut self, wanted: bool, pong_due: &'a mut bool) -> Self {
        self.control = wanted.then_some(pong_due);
        self
    }

    /// Delivers no faster than this.
    pub(crate) fn with_pace(mut self, pace: Option<&'a mut Pace>) -> Self {
        self.pace = pace;
        self
    }

    /// Whether the next message may be delivered, but for the room.
    fn is_due(&self) -> bool {
        self.active.has_credit() && self.pace.as_ref().is_none_or(|pace| pace.allows())
    }

    /// Whether a message that has come ends the connection, for coming too soon.
    fn is_excess(&mut self) -> bool {
        self.pace.as_mut().is_some_and(|pace| pace.exceeds())
    }

    /// The open inbox, if there is a receiver.
    fn filler<'t>(
        filler: &'t mut Option<Filler<'a>>,
        receiver: &'a EventReceiver,
    ) -> Option<&'t mut Filler<'a>> {
        if filler.is_none() {
            *filler = receiver.inbox().map(|inbox| inbox.fill());
        }
        filler.as_mut()
    }

    /// Delivers a message, or holds it back: it is never lost.
    fn offer(&mut self, text: bool, payload: Payload<'_>) {
        self.follow_up.messages += 1;
        self.follow_up.bytes += payload.len();
        if self.is_excess() {
            return;
        }
        let mut payload = Some(payload);
        if self.held.is_none() && self.is_due() {
            let filler = Self::filler(&mut self.filler, self.receiver);
            let pushed = filler.map_or(Pushed::Full, |filler| {
                filler.message(self.share, self.conn, text, &mut payload)
            });
            match pushed {
                Pushed::Done => self.spend(),
                Pushed::Full => self.follow_up.wait = true,
                Pushed::Dead => self.follow_up.dead = true,
            }
        }
        if let Some(payload) = payload {
            self.held
                .get_or_insert_default()
                .batch
                .push_message(self.conn, text, payload);
        }
    }

    /// Delivers a ping or a pong, or holds it back. It costs what a message costs: nothing else
    /// would keep a flood of them within bounds.
    fn offer_control(&mut self, pong: bool, payload: &[u8]) {
        if self.is_excess() {
            return;
        }
        let mut done = false;
        if self.held.is_none() && self.is_due() {
            let filler = Self::filler(&mut self.filler, self.receiver);
            let pushed = filler.map_or(Pushed::Full, |filler| {
                filler.control(self.share, self.conn, pong, payload)
            });
            match pushed {
                Pushed::Done => {
                    done = true;
                    self.spend();
                }
                Pushed::Full => self.follow_up.wait = true,
                Pushed::Dead => self.follow_up.dead = true,
            }
        }
        if !done {
            let held = self.held.get_or_insert_default();
            held.batch.push_control(self.conn, pong, payload);
        }
    }

    fn spend(&mut self) {
        if let Some(pace) = &mut self.pace {
            pace.take();
        }
        if self.active.take() == Credit::Last {
            self.notify(|batch, conn| batch.push_passive(conn));
        }
    }

    /// Delivers an event that needs neither credit nor room. False if there is no receiver.
    pub(crate) fn notify(&mut self, push: impl FnOnce(&mut Batch, ConnId)) -> bool {
        let conn = self.conn;
        let filler = Self::filler(&mut self.filler, self.receiver);
        let pushed = filler.map_or(Pushed::Full, |filler| {
            filler.event(|batch| push(batch, conn))
        });
        match pushed {
            Pushed::Done => true,
            Pushed::Full => false,
            Pushed::Dead => {
                self.follow_up.dead = true;
                false
            }
        }
    }

    /// Delivers the last event, behind what is held. True if it is delivered now.
    pub(crate) fn closed(&mut self, ended: CloseInfo) -> bool {
        let mut ended = Some(ended);
        let mut push = |batch: &mut Batch, conn| {
            if let Some(ended) = ended.take() {
                batch.push_closed(conn, ended);
            }
        };
        if self.held.is_none() && self.notify(&mut push) {
            return true;
        }
        push(&mut self.held.get_or_insert_default().batch, self.conn);
        false
    }

    /// Asks to be told when all is answered, behind what is held.
    pub(crate) fn ending(&mut self) {
        let asked = self.held.is_none() && self.notify(|batch, conn| batch.push_ending(conn));
        if !asked {
            let held = self.held.get_or_insert_default();
            held.batch.push_ending(self.conn);
        }
    }

    /// Delivers what was held back, as far as credit and room go.
    pub(crate) fn pump(&mut self) {
        let Some(mut held) = self.held.take() else {
            return;
        };
        while held.next < held.batch.len() {
            let message = held.batch.is_message(held.next);
            if message && !self.is_due() {
                break;
            }
            let cost = held.batch.payload_len(held.next) + crate::vm::batch::EVENT_COST;
            let filler = Self::filler(&mut self.filler, self.receiver);
            let pushed = filler.map_or(Pushed::Full, |filler| {
                filler.take_over(self.share, &mut held.batch, held.next)
            });
            match pushed {
                Pushed::Done => {
                    held.next += 1;
                    held.taken += cost;
                    if message {
                        self.spend();
                    }
                }
                Pushed::Full => {
                    self.follow_up.wait = true;
                    break;
                }
                Pushed::Dead => {
                    self.follow_up.dead = true;
                    break;
                }
            }
        }
        if held.next < held.batch.len() {
            held.drop_taken();
            *self.held = Some(held);
        }
    }

    pub(crate) fn finish(self) -> FollowUp {
        let mut follow_up = self.follow_up;
        follow_up.notify = self.filler.is_some_and(Filler::finish);
        // Who has no receiver waits for the process, not for room.
        follow_up.wait &= self.receiver.inbox().is_some();
        follow_up
    }
}

/// Bytes that compressed messages may become before others have their turn.
const MAX_INFLATED: usize = 256 * 1024;

impl Sink for Delivery<'_> {
    fn is_full(&self) -> bool {
        let held = |held: &Held| held.cost() >= HOLD;
        self.follow_up.bytes >= MAX_INFLATED || self.held.as_deref().is_some_and(held)
    }

    fn message(&mut self, kind: Kind, payload: Payload<'_>) {
        self.offer(kind == Kind::Text, payload);
    }

    fn ping(&mut self, payload: &[u8]) {
        if self.control.is_some() {
            self.offer_control(false, payload);
        }
    }

    fn pong(&mut self, payload: &[u8]) {
        if let Some(pong_due) = &mut self.control {
            // The answer to a ping that only we know of.
            if payload.is_empty() && std::mem::take(*pong_due) {
                return;
            }
            self.offer_control(true, payload);
        }
    }
}

#[cfg(test)]
#[path = "deliver_tests.rs"]
mod tests;
