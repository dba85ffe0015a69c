//! Delivery of events to the receiver: credits, room in the inbox, and frames that are held back.

use std::rc::Rc;
use std::sync::Arc;

use super::Conn;
use super::ending::LINGER;
use super::state::{CloseEvent, ConnState};
use crate::model::active::SetActive;
use crate::model::backlog::Done;
use crate::model::clock::ticks;
use crate::server::bump;
use crate::settings::config::Mode;
use crate::shard::Shard;
use crate::shard::deliver::{Delivery, EventReceiver, FollowUp};
use crate::shard::schedule::Announcement;
use crate::vm::inbox::Inbox;
use crate::world::sync::atomic::Ordering;

impl Conn {
    /// Gives the connection its receiver, which hears of it first and then gets what was held.
    pub(crate) fn attach(self: &Rc<Self>, shard: &Shard, inbox: Arc<Inbox>) {
        let mut state = self.state.borrow_mut();
        let before = self.replace_receiver(&mut state, EventReceiver::to(inbox));
        if before.is_awaited() && !state.is_closing() {
            state.deadline = 0;
        }
        let info = before.info();
        self.deliver(shard, &mut state, |delivery| {
            if let Some(info) = info {
                delivery.notify(|batch, conn| batch.push_open(conn, info));
            }
            delivery.pump();
        });
        self.after_pump(shard, &mut state);
    }

    /// The connection is to get a process of its own.
    pub(crate) fn await_process(self: &Rc<Self>, shard: &Shard) {
        let mut state = self.state.borrow_mut();
        let before = std::mem::replace(&mut state.receiver, EventReceiver::Nobody);
        if let Some(info) = before.info() {
            state.receiver = EventReceiver::Awaited(info);
            let unattached = &self.server.counters.unattached;
            unattached.fetch_add(1, Ordering::Relaxed);
        }
        state.deadline = shard.now() + ticks(self.server.config.attach_timeout);
        self.watch(shard, &mut state);
    }

    /// The process behind this inbox has been asked for one.
    pub(crate) fn announced_to(&self, acceptor: u64) {
        if let EventReceiver::Awaited(info) = &mut self.state.borrow_mut().receiver {
            info.acceptor = acceptor;
        }
    }

    /// The inbox of the process that was asked, as long as none has come.
    pub(crate) fn acceptor(&self) -> Option<u64> {
        match &self.state.borrow().receiver {
            EventReceiver::Awaited(info) => Some(info.acceptor).filter(|key| *key != 0),
            _ => None,
        }
    }

    /// Gives the receiver before, too. Who was awaited is not any more.
    pub(super) fn replace_receiver(
        &self,
        state: &mut ConnState,
        receiver: EventReceiver,
    ) -> EventReceiver {
        let before = std::mem::replace(&mut state.receiver, receiver);
        if before.is_awaited() {
            let unattached = &self.server.counters.unattached;
            unattached.fetch_sub(1, Ordering::Relaxed);
        }
        before
    }

    /// Moves the connection to another plain process. What came until now is the old one's; when
    /// it is there, `done` tells the caller, who is promised this order.
    pub(crate) fn set_owner(self: &Rc<Self>, shard: &Shard, inbox: Arc<Inbox>, done: Done) {
        let mut state = self.state.borrow_mut();
        let moves = state.receiver.inbox().is_some();
        shard.after_delivery(&self.server, &state.receiver, Announcement::Moved(done));
        if moves {
            state.receiver = EventReceiver::to(inbox);
            // Not for the old inbox any more.
            state.listed.waiting = false;
            self.deliver(shard, &mut state, |delivery| delivery.pump());
            self.after_pump(shard, &mut state);
        }
    }

    pub(crate) fn set_active(self: &Rc<Self>, shard: &Shard, change: SetActive) {
        let mut state = self.state.borrow_mut();
        let ran_out = state.active.set(change);
        if state.stage.close_event() == CloseEvent::Delivered {
            return;
        }
        self.deliver(shard, &mut state, |delivery| {
            if ran_out {
                delivery.notify(|batch, conn| batch.push_passive(conn));
            }
            delivery.pump();
        });
        if state.gone_is_due && state.deadline != 0 {
            state.deadline = shard.now() + ticks(LINGER);
        }
        self.after_pump(shard, &mut state);
    }

    /// There is room in the inbox. If it is not enough, the connection waits again. True if
    /// something was delivered.
    pub(crate) fn resume(self: &Rc<Self>, shard: &Shard) -> bool {
        let mut state = self.state.borrow_mut();
        state.listed.waiting = false;
        let before = state.held_cost();
        self.deliver(shard, &mut state, |delivery| delivery.pump());
        self.after_pump(shard, &mut state);
        if state.is_abandoned() && self.server.config.mode == Mode::Owner {
            self.discard_held(shard, &mut state);
        }
        state.held_cost() != before
    }

    pub(super) fn deliver(
        self: &Rc<Self>,
        shard: &Shard,
        state: &mut ConnState,
        work: impl FnOnce(&mut Delivery<'_>),
    ) {
        let ConnState {
            receiver,
            held,
            active,
            share,
            rare,
            ..
        } = state;
        let mut delivery =
            Delivery::new(self.id, receiver, held, active, share).with_pace(rare.bounds().1);
        work(&mut delivery);
        let mut follow_up = delivery.finish();
        follow_up.messages = 0;
        self.settle(shard, state, follow_up);
    }

    pub(super) fn settle(
        self: &Rc<Self>,
        shard: &Shard,
        state: &mut ConnState,
        follow_up: FollowUp,
    ) {
        if follow_up.messages > 0 {
            state.frames_in += follow_up.messages;
            bump(&self.traffic().frames_in, follow_up.messages);
        }
        if follow_up.notify {
            shard.notify(&state.receiver);
        }
        if follow_up.wait && !state.listed.waiting {
            state.listed.waiting = true;
            shard.wait(self, &state.receiver);
        }
        if follow_up.dead {
            shard.schedule.receiver_died(self.clone());
        }
    }

    /// After held events have moved: the last one may have gone, or reading may go on.
    pub(super) fn after_pump(self: &Rc<Self>, shard: &Shard, state: &mut ConnState) {
        if state.stage.close_event() == CloseEvent::Queued && state.held.is_none() {
            self.close_event_delivered(shard, state);
        }
        state.wake();
    }
}
