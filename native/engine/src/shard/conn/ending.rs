//! How a connection ends: by either side, by a rule, by the clock, with its receiver or server.
//!
//! | function | who calls it | what the peer sees | what the receiver sees |
//! |---|---|---|---|
//! | `close` | a process, an age that is over, a server that stops | a Close frame; it has `close_timeout` to answer | `closed`, when the peer has answered |
//! | `await_answers` | the task that has read the end | nothing yet | `closed`, or `ending`, behind the last message |
//! | `receiver_answered` | a receiver that has come upon that | what was queued, then the Close frame | a plain process: `closed` |
//! | `fail` | limits and times | a Close frame; it is not waited for | what is held, then `closed` |
//! | `fail_and_discard` | a receiver that cannot take a message | as `fail` | `closed`; what is held is dropped |
//! | `close_after_answers` | the same, where earlier messages are being answered | the answers, then a Close frame | `ending` or `closed`; what is held is dropped |
//! | `receiver_died` | the shard | a Close frame with 1011 | nothing |
//! | `stop_with_server` | the shard, for each connection of the server | a Close frame; the answers, if there are any to come | what it still fetches, then `closed` |
//! | `transport_ended` | the task, a write | it is gone | what is held, then `closed` |
//! | `abort` | a deadline that is over, a defect | a reset | as `transport_ended` |
//! | `end_with_shard` | the end of the shard | a reset | `closed`; what is held is dropped |
//!
//! All of them come to `end`: `linger`, and `send_close_event` if that is still to be done. `close_event_delivered` and
//! `transport_ended` free the id and the slot. The states are in [`super::state`].

use std::rc::Rc;
use std::time::Duration;

use sockeye_protocol::{CloseReason, ClosedBy, Progress};

use super::Conn;
use super::state::{CloseEvent, ConnState, PeerEof, Phase, Writing};
use crate::model::clock::ticks;
use crate::net::peer;
use crate::server::bump;
use crate::settings::config::Mode;
use crate::shard::Shard;
use crate::shard::deliver::EventReceiver;
use crate::vm::batch::CloseInfo;

/// How long a peer may take to hang up when all is said.
pub(super) const LINGER: Duration = Duration::from_secs(1);

impl Conn {
    /// Starts the close handshake.
    pub(crate) fn close(self: &Rc<Self>, shard: &Shard, code: u16, reason: &str) {
        let mut state = self.state.borrow_mut();
        let mut out = Vec::new();
        state.abandoned |= state.receiver.is_awaited();
        if !state.session.close(code, reason, &mut out) {
            return;
        }
        shard.handle.slots.set_closing(self.id);
        if let Some(client) = self.server.client() {
            client.close_asked();
        }
        self.owe(shard, &mut state, &out);
        if let Progress::Finished(CloseReason { code, reason, .. }) = state.session.progress() {
            // The peer had closed before.
            let peer_eof = state.stage.phase().peer_eof();
            self.end(shard, &mut state, peer_eof, code, &reason);
        } else {
            self.start_close_timeout(shard, &mut state);
        }
        state.wake();
    }

    /// Ends the connection for what the peer or its receiver did, without waiting for the peer.
    pub(crate) fn fail(self: &Rc<Self>, shard: &Shard, code: u16, reason: &str) {
        let mut state = self.state.borrow_mut();
        state.abandoned |= state.receiver.is_awaited();
        if state.stage.phase().is_over() {
            return;
        }
        // What the peer did wrong before has been counted.
        if !matches!(state.session.progress(), Progress::Ended(end) if end.by == ClosedBy::Violation)
        {
            bump(&self.server.counters.failed, 1);
        }
        let mut out = Vec::new();
        state.session.fail(code, reason, &mut out);
        self.owe(shard, &mut state, &out);
        let peer_eof = state.stage.phase().peer_eof();
        self.end(shard, &mut state, peer_eof, code, reason);
        state.wake();
    }

    /// The receiver has answered what the peer said before it ended.
    pub(crate) fn receiver_answered(self: &Rc<Self>, shard: &Shard) {
        let mut state = self.state.borrow_mut();
        if state.stage.phase().is_answering() {
            self.send_answered_close(shard, &mut state);
        }
    }

