//! The states of a connection, from its handshake until its slot is free.
//!
//! Four questions are answered apart from each other, each by a type of its own.
//!
//! **Where does the conversation stand?** [`Phase`]:
//!
//! ```text
//!   Open ───────────────> Answering    the peer has closed, broken a rule, or writes no more
//!   Open ───────────────> Lingering    our Close frame was answered, or we have failed the connection
//!   Answering ──────────> Lingering    the receiver has answered, close_timeout is over, or we fail the connection
//!   Lingering ──────────> Gone         all is written and the peer has hung up, or the transport has ended
//! ```
//!
//! `Open` covers our own close as well: that our Close frame is out and its answer is waited for is known to
//! the session. There are two ends, in this order: the session is over (`Lingering`), then the socket is (`Gone`). A
//! transport that ends before takes both steps at once.
//!
//! **Who hears of it?** [`EventReceiver`]: a process is found at once, or is asked for and comes later; it may die.
//!
//! ```text
//!   Unassigned ──> Awaited ──> Inbox ──> Nobody
//! ```
//!
//! **What does the receiver know of the end?** [`CloseEvent`]: the close event is the last one, behind all that is
//! held for want of credits or room. It is queued when the phase is `Answering` or `Lingering`.
//!
//! ```text
//!   Pending ──> Queued ──> Delivered
//! ```
//!
//! **What does the way out wait for?** [`Writing`]: for the end of the turn, or for the socket.
//!
//! ```text
//!   Idle ──> Listed ──> Idle, or Blocked ──> Idle
//! ```
//!
//! The id is void when the close event is `Delivered` and the session is over: in `Answering` the receiver may still
//! send. The slot is free when the close event is `Delivered` and the socket is `Gone`. [`Stage`] holds the phase and the
//! close event together, and takes no other arrows than these.

use std::io;
use std::task::Waker;

use sockeye_protocol::{ClosedBy, Session};

use super::keep_alive::KeepAlive;
use super::rare::Rare;
use crate::model::active::Active;
use crate::model::pace::Pace;
use crate::net::transport::Transport;
use crate::settings::config::ServerConfig;
use crate::shard::deliver::{EventReceiver, Held};
use crate::shard::outbox::Outbox;
use crate::vm::batch::OpenInfo;
use crate::vm::inbox::Share;

/// Where the conversation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Neither side has ended the session; our Close frame may be out.
    Open,
    /// The peer says no more. Its receiver may still answer what it has said; the last word comes after that.
    Answering(PeerEof),
    /// All is said: what is left is written, then the peer may hang up.
    Lingering {
        peer_eof: PeerEof,
        /// The socket is shut down for writing.
        shut: bool,
    },
    /// The socket is gone.
    Gone,
}

/// Whether the peer has hung up, or is waited for to do so when the last word is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeerEof {
    /// Closing a socket that still receives would take from the peer what it has not read yet.
    Awaited,
    /// The peer has read all there was, or nobody has time for it.
    NotAwaited,
    /// The peer writes no more: there is nothing to read.
    Seen,
}

/// What the receiver knows of the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseEvent {
    Pending,
    /// The close event is on its way to the receiver's inbox, or the last of what is held for it.
    Queued,
    /// It is in the receiver's inbox, or there is no receiver.
    Delivered,
}

/// What the way out waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writing {
    /// Nothing.
    Idle,
    /// The end of the turn: it is on the shard's list.
    Listed,
    /// The socket, which takes no more. The task of the connection writes on.
    Blocked {
        /// Shard time since which the queue is full; 0 for not full.
        full_since: u32,
    },
}

/// Bytes that the session has not seen, from `at` on.
pub(super) struct Unread {
    pub(super) bytes: Vec<u8>,
    pub(super) at: usize,
}

pub(super) struct ConnState {
    /// There unless the phase is `Gone`.
    stream: Option<Transport>,
    pub(super) session: Session,
    pub(super) outbox: Outbox,
    pub(super) receiver: EventReceiver,
    /// Events that wait for credits or room.
    pub(super) held: Option<Box<Held>>,
    /// What was read behind compressed messages that had to wait.
    pub(super) unread: Option<Box<Unread>>,
    pub(super) waker: Option<Waker>,
    pub(super) frames_in: u64,
    /// Bytes in the outbox that the peer made us owe.
    pub(super) owed: u32,
    /// Shard time until which the process that is awaited may come, or the peer may end; 0 for ever.
    pub(super) deadline: u32,
    pub(super) keep_alive: KeepAlive,
    pub(super) rare: Rare,
    pub(super) share: Share,
    pub(super) active: Active,
    pub(super) stage: Stage,
    pub(super) writing: Writing,
    /// Nobody will come for what is left to tell.
    pub(super) abandoned: bool,
    /// That the socket is gone is told behind the close event: the server stops, and its handler has given no credits for what is
    /// held. It has time for that, until the deadline.
    pub(super) gone_is_due: bool,
    pub(super) listed: Listed,
}

