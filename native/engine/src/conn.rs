//! A connection after its handshake: the state, and the task that moves its bytes.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use sockeye_protocol::{By, CloseReason, Progress, Role, Session};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::active::{Active, SetActive};
use crate::batch::OpenInfo;
use crate::deliver::{Delivery, Held, Route};
use crate::id::ConnId;
use crate::inbox::Share;
use crate::op::ConnStats;
use crate::outbox::{Outbox, Part};
use crate::server::{Server, bump};
use crate::shard::{Shard, ticks};

/// A connection whose receiver wants nothing goes on reading until it holds this much, so that
/// pings behind a few messages are still answered.
const HOLD: usize = 16 * 1024;

/// How much is read at once while the receiver is behind.
const SMALL_READ: usize = 8 * 1024;

/// How long a peer may take to hang up when all is said.
const LINGER: Duration = Duration::from_secs(1);

/// Answers to pings that may wait in the queue before reading stops.
const OWED: usize = 64 * 1024;

/// Facts that never change.
pub(crate) struct Meta {
    pub(crate) peer: std::net::SocketAddr,
    pub(crate) path: Box<str>,
    pub(crate) query: Box<str>,
    pub(crate) subprotocol: Option<Box<str>>,
    pub(crate) opened: Instant,
}

pub(crate) struct Conn {
    pub(crate) id: ConnId,
    pub(crate) server: Arc<Server>,
    /// Its place in the shard's list of the server's connections.
    pub(crate) member: Cell<u32>,
    meta: Box<Meta>,
    state: RefCell<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Open, or our close frame is out.
    Talking,
    /// All is said: write what is left, then wait for the peer to hang up.
    Lingering,
    /// The socket is gone.
    Gone,
}