    /// Ends the connection for a message that its receiver cannot take. What came behind it is
    /// not delivered.
    pub(crate) fn fail_and_discard(self: &Rc<Self>, shard: &Shard, code: u16, reason: &str) {
        let mut state = self.state.borrow_mut();
        match state.stage.close_event() {
            CloseEvent::Pending => state.held = None,
            CloseEvent::Queued => self.discard_held(shard, &mut state),
            CloseEvent::Delivered => {}
        }
        drop(state);
        self.fail(shard, code, reason);
    }

    /// The same, when the receiver has answered what came before.
    pub(crate) fn close_after_answers(self: &Rc<Self>, shard: &Shard, code: u16, reason: &str) {
        let mut state = self.state.borrow_mut();
        match state.stage.phase() {
            Phase::Open => {
                state.held = None;
                state.session.end(code, reason);
                let progress = state.session.progress();
                self.look_for_end(shard, &mut state, progress, PeerEof::Awaited);
            }
            // The peer has closed behind it.
            Phase::Answering(_) => state.session.end(code, reason),
            Phase::Lingering { .. } | Phase::Gone
                if state.stage.close_event() != CloseEvent::Delivered =>
            {
                self.discard_held(shard, &mut state);
            }
            Phase::Lingering { .. } | Phase::Gone => {}
        }
        state.wake();
    }

    /// The receiver is dead: nobody will hear of the end.
    pub(crate) fn receiver_died(self: &Rc<Self>, shard: &Shard, reason: &str) {
        {
            let mut state = self.state.borrow_mut();
            self.replace_receiver(&mut state, EventReceiver::Nobody);
            state.held = None;
        }
        self.fail(shard, 1011, reason);
        let mut state = self.state.borrow_mut();
        state.held = None;
        if state.stage.close_event() != CloseEvent::Delivered {
            self.close_event_delivered(shard, &mut state);
        }
    }

    /// The server stops: closes an open connection, and lets a closed one go without waiting.
    pub(crate) fn stop_with_server(self: &Rc<Self>, shard: &Shard, code: u16, reason: &str) {
        if !self.will_be_answered() {
            self.close(shard, code, reason);
        }
        let mut state = self.state.borrow_mut();
        // A handler process still takes what it has not seen; others come no more.
        state.abandoned =
            self.server.config.mode == Mode::Owner || state.receiver.inbox().is_none();
        if state.is_abandoned() {
            self.discard_held(shard, &mut state);
        }
        if state.deadline != 0 {
            state.deadline = state.deadline.min(shard.now() + ticks(LINGER));
        }
        if state.stage.phase() == Phase::Gone && state.end_waits_for_credits() {
            // It has had its time.
            self.discard_held(shard, &mut state);
        }
        state.stage.stop_waiting_for_eof();
        if state.stage.phase().is_answering() {
            // The other half is for the last word.
            state.deadline = state.deadline.min(shard.now() + ticks(LINGER / 2));
        }
        if let Phase::Lingering { shut, .. } = state.stage.phase() {
            if shut {
                self.transport_ended(shard, &mut state);
            }
            state.wake();
        }
    }

    /// Drops the socket whatever is left to say.
    pub(crate) fn abort(self: &Rc<Self>, shard: &Shard) {
        let mut state = self.state.borrow_mut();
        if state.stage.phase() == Phase::Open && state.is_closing() {
            bump(&self.server.counters.unanswered, 1);
        }
        if let Some(stream) = state.stream() {
            stream.abort();
        }
        self.transport_ended(shard, &mut state);
        state.wake();
    }

    /// The shard ends: nobody will ask for what is held, or be told of room for it.
    pub(crate) fn end_with_shard(self: &Rc<Self>, shard: &Shard) {
        self.abort(shard);
        let mut state = self.state.borrow_mut();
        if state.stage.close_event() == CloseEvent::Queued {
            self.discard_held(shard, &mut state);
        }
    }