/// On which lists of the shard a connection is, once at most.
#[derive(Clone, Copy, Default)]
pub(super) struct Listed {
    /// Those that wait for room in their inbox.
    pub(super) waiting: bool,
    /// Those that the sweep looks at with each step of the clock.
    pub(super) watched: bool,
}

/// Where a connection stands. It changes by the transitions below only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stage {
    phase: Phase,
    close_event: CloseEvent,
}

/// An arrow in the pictures above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transition {
    Answer,
    Linger,
    QueueCloseEvent,
    DeliverCloseEvent,
    LoseSocket,
}

impl Stage {
    pub(super) const OPEN: Stage = Stage {
        phase: Phase::Open,
        close_event: CloseEvent::Pending,
    };

    fn allows(self, transition: Transition) -> bool {
        let Stage { phase, close_event } = self;
        match transition {
            Transition::Answer => phase == Phase::Open,
            Transition::Linger => phase == Phase::Open || phase.is_answering(),
            Transition::QueueCloseEvent => {
                close_event == CloseEvent::Pending && (phase.is_answering() || phase.is_lingering())
            }
            Transition::DeliverCloseEvent => close_event == CloseEvent::Queued,
            Transition::LoseSocket => phase.is_lingering() && close_event != CloseEvent::Pending,
        }
    }

    /// An arrow that is not in the pictures is a defect of ours.
    fn check(self, transition: Transition) {
        debug_assert!(self.allows(transition), "{transition:?} in {self:?}");
    }

    /// The peer says no more, and may be answered.
    pub(super) fn answer(&mut self, peer_eof: PeerEof) {
        self.check(Transition::Answer);
        self.phase = Phase::Answering(peer_eof);
    }

    /// The session is over.
    pub(super) fn linger(&mut self, peer_eof: PeerEof) {
        self.check(Transition::Linger);
        let shut = false;
        self.phase = Phase::Lingering { peer_eof, shut };
    }

    pub(super) fn queue_close_event(&mut self) {
        self.check(Transition::QueueCloseEvent);
        self.close_event = CloseEvent::Queued;
    }

    pub(super) fn deliver_close_event(&mut self) {
        self.check(Transition::DeliverCloseEvent);
        self.close_event = CloseEvent::Delivered;
    }

    /// See [`ConnState::lose_socket`].
    fn lose_socket(&mut self) {
        self.check(Transition::LoseSocket);
        self.phase = Phase::Gone;
    }

    pub(super) fn phase(self) -> Phase {
        self.phase
    }

    pub(super) fn close_event(self) -> CloseEvent {
        self.close_event
    }

    /// Whether the id names nothing any more.
    pub(super) fn is_id_void(self) -> bool {
        self.close_event == CloseEvent::Delivered && self.phase.is_over()
    }

    /// Whether another connection may have the slot.
    pub(super) fn is_slot_free(self) -> bool {
        self.close_event == CloseEvent::Delivered && self.phase == Phase::Gone
    }

    /// Nobody has time to wait for the peer. In phase `Open` the peer has a Close frame to answer.
    pub(super) fn stop_waiting_for_eof(&mut self) {
        if let Some(peer_eof) = self.phase.peer_eof_mut()
            && *peer_eof == PeerEof::Awaited
        {
            *peer_eof = PeerEof::NotAwaited;
        }
    }

    /// The peer writes no more. In phase `Open` that ends the session.
    pub(super) fn peer_eof_seen(&mut self) {
        if let Some(peer_eof) = self.phase.peer_eof_mut() {
            *peer_eof = PeerEof::Seen;
        }
    }

    /// The socket is shut down for writing.
    pub(super) fn socket_shut(&mut self) {
        if let Phase::Lingering { shut, .. } = &mut self.phase {
            *shut = true;
        }
    }
}