struct State {
    stream: Option<TcpStream>,
    session: Session,
    outbox: Outbox,
    route: Route,
    held: Option<Box<Held>>,
    /// Kept until the receiver is known.
    info: Option<Box<OpenInfo>>,
    waker: Option<Waker>,
    frames_in: u64,
    /// Bytes in the outbox that the peer made us owe.
    owed: usize,
    /// Shard time at which patience ends; 0 for never.
    deadline: u32,
    /// Shard time since which the queue is full; 0 for not full.
    full_since: u32,
    share: Share,
    active: Active,
    phase: Phase,
    /// The close event is with the receiver.
    told: bool,
    wants_write: bool,
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
        stream: TcpStream,
        info: Box<OpenInfo>,
    ) -> Rc<Self> {
        let active = server.config.active;
        Rc::new(Conn {
            id,
            member: Cell::new(0),
            meta: Box::new(Meta {
                peer: info.peer,
                path: info.request.path().into(),
                query: info.request.query().into(),
                subprotocol: info.subprotocol.clone(),
                opened: Instant::now(),
            }),
            state: RefCell::new(State {
                stream: Some(stream),
                session: Session::new(Role::Server),
                outbox: Outbox::default(),
                route: Route::None,
                held: None,
                info: Some(info),
                waker: None,
                frames_in: 0,
                owed: 0,
                deadline: 0,
                full_since: 0,
                share: Share::default(),
                active,
                phase: Phase::Talking,
                told: false,
                wants_write: false,
                shut: false,
                patient: true,
                unattached: false,
                abandoned: false,
                dirty: false,
                waiting: false,
                watched: false,
            }),
            server,
        })
    }

    /// Gives the connection its receiver, which hears of it first and then gets what was held.
    pub(crate) fn set_route(self: &Rc<Self>, shard: &Shard, route: Route) {
        let mut state = self.state.borrow_mut();
        state.route = route;
        if self.attached(&mut state) && !state.is_closing() {
            state.deadline = 0;
        }
        let info = state.info.take();
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
        state.unattached = true;
        let unattached = &self.server.counters.unattached;
        unattached.fetch_add(1, Ordering::Relaxed);
        state.deadline = shard.now() + ticks(self.server.config.attach_timeout);
        self.watch(shard, &mut state);
    }

    /// The process behind this inbox has been asked for one.
    pub(crate) fn announced_to(&self, acceptor: u64) {
        if let Some(info) = &mut self.state.borrow_mut().info {
            info.acceptor = acceptor;
        }
    }

    pub(crate) fn waits_for(&self, acceptor: u64) -> bool {
        let state = self.state.borrow();
        state.unattached && state.info.as_ref().is_some_and(|i| i.acceptor == acceptor)
    }

    /// The wait for a process is over. False if there was none.
    fn attached(&self, state: &mut State) -> bool {
        let waited = std::mem::take(&mut state.unattached);
        if waited {
            let unattached = &self.server.counters.unattached;
            unattached.fetch_sub(1, Ordering::Relaxed);
        }
        waited
    }

    /// Moves the connection to another plain process.
    pub(crate) fn set_owner(self: &Rc<Self>, shard: &Shard, route: Route) {
        let mut state = self.state.borrow_mut();
        if matches!(state.route, Route::Push(_)) {
            state.route = route;
            self.deliver(shard, &mut state, |delivery| delivery.pump());
            self.after_pump(shard, &mut state);
        }
    }

    /// Whether its events go to this inbox or plain process.
    pub(crate) fn is_routed_to(&self, key: u64, owner: bool) -> bool {
        match &self.state.borrow().route {
            Route::Pull(inbox) => !owner && inbox.key() == key,
            Route::Push(staging) => owner && staging.owner.key() == key,
            Route::None => false,
        }
    }

    pub(crate) fn set_active(self: &Rc<Self>, shard: &Shard, change: SetActive) {
        let mut state = self.state.borrow_mut();
        let ran_out = state.active.set(change);
        self.deliver(shard, &mut state, |delivery| {
            if ran_out {
                delivery.notify(|batch, conn| batch.push_passive(conn));
            }
            delivery.pump();
        });
        self.after_pump(shard, &mut state);
    }

    /// There is room in the inbox. If it is not enough, the connection waits again. True if
    /// something was delivered.
    pub(crate) fn resume(self: &Rc<Self>, shard: &Shard) -> bool {
        let mut state = self.state.borrow_mut();
        state.waiting = false;
        let before = state.held_cost();
        self.deliver(shard, &mut state, |delivery| delivery.pump());
        self.after_pump(shard, &mut state);
        state.held_cost() != before
    }

    /// Queues a part of a buffer. Its bytes have been counted in the slot.
    pub(crate) fn send(self: &Rc<Self>, shard: &Shard, part: Part) {
        let mut state = self.state.borrow_mut();
        if state.session.is_open() {
            state.outbox.push(part);
            self.soil(shard, &mut state);
        }
    }

    /// Starts the close handshake.
    pub(crate) fn close(self: &Rc<Self>, shard: &Shard, code: u16, reason: &str) {
        let mut state = self.state.borrow_mut();
        let mut out = Vec::new();
        state.abandoned |= state.unattached;
        if state.session.close(code, reason, &mut out) {
            shard.handle.slots.set_closing(self.id);
            self.owe(shard, &mut state, &out);
            self.limit_patience(shard, &mut state);
            state.wake();
        }
    }

    /// Ends the connection for what the peer or its receiver did, without waiting for the peer.
    pub(crate) fn fail(self: &Rc<Self>, shard: &Shard, code: u16, reason: &str) {
        let mut state = self.state.borrow_mut();
        state.abandoned |= state.unattached;
        if state.phase != Phase::Talking {
            return;
        }
        let mut out = Vec::new();
        state.session.fail(code, reason, &mut out);
        self.owe(shard, &mut state, &out);
        self.end(shard, &mut state, code, reason);
        state.wake();
    }

    /// The receiver is dead: nobody will hear of the end.
    pub(crate) fn orphan(self: &Rc<Self>, shard: &Shard, reason: &str) {
        {
            let mut state = self.state.borrow_mut();
            self.attached(&mut state);
            state.route = Route::None;
            state.held = None;
            state.info = None;
            if state.phase != Phase::Talking && !state.told {
                self.tell(shard, &mut state);
            }
        }
        self.fail(shard, 1011, reason);
        let mut state = self.state.borrow_mut();
        state.held = None;
        if !state.told {
            self.tell(shard, &mut state);
        }
    }

    /// The server stops: closes an open connection, and lets a closed one go without waiting.
    pub(crate) fn leave(self: &Rc<Self>, shard: &Shard, code: u16, reason: &str) {
        self.close(shard, code, reason);
        let mut state = self.state.borrow_mut();
        // A handler process still takes what it has not seen; others come no more.
        state.abandoned = state.route.inbox().is_none();
        if state.abandoned && state.phase != Phase::Talking && !state.told {
            self.give_up(shard, &mut state);
        }
        if state.deadline != 0 {
            state.deadline = state.deadline.min(shard.now() + ticks(LINGER));
        }
        if state.phase == Phase::Lingering {
            state.patient = false;
            if state.shut {
                self.lose(shard, &mut state);
            }
            state.wake();
        }
    }

    /// Drops the socket whatever is left to say.
    pub(crate) fn abort(self: &Rc<Self>, shard: &Shard) {
        let mut state = self.state.borrow_mut();
        if let Some(stream) = &state.stream {
            // Unsent data would keep the kernel busy with a peer that does not read.
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
        self.lose(shard, &mut state);
        state.wake();
    }

    pub(crate) fn stats(&self, shard: &Shard) -> ConnStats {
        let state = self.state.borrow();
        ConnStats {
            peer: self.meta.peer,
            path: self.meta.path.clone(),
            query: self.meta.query.clone(),
            subprotocol: self.meta.subprotocol.clone(),
            age: self.meta.opened.elapsed().as_millis() as u64,
            queue: shard.handle.slots.queued(self.id),
            held: state.held_cost(),
            frames_in: state.frames_in,
            active: state.active,
        }
    }

    /// Writes what is queued, as much as the socket takes.
    pub(crate) fn flush(self: &Rc<Self>, shard: &Shard) {
        let mut state = self.state.borrow_mut();
        state.dirty = false;
        self.write_out(shard, &mut state);
    }

    /// Looks at the clock. False once there is no reason to look again.
    pub(crate) fn sweep(self: &Rc<Self>, shard: &Shard, now: u32) -> bool {
        let mut state = self.state.borrow_mut();
        if state.deadline != 0 && now >= state.deadline {
            let missed = state.unattached && !state.is_closing();
            drop(state);
            if missed {
                self.orphan(shard, "no handler");
            } else {
                self.abort(shard);
            }
            state = self.state.borrow_mut();
        }
        let full = state.wants_write && shard.handle.slots.is_full(self.id);
        match (full, state.full_since) {
            (false, _) => state.full_since = 0,
            (true, 0) => state.full_since = now,
            (true, since) => {
                let limit = ticks(self.server.config.send_timeout);
                if now - since >= limit && state.phase == Phase::Talking {
                    state.full_since = 0;
                    self.limit_patience(shard, &mut state);
                    drop(state);
                    self.fail(shard, 1008, "send timeout");
                    return true;
                }
            }
        }
        state.watched = state.wants_write || state.deadline != 0;
        state.watched
    }

    /// Takes in bytes that came with the handshake or from the socket.
    pub(crate) fn receive(self: &Rc<Self>, shard: &Shard, input: &mut [u8]) {
        let mut state = self.state.borrow_mut();
        self.take_in(shard, &mut state, input);
    }

    fn take_in(self: &Rc<Self>, shard: &Shard, state: &mut State, input: &mut [u8]) {
        bump(&self.server.counters.bytes_in, input.len() as u64);
        // Whatever came, the turn that follows also looks at what other threads ask.
        shard.schedule();
        let mut out = shard.scratch.borrow_mut();
        out.clear();
        let State {
            session,
            route,
            held,
            active,
            share,
            ..
        } = state;
        let mut delivery = Delivery::new(self.id, route, held, active, share);
        let progress = session.receive(input, &self.server.config.limits, &mut out, &mut delivery);
        let outcome = delivery.finish();
        self.settle(shard, state, outcome);
        if !out.is_empty() {
            self.owe(shard, state, &out);
        }
        if let Progress::Finished(CloseReason { code, reason, by }) = progress
            && state.phase == Phase::Talking
        {
            // The peer has answered our close frame: it has read all there was.
            state.patient = by != By::Local;
            self.end(shard, state, code, &reason);
        }
    }

    fn deliver(
        self: &Rc<Self>,
        shard: &Shard,
        state: &mut State,
        work: impl FnOnce(&mut Delivery<'_>),
    ) {
        let State {
            route,
            held,
            active,
            share,
            ..
        } = state;
        let mut delivery = Delivery::new(self.id, route, held, active, share);
        work(&mut delivery);
        let mut outcome = delivery.finish();
        outcome.messages = 0;
        self.settle(shard, state, outcome);
    }

    fn settle(self: &Rc<Self>, shard: &Shard, state: &mut State, outcome: crate::deliver::Outcome) {
        if outcome.messages > 0 {
            state.frames_in += outcome.messages;
            bump(&self.server.counters.frames_in, outcome.messages);
        }
        if outcome.ring {
            shard.touch(&state.route);
        }
        if outcome.wait && !state.waiting {
            state.waiting = true;
            shard.wait(self, &state.route);
        }
        if outcome.dead {
            shard.orphan_later(self);
        }
    }

    /// After held events have moved: the last one may have gone, or reading may go on.
    fn after_pump(self: &Rc<Self>, shard: &Shard, state: &mut State) {
        if state.phase != Phase::Talking && !state.told && state.held.is_none() {
            self.tell(shard, state);
        }
        state.wake();
    }

    /// Queues bytes that the protocol owes the peer.
    fn owe(self: &Rc<Self>, shard: &Shard, state: &mut State, out: &[u8]) {
        state.owed += out.len();
        shard.handle.slots.charge(self.id, out.len());
        state.outbox.push_bytes(out);
        self.soil(shard, state);
    }

    fn soil(self: &Rc<Self>, shard: &Shard, state: &mut State) {
        // One that waits for the socket is flushed by its task.
        if !state.dirty && !state.wants_write {
            state.dirty = true;
            shard.soiled(self);
        }
    }

    fn limit_patience(self: &Rc<Self>, shard: &Shard, state: &mut State) {
        state.deadline = shard.now() + ticks(self.server.config.close_timeout);
        self.watch(shard, state);
    }

    fn watch(self: &Rc<Self>, shard: &Shard, state: &mut State) {
        if !state.watched {
            state.watched = true;
            shard.watch(self);
        }
    }

    /// The protocol is over: tells the receiver, and lets the socket go when all is written.
    fn end(self: &Rc<Self>, shard: &Shard, state: &mut State, code: u16, reason: &str) {
        shard.handle.slots.set_closing(self.id);
        self.server.vacate();
        state.phase = Phase::Lingering;
        let mut now = false;
        self.deliver(shard, state, |delivery| now = delivery.closed(code, reason));
        if now {
            self.tell(shard, state);
        } else if state.abandoned {
            self.give_up(shard, state);
        }
        state.deadline = shard.now() + ticks(LINGER);
        self.watch(shard, state);
        self.soil(shard, state);
    }

    /// Nobody will ask for what is held, or come for it: only the end is told.
    fn give_up(self: &Rc<Self>, shard: &Shard, state: &mut State) {
        let held = state.held.take();
        let last = held.and_then(|held| held.closed());
        if let Some((code, reason)) = last {
            self.deliver(shard, state, |delivery| {
                delivery.closed(code, &reason);
            });
            state.held = None;
        }
        state.info = None;
        self.tell(shard, state);
    }

    /// The close event is delivered: from here on the id names nothing.
    fn tell(self: &Rc<Self>, shard: &Shard, state: &mut State) {
        state.told = true;
        self.attached(state);
        shard.forget(self);
        if state.phase == Phase::Gone {
            shard.retire(self);
        }
    }

    /// The transport has ended.
    fn lose(self: &Rc<Self>, shard: &Shard, state: &mut State) {
        if state.phase == Phase::Gone {
            return;
        }
        if state.phase == Phase::Talking {
            let CloseReason { code, reason, .. } = state.session.eof();
            self.end(shard, state, code, &reason);
        }
        state.phase = Phase::Gone;
        state.stream = None;
        state.outbox.clear();
        state.deadline = if state.unattached {
            shard.now() + ticks(self.server.config.attach_timeout)
        } else {
            0
        };
        state.wants_write = false;
        shard.left(&self.server);
        if state.told {
            shard.retire(self);
        }
    }

    fn write_out(self: &Rc<Self>, shard: &Shard, state: &mut State) {
        let Some(stream) = &state.stream else { return };
        match state.outbox.write(stream) {
            Ok((n, done)) => {
                if n > 0 {
                    shard.handle.slots.release(self.id, n);
                    bump(&self.server.counters.bytes_out, n as u64);
                }
                let blocked = !done && !state.wants_write;
                state.wants_write = !done;
                // Which of the bytes were owed is not known: those that went first, say.
                let stuffed = state.owed > OWED;
                state.owed = if done {
                    0
                } else {
                    state.owed.saturating_sub(n)
                };
                if stuffed && state.owed <= OWED {
                    state.wake();
                }
                if !done {
                    self.watch(shard, state);
                }
                // The task must ask the socket to tell when it is writable, or shut it down.
                if blocked || (done && state.phase == Phase::Lingering) {
                    state.wake();
                }
            }
            Err(_) => {
                self.lose(shard, state);
                state.wake();
            }
        }
    }

    fn poll(self: &Rc<Self>, shard: &Shard, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        if state.waker.is_none() {
            state.waker = Some(cx.waker().clone());
        }
        loop {
            let Some(stream) = &mut state.stream else {
                return Poll::Ready(());
            };
            if state.wants_write {
                match stream.poll_write_ready(cx) {
                    Poll::Ready(Ok(())) => {
                        self.write_out(shard, state);
                        continue;
                    }
                    Poll::Ready(Err(_)) => {
                        self.lose(shard, state);
                        continue;
                    }
                    Poll::Pending => {}
                }
            } else if state.phase == Phase::Lingering && !state.shut && state.outbox.is_empty() {
                state.shut = true;
                let shut = Pin::new(stream).poll_shutdown(cx);
                if !state.patient || matches!(shut, Poll::Ready(Err(_))) {
                    self.lose(shard, state);
                }
                continue;
            }
            let Some(len) = state.read_size() else {
                return Poll::Pending;
            };
            let Some(stream) = &mut state.stream else {
                return Poll::Ready(());
            };
            let mut buffer = shard.read_buffer.borrow_mut();
            let room = buffer.len().min(len);
            let mut read = ReadBuf::new(buffer.get_mut(..room).unwrap_or_default());
            match Pin::new(stream).poll_read(cx, &mut read) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => self.lose(shard, state),
                Poll::Ready(Ok(())) if read.filled().is_empty() => {
                    // Who writes no more may still read, and wait for the answer to its close.
                    self.write_out(shard, state);
                    self.lose(shard, state);
                }
                Poll::Ready(Ok(())) => {
                    let full = read.remaining() == 0;
                    if state.phase == Phase::Talking {
                        self.take_in(shard, state, read.filled_mut());
                    }
                    if full {
                        // There may be more: the others first, and other threads.
                        shard.schedule();
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl State {
    /// Whether the deadline is for the peer to end what it or we have begun to end.
    fn is_closing(&self) -> bool {
        match self.phase {
            Phase::Talking => !self.session.is_open(),
            Phase::Lingering => true,
            Phase::Gone => false,
        }
    }

    fn held_cost(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.cost())
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// How much to read next; none while there is no place to put it.
    fn read_size(&self) -> Option<usize> {
        if self.owed > OWED {
            return None;
        }
        match &self.held {
            // The session throws away what comes after our close frame.
            _ if !self.session.is_open() => Some(SMALL_READ),
            Some(held) => (held.cost() + self.session.buffered() < HOLD).then_some(SMALL_READ),
            None if self.route.inbox().is_some_and(|inbox| inbox.is_crowded()) => Some(SMALL_READ),
            None => Some(usize::MAX),
        }
    }
}

/// The task of a connection. It runs when there is something to read, when a full socket can
/// be written again, and when somebody wakes it.
pub(crate) struct Task {
    pub(crate) conn: Rc<Conn>,
    pub(crate) shard: Rc<Shard>,
}

impl Future for Task {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Task { conn, shard } = &*self;
        let work = std::panic::AssertUnwindSafe(|| conn.poll(shard, cx));
        match std::panic::catch_unwind(work) {
            Ok(poll) => poll,
            Err(_) => {
                // A defect of ours costs this connection only.
                conn.fail(shard, 1011, "internal error");
                conn.abort(shard);
                Poll::Ready(())
            }
        }
    }
}
