//! A connection after its handshake.
//!
//! Here its state; in `events` the way to its receiver, in `io` the task that moves its
//! bytes, in `ending` how it ends.

#[cfg(test)]
mod boxed_tests;
mod ending;
mod events;
mod facts;
mod io;
mod pulse;
mod sending;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use sockeye_protocol::Session;

use crate::active::Active;
use crate::batch::OpenInfo;
use crate::compression::Compression;
use crate::deliver::{Held, Route};
use crate::front::Opened;
use crate::id::ConnId;
use crate::inbox::Share;
use crate::op::ConnStats;
use crate::options::{ConnOptions, Rules};
use crate::outbox::Outbox;
use crate::pace::Pace;
use crate::server::Server;
use crate::shard::Shard;
use crate::transport::Transport;

use facts::Facts;
pub(crate) use io::Task;
pub(crate) use pulse::Times;

pub(crate) struct Conn {
    pub(crate) id: ConnId,
    pub(crate) server: Arc<Server>,
    /// Its place in the shard's list of the server's connections.
    pub(crate) member: Cell<u32>,
    /// How what goes out to it is compressed.
    pub(crate) compression: Compression,
    facts: Facts,
    state: RefCell<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Open, or our close frame is out.
    Talking,
    /// The peer says no more. Its receiver may still answer what it has said; the last word comes after that.
    Answering,
    /// All is said: write what is left, then wait for the peer to hang up.
    Lingering,
    /// The socket is gone.
    Gone,
}

/// Bytes that the session has not seen, from `at` on.
struct Unread {
    bytes: Vec<u8>,
    at: usize,
}

struct State {
    stream: Option<Transport>,
    session: Session,
    outbox: Outbox,
    route: Route,
    held: Option<Box<Held>>,
    /// What was read behind compressed messages that had to wait.
    unread: Option<Box<Unread>>,
    /// Kept until the receiver is known.
    info: Option<Box<OpenInfo>>,
    waker: Option<Waker>,
    frames_in: u64,
    /// Bytes in the outbox that the peer made us owe.
    owed: u32,
    /// Shard time at which patience ends; 0 for never.
    deadline: u32,
    pulse: pulse::Pulse,
    /// Rules of its own; none for most.
    own: Option<Box<Rules>>,
    /// How fast it may send; there while that is bounded.
    pace: Option<Box<Pace>>,
    /// While a message is sent in pieces: the messages that wait for its end.
    late: Option<Box<Outbox>>,
    /// Shard time since which the queue is full; 0 for not full.
    full_since: u32,
    share: Share,
    active: Active,
    phase: Phase,
    /// The close event is with the receiver.
    told: bool,
    /// The close event is on its way to the receiver, if it is not held.
    announced: bool,
    /// The peer writes no more: there is nothing to read.
    deaf: bool,
    wants_write: bool,
    /// A ping of ours is unanswered.
    beat: bool,
    /// The socket is shut down for writing.
    shut: bool,
    /// After that, wait for the peer to hang up: closing a socket that still receives would
    /// take from the peer what it has not read yet.
    patient: bool,
    /// Counted as one that waits for a process of its own.
    unattached: bool,
    /// Nobody will come for what is left to tell.
    abandoned: bool,
    /// On the shard's lists: to flush, waiting for room, watched by the sweep.
    dirty: bool,
    waiting: bool,
    watched: bool,
}

impl Conn {
    pub(crate) fn new(
        id: ConnId,
        server: Arc<Server>,
        Opened {
            transport,
            info,
            options,
            ..
        }: Opened,
        now: u64,
    ) -> Rc<Self> {
        let active = server.config.active;
        let pace = server.config.message_rate;
        let conn = Rc::new(Conn {
            id,
            member: Cell::new(0),
            compression: Compression::of(info.deflate, server.config.role()),
            facts: Facts::new(&info, now),
            state: RefCell::new(State {
                stream: Some(transport),
                session: Session::with_deflate(server.config.role(), info.deflate),
                outbox: Outbox::default(),
                route: Route::None,
                held: None,
                unread: None,
                info: Some(info),
                waker: None,
                frames_in: 0,
                owed: 0,
                deadline: 0,
                pulse: pulse::Pulse::default(),
                own: None,
                late: None,
                pace: pace.map(|rate| Box::new(Pace::new(rate))),
                full_since: 0,
                share: Share::default(),
                active,
                phase: Phase::Talking,
                told: false,
                announced: false,
                deaf: false,
                wants_write: false,
                beat: false,
                shut: false,
                patient: true,
                unattached: false,
                abandoned: false,
                dirty: false,
                waiting: false,
                watched: false,
            }),
            server,
        });
        conn.configure(&options);
        conn
    }

    fn configure(&self, options: &ConnOptions) {
        let mut state = self.state.borrow_mut();
        if let Some(active) = options.active {
            state.active = active;
        }
        if Rules::differ(options) {
            let own = state.own.get_or_insert_with(|| Box::new(self.server.rules));
            own.apply(options);
        }
    }

    /// Changes what is given, from now on.
    pub(crate) fn set_options(self: &Rc<Self>, shard: &Shard, options: &ConnOptions) {
        self.configure(options);
        if let Some(bytes) = options.send_queue_size {
            shard.handle.slots.set_limit(self.id, bytes);
        }
        self.attend(shard);
    }

    /// The inbox that its events go to.
    pub(crate) fn inbox(&self) -> Option<u64> {
        self.state.borrow().route.inbox().map(|inbox| inbox.key())
    }

    pub(crate) fn stats(&self, shard: &Shard) -> ConnStats {
        let state = self.state.borrow();
        ConnStats {
            visitor: self.facts.visitor(),
            path: self.facts.path().into(),
            query: self.facts.query().into(),
            subprotocol: self.facts.subprotocol().map(Into::into),
            age: shard.millis().saturating_sub(self.facts.opened()),
            queue: shard.handle.slots.queued(self.id),
            held: state.held_cost(),
            frames_in: state.frames_in,
            active: state.active,
            deflate: state.session.deflate().is_some(),
        }
    }
}

impl State {
    /// Whether the deadline is for the peer to end what it or we have begun to end.
    fn is_closing(&self) -> bool {
        match self.phase {
            Phase::Talking => !self.session.is_open(),
            Phase::Answering | Phase::Lingering => true,
            Phase::Gone => false,
        }
    }

    fn rules<'a>(&'a self, conn: &'a Conn) -> &'a Rules {
        self.own.as_deref().unwrap_or(&conn.server.rules)
    }

    fn held_cost(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.cost())
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}