    /// Looks at the clock. False once there is no reason to look again.
    pub(crate) fn check_deadlines(self: &Rc<Self>, shard: &Shard, now: u32) -> bool {
        let mut state = self.state.borrow_mut();
        if state.stage.phase().is_answering() && now >= state.deadline {
            self.send_answered_close(shard, &mut state);
        }
        let is_gone = state.stage.phase() == Phase::Gone && !state.receiver.is_awaited();
        if is_gone && state.deadline != 0 && now >= state.deadline {
            state.deadline = 0;
            if state.end_waits_for_credits() {
                self.discard_held(shard, &mut state);
            }
        }
        if state.deadline != 0 && now >= state.deadline {
            let missed = state.receiver.is_awaited() && !state.is_closing();
            drop(state);
            if missed {
                self.server.note_no_process();
                self.receiver_died(shard, "no handler");
            } else {
                self.abort(shard);
            }
            state = self.state.borrow_mut();
        }
        let is_open = state.stage.phase() == Phase::Open;
        if let Writing::Blocked { full_since } = &mut state.writing {
            if !shard.handle.slots.is_full(self.id) {
                *full_since = 0;
            } else if *full_since == 0 {
                *full_since = now;
            } else if is_open && now - *full_since >= ticks(self.server.config.send_timeout) {
                *full_since = 0;
                drop(state);
                self.fail(shard, 1008, "send timeout");
                return true;
            }
        }
        state.listed.watched = state.writing.is_blocked() || state.deadline != 0;
        state.listed.watched
    }

    pub(super) fn start_close_timeout(self: &Rc<Self>, shard: &Shard, state: &mut ConnState) {
        state.deadline = shard.now() + ticks(self.server.config.close_timeout);
        self.watch(shard, state);
    }

    pub(super) fn watch(self: &Rc<Self>, shard: &Shard, state: &mut ConnState) {
        if !state.listed.watched {
            state.listed.watched = true;
            shard.watch(self);
        }
    }

    /// The protocol is over: tells the receiver if it does not know, and lets the socket go when all is written.
    pub(super) fn end(
        self: &Rc<Self>,
        shard: &Shard,
        state: &mut ConnState,
        peer_eof: PeerEof,
        code: u16,
        reason: &str,
    ) {
        self.linger(shard, state, peer_eof);
        if state.stage.close_event() == CloseEvent::Pending {
            self.send_close_event(shard, state, code, reason);
        }
    }

    /// The peer says no more: the receiver says when it has answered. A handler process does so when it comes upon the
    /// close event; a plain process, for which somebody watches it, gets that afterwards.
    pub(super) fn await_answers(
        self: &Rc<Self>,
        shard: &Shard,
        state: &mut ConnState,
        peer_eof: PeerEof,
        code: u16,
        reason: &str,
    ) {
        state.stage.answer(peer_eof);
        self.start_close_timeout(shard, state);
        if self.server.config.mode == Mode::Owner {
            self.release_paced(shard, state);
            self.deliver(shard, state, |delivery| delivery.ending());
        } else {
            self.send_close_event(shard, state, code, reason);
        }
    }

    /// Says the last word.
    fn send_answered_close(self: &Rc<Self>, shard: &Shard, state: &mut ConnState) {
        let mut out = Vec::new();
        state.session.answer(&mut out);
        if !out.is_empty() {
            self.owe(shard, state, &out);
        }
        let CloseReason { code, reason, .. } = state.session.eof();
        let peer_eof = state.stage.phase().peer_eof();
        self.end(shard, state, peer_eof, code, &reason);
        state.wake();
    }

    /// All is said: writes what is left, and lets the socket go.
    fn linger(self: &Rc<Self>, shard: &Shard, state: &mut ConnState, peer_eof: PeerEof) {
        shard.handle.slots.set_closing(self.id);
        self.server.release_permit(self.facts.peer_ip());
        if state.rare.take(|rare| &mut rare.late).is_some() {
            shard.handle.open_messages.free_behind(self.id);
        }
        let linger_end = shard.now() + ticks(LINGER);
        state.deadline = if state.stage.phase().is_answering() && !state.outbox.is_empty() {
            // What answers the peer has the time that is left for that.
            state.deadline.max(linger_end)
        } else {
            linger_end
        };
        state.stage.linger(peer_eof);
        if state.stage.is_id_void() {
            shard.release_id(self, &state.receiver);
        }
        self.watch(shard, state);
        self.queue_write(shard, state);
    }

