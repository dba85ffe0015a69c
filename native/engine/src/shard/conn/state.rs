//! The states of a connection, from its handshake until its slot is free.
//!
//! Four questions are answered apart from each other, each by a type of its own.
//!
//! **Where does the conversation stand?** [`Phase`]:
//!
//! ```text
//!            the peer has closed, broken a rule, or writes no more
//!   Open ──────────────────────────────────────────────> Answering
//!    │  our close was answered, or we failed it              │  the receiver has answered, or close_timeout is over
//!    ├──────────────────────────> Lingering <────────────────┤
//!    │                                │ all is written, the socket shut down, and the peer has hung up
//!    │       the transport has ended  v                      │
//!    └─────────────────────────────> Gone <──────────────────┘
//! ```
//!
//! `Open` covers our own close as well: that our Close frame is out and its answer is waited for is known to
//! the session. There are two ends, in this order: the session is over (`Lingering`), then the socket is (`Gone`).
//!
//! **Who hears of it?** [`EventReceiver`]: a process is found at once, or is asked for and comes later; it may die.
//!
//! ```text
//!   Unassigned ──> Awaited ──> Inbox ──> Nobody
//! ```
//!
//! **What does the receiver know of the end?** [`EndNews`]: the close event is the last one, behind all that is
//! held for want of credits or room. When it is delivered, the id of the connection names nothing any more, except
//! that in `Answering` the receiver may still send.
//!
//! ```text
//!   Untold ──> Queued ──> Told
//! ```
//!
//! **What does the way out wait for?** [`Writing`]: for the end of the turn, or for the socket.
//!
//! ```text
//!   Idle ──> Listed ──> Idle, or Blocked ──> Idle
//! ```
//!
//! The slot is free when the socket is `Gone` and the end is `Told`.

use std::task::Waker;

use sockeye_protocol::{ClosedBy, Session};

use super::keep_alive::KeepAlive;
use crate::model::active::Active;
use crate::model::pace::Pace;
use crate::net::transport::Transport;
use crate::settings::options::Rules;
use crate::shard::deliver::{Held, EventReceiver};
use crate::shard::outbox::Outbox;
use crate::vm::inbox::Share;

/// Where the conversation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Neither side has ended the session; our Close frame may be out.
    Open,
    /// The peer says no more. Its receiver may still answer what it has said; the last word comes after that.
    Answering(HangUp),
    /// All is said: what is left is written, then the peer may hang up.
    Lingering {
        hang_up: HangUp,
        /// The socket is shut down for writing.
        shut: bool,
    },
    /// The socket is gone.
    Gone,
}

/// Whether the peer has hung up, or is waited for to do so when the last word is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HangUp {
    /// Closing a socket that still receives would take from the peer what it has not read yet.
    Awaited,
    /// The peer has read all there was, or nobody has time for it.
    NotAwaited,
    /// The peer writes no more: there is nothing to read.
    Seen,
}

/// What the receiver knows of the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndNews {
    Untold,
    /// The close event is on its way to the receiver's inbox, or the last of what is held for it.
    Queued,
    /// It is in the receiver's inbox, or there is no receiver.
    Told,
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

pub(super) struct State {
    /// There unless the phase is `Gone`.
    pub(super) stream: Option<Transport>,
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
    /// Shard time at which patience ends, with the process that is awaited, or with the peer; 0 for never.
    pub(super) deadline: u32,
    pub(super) keep_alive: KeepAlive,
    /// Rules of its own; none for most.
    pub(super) own: Option<Box<Rules>>,
    /// How fast the peer may send; there while that is bounded.
    pub(super) pace: Option<Box<Pace>>,
    /// While a message is sent in pieces: the messages that wait for its end.
    pub(super) late: Option<Box<Outbox>>,
    pub(super) share: Share,
    pub(super) active: Active,
    pub(super) phase: Phase,
    pub(super) news: EndNews,
    pub(super) writing: Writing,
    /// Nobody will come for what is left to tell.
    pub(super) abandoned: bool,
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

    pub(super) fn hang_up(self) -> HangUp {
        match self {
            Phase::Answering(hang_up) | Phase::Lingering { hang_up, .. } => hang_up,
            Phase::Open | Phase::Gone => HangUp::Awaited,
        }
    }

    /// Nobody has time to wait for the peer. In phase `Open` the peer has a Close frame to answer.
    pub(super) fn do_not_wait(&mut self) {
        if let Phase::Answering(hang_up) | Phase::Lingering { hang_up, .. } = self
            && *hang_up == HangUp::Awaited
        {
            *hang_up = HangUp::NotAwaited;
        }
    }

    /// The peer writes no more. In phase `Open` that ends the session.
    pub(super) fn hang_up_seen(&mut self) {
        if let Phase::Answering(hang_up) | Phase::Lingering { hang_up, .. } = self {
            *hang_up = HangUp::Seen;
        }
    }
}

impl HangUp {
    /// Who has answered our Close frame has read all there was.
    pub(super) fn after_end(self, by: ClosedBy) -> Self {
        match (self, by) {
            (HangUp::Awaited, ClosedBy::Local) => HangUp::NotAwaited,
            _ => self,
        }
    }
}

impl Writing {
    pub(super) fn is_blocked(self) -> bool {
        matches!(self, Writing::Blocked { .. })
    }
}

impl State {
    /// Whether the deadline is for the peer to end what it or we have begun to end.
    pub(super) fn is_closing(&self) -> bool {
        match self.phase {
            Phase::Open => !self.session.is_open(),
            Phase::Answering(_) | Phase::Lingering { .. } => true,
            Phase::Gone => false,
        }
    }

    /// Whether nobody will ask for what is held. What only waits for room still goes.
    pub(super) fn is_given_up(&self) -> bool {
        let untold = self.news != EndNews::Told;
        self.abandoned && self.phase.is_over() && untold && !self.listed.waiting
    }

    pub(super) fn held_cost(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.cost())
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_is_waited_for_until_it_hangs_up_or_there_is_no_time() {
        let lingering = |hang_up| Phase::Lingering {
            hang_up,
            shut: false,
        };
        for phase in [Phase::Answering, lingering as fn(HangUp) -> Phase] {
            for (before, no_time, seen) in [
                (HangUp::Awaited, HangUp::NotAwaited, HangUp::Seen),
                (HangUp::NotAwaited, HangUp::NotAwaited, HangUp::Seen),
                (HangUp::Seen, HangUp::Seen, HangUp::Seen),
            ] {
                let mut now = phase(before);
                now.do_not_wait();
                assert_eq!(now, phase(no_time));
                now = phase(before);
                now.hang_up_seen();
                assert_eq!(now, phase(seen));
            }
        }
        for mut phase in [Phase::Open, Phase::Gone] {
            let before = phase;
            phase.do_not_wait();
            phase.hang_up_seen();
            assert_eq!(
                phase, before,
                "there is nothing to wait for yet, or any more"
            );
        }
    }

    #[test]
    fn only_who_has_answered_our_close_is_not_waited_for() {
        for by in [ClosedBy::Peer, ClosedBy::Violation, ClosedBy::Transport] {
            assert_eq!(HangUp::Awaited.after_end(by), HangUp::Awaited);
        }
        assert_eq!(HangUp::Awaited.after_end(ClosedBy::Local), HangUp::NotAwaited);
        assert_eq!(HangUp::Seen.after_end(ClosedBy::Local), HangUp::Seen);
    }

    #[test]
    fn the_states_are_small() {
        assert!(size_of::<Phase>() <= 3);
        assert_eq!(size_of::<Writing>(), 8);
    }
}