impl Phase {
    /// Whether all is said.
    pub(super) fn is_over(self) -> bool {
        matches!(self, Phase::Lingering { .. } | Phase::Gone)
    }

    pub(super) fn is_answering(self) -> bool {
        matches!(self, Phase::Answering(_))
    }

    pub(super) fn is_lingering(self) -> bool {
        matches!(self, Phase::Lingering { .. })
    }

    pub(super) fn peer_eof(mut self) -> PeerEof {
        self.peer_eof_mut().map_or(PeerEof::Awaited, |eof| *eof)
    }

    fn peer_eof_mut(&mut self) -> Option<&mut PeerEof> {
        match self {
            Phase::Answering(peer_eof) | Phase::Lingering { peer_eof, .. } => Some(peer_eof),
            Phase::Open | Phase::Gone => None,
        }
    }
}

impl PeerEof {
    /// Who has answered our Close frame has read all there was.
    pub(super) fn after_end(self, by: ClosedBy) -> Self {
        match (self, by) {
            (PeerEof::Awaited, ClosedBy::Local) => PeerEof::NotAwaited,
            _ => self,
        }
    }
}

impl Writing {
    pub(super) fn is_blocked(self) -> bool {
        matches!(self, Writing::Blocked { .. })
    }
}

impl ConnState {
    /// After the handshake.
    pub(super) fn new(stream: Transport, info: Box<OpenInfo>, config: &ServerConfig) -> Self {
        let mut rare = Rare::default();
        if let Some(rate) = config.message_rate {
            rare.fields().pace = Some(Box::new(Pace::new(rate)));
        }
        ConnState {
            stream: Some(stream),
            session: Session::with_deflate(config.role(), info.deflate),
            outbox: Outbox::default(),
            receiver: EventReceiver::Unassigned(info),
            held: None,
            unread: None,
            waker: None,
            frames_in: 0,
            owed: 0,
            deadline: 0,
            keep_alive: KeepAlive::default(),
            rare,
            share: Share::default(),
            active: config.active,
            stage: Stage::OPEN,
            writing: Writing::Idle,
            abandoned: false,
            gone_is_due: false,
            listed: Listed::default(),
        }
    }

    pub(super) fn stream(&mut self) -> Option<&mut Transport> {
        self.stream.as_mut()
    }

    /// Writes what is queued: see [`Outbox::write`]. None without a socket.
    pub(super) fn write(&mut self) -> Option<io::Result<(usize, bool)>> {
        let stream = self.stream.as_mut()?;
        // Without a waker the task has not run yet, and looks when it does.
        let waker = self.waker.as_ref().unwrap_or(Waker::noop());
        Some(self.outbox.write(stream, waker))
    }

    /// The socket is gone, and what was queued for it.
    pub(super) fn lose_socket(&mut self) {
        self.stage.lose_socket();
        self.stream = None;
        self.rare.take(|rare| &mut rare.traces);
        self.outbox.clear();
        if self.writing.is_blocked() {
            self.writing = Writing::Idle;
        }
    }

    /// Whether the deadline is for the peer to end what it or we have begun to end.
    pub(super) fn is_closing(&self) -> bool {
        match self.stage.phase {
            Phase::Open => !self.session.is_open(),
            Phase::Answering(_) | Phase::Lingering { .. } => true,
            Phase::Gone => false,
        }
    }

    /// Whether nobody will ask for what is held. What only waits for room still goes.
    pub(super) fn is_abandoned(&self) -> bool {
        let undelivered = self.stage.close_event != CloseEvent::Delivered;
        self.abandoned && self.stage.phase.is_over() && undelivered && !self.listed.waiting
    }

    /// Whether its handler has to give credits before it hears of the end.
    pub(super) fn end_waits_for_credits(&self) -> bool {
        let waits = self.stage.close_event == CloseEvent::Queued && !self.listed.waiting;
        waits && self.receiver.inbox().is_some() && !self.active.has_credit()
    }

    pub(super) fn held_cost(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.cost())
    }

    /// Shows whole frames, or pieces of them, to who watches.
    #[inline]
    pub(super) fn trace(&mut self, incoming: bool, bytes: &[u8]) {
        if let Some(rare) = self.rare.get_mut()
            && let Some(traces) = &mut rare.traces
            && traces.see(incoming, bytes)
        {
            self.rare.take(|rare| &mut rare.traces);
        }
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