    fn close_info(&self, code: u16, reason: &str) -> CloseInfo {
        CloseInfo {
            code,
            reason: reason.into(),
            who: peer::packed(&self.facts.peer(), self.facts.path()),
        }
    }

    /// Delivers at once what came too fast: the task that would wait for its time may be gone before.
    fn release_paced(self: &Rc<Self>, shard: &Shard, state: &mut ConnState) {
        if state.rare.take(|rare| &mut rare.pace).is_some() {
            self.deliver(shard, state, |delivery| delivery.pump());
        }
    }

    fn send_close_event(
        self: &Rc<Self>,
        shard: &Shard,
        state: &mut ConnState,
        code: u16,
        reason: &str,
    ) {
        state.stage.queue_close_event();
        self.server.counters.note_close(code);
        if let Some(client) = self.server.client() {
            client.ended(code, reason);
        }
        self.release_paced(shard, state);
        let mut now = false;
        let ended = self.close_info(code, reason);
        self.deliver(shard, state, |delivery| now = delivery.closed(ended));
        if now {
            self.close_event_delivered(shard, state);
        } else if state.is_abandoned() {
            self.discard_held(shard, state);
        }
    }

    /// Nobody will ask for what is held, or come for it: only the end is told.
    pub(super) fn discard_held(self: &Rc<Self>, shard: &Shard, state: &mut ConnState) {
        let held = state.held.take();
        let last = held.and_then(|held| held.closed());
        if let Some(ended) = last {
            self.deliver(shard, state, |delivery| {
                delivery.closed(ended);
            });
            state.held = None;
        }
        self.close_event_delivered(shard, state);
    }

    /// The close event is delivered. From here on the id names nothing, unless the receiver may still answer.
    pub(super) fn close_event_delivered(self: &Rc<Self>, shard: &Shard, state: &mut ConnState) {
        state.stage.deliver_close_event();
        if state.receiver.inbox().is_none() {
            self.replace_receiver(state, EventReceiver::Nobody);
        }
        if !state.stage.is_id_void() {
            return;
        }
        shard.release_id(self, &state.receiver);
        if state.stage.phase() == Phase::Gone {
            // The news that the server has stopped comes after the last event of an owner, which may have waited for room.
            if std::mem::take(&mut state.gone_is_due) {
                shard.socket_gone(&self.server, &state.receiver);
            }
            shard.free_slot(self);
        }
    }

    /// The transport has ended.
    pub(super) fn transport_ended(self: &Rc<Self>, shard: &Shard, state: &mut ConnState) {
        match state.stage.phase() {
            Phase::Open | Phase::Answering(_) => {
                let CloseReason { code, reason, .. } = state.session.eof();
                self.end(shard, state, PeerEof::Seen, code, &reason);
            }
            Phase::Lingering { .. } => {}
            Phase::Gone => return,
        }
        state.lose_socket();
        let is_owned = self.server.config.mode == Mode::Owner;
        state.gone_is_due = if is_owned {
            state.stage.close_event() != CloseEvent::Delivered
        } else {
            self.server.is_stopping() && state.end_waits_for_credits()
        };
        state.deadline = if state.receiver.is_awaited() {
            shard.now() + ticks(self.server.config.attach_timeout)
        } else if state.gone_is_due && !is_owned {
            self.watch(shard, state);
            shard.now() + ticks(LINGER)
        } else {
            0
        };
        if !state.gone_is_due {
            shard.socket_gone(&self.server, &state.receiver);
        }
        if state.stage.is_slot_free() {
            shard.free_slot(self);
        }
    }

    /// Whether a handler process is about to answer what the peer said before it ended.
    fn will_be_answered(&self) -> bool {
        let state = self.state.borrow();
        state.stage.phase().is_answering() && state.receiver.inbox().is_some()
    }
}
