//! Reading and writing the transport of a connection.

use std::io::ErrorKind;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use sockeye_protocol::{CloseReason, ClosedBy, Progress, Session};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Conn;
use super::ending::LINGER;
use super::state::{ConnState, PeerEof, Phase, Unread, Writing};
use crate::model::clock::ticks;
use crate::model::compression::Compression;
use crate::model::trace::Tracer;
use crate::server::bump;
use crate::shard::Shard;
use crate::shard::deliver::{Delivery, HOLD, Held};
use crate::shard::outbox::Segment;

/// How much is read at once while the receiver is behind, beside the rest of a frame.
const SMALL_READ: usize = 8 * 1024;

/// Answers to pings that may wait in the queue before reading stops.
const OWED: u32 = 64 * 1024;

impl Conn {
    /// Whether frames still go out to it: neither side has sent a Close frame.
    pub(crate) fn takes_frames(&self) -> bool {
        self.state.borrow().session.is_open()
    }

    /// Queues a part of a buffer. Its bytes have been counted in the slot.
    ///
    /// The messages in it that are not compressed yet are now, if they may be and nobody else can.
    pub(crate) fn send(self: &Rc<Self>, shard: &Shard, part: Segment, compress: bool) {
        let mut state = self.state.borrow_mut();
        if state.session.is_open() {
            let part = if compress && self.compression == Compression::Own {
                self.compress(shard, &mut state.session, &part)
            } else {
                part
            };
            state.trace(false, part.bytes());
            if state.rare.get().is_some_and(|rare| rare.late.is_some()) {
                let waiting = state.push_around(&part);
                shard.handle.open_messages.add_behind(self.id, waiting);
            } else {
                state.queue(part);
            }
            self.queue_write(shard, &mut state);
        }
    }

    fn compress(&self, shard: &Shard, session: &mut Session, part: &Segment) -> Segment {
        let mut codecs = shard.codecs.borrow_mut();
        let mut out = Vec::with_capacity(part.bytes().len() / 2);
        session.encode_frames(part.bytes(), &self.server.tuning(), &mut codecs, &mut out);
        let saved = part.bytes().len().saturating_sub(out.len());
        shard.handle.slots.release(self.id, saved);
        self.server.saved(saved);
        // Never longer than it was, and that has been counted in 32 bits.
        let len = out.len() as u32;
        Segment::new(Arc::new(out), 0, len)
    }

    /// Writes what is queued, as much as the socket takes.
    pub(crate) fn flush(self: &Rc<Self>, shard: &Shard) {
        let mut state = self.state.borrow_mut();
        if state.writing == Writing::Listed {
            state.writing = Writing::Idle;
        }
        self.write_out(shard, &mut state);
    }

    /// One more, or one less, watches the frames.
    pub(crate) fn set_trace(&self, change: Result<Tracer, u64>) {
        let mut state = self.state.borrow_mut();
        let ConnState {
            session,
            unread,
            rare,
            stage,
            ..
        } = &mut *state;
        match change {
            Ok(tracer) if stage.phase() != Phase::Gone => {
                let unread = unread
                    .as_deref()
                    .and_then(|unread| unread.bytes.get(unread.at..));
                let (left, head) = session.within();
                let traces = rare.fields().traces.get_or_insert_default();
                traces.add(tracer, left, [head, unread.unwrap_or_default()]);
            }
            Ok(tracer) => tracer.refuse(),
            Err(id) => {
                let traces = rare.get_mut().and_then(|rare| rare.traces.as_mut());
                if traces.is_some_and(|traces| traces.remove(id)) {
                    rare.take(|rare| &mut rare.traces);
                }
            }
        }
    }

    /// Takes in bytes that came with the handshake or from the socket.
    pub(crate) fn receive(self: &Rc<Self>, shard: &Shard, input: &mut [u8]) {
        let mut state = self.state.borrow_mut();
        self.take_in(shard, &mut state, input);
    }

    pub(super) fn take_in(self: &Rc<Self>, shard: &Shard, state: &mut ConnState, input: &mut [u8]) {
        bump(&self.traffic().bytes_in, input.len() as u64);
        shard.moved(input.len());
        state.keep_alive.received(shard.clock());
        state.trace(true, input);
        let left = self.digest(shard, state, input);
        if let Some(rest) = input
            .get(input.len() - left..)
            .filter(|rest| !rest.is_empty())
        {
            state.unread = Some(Box::new(Unread {
                bytes: rest.to_vec(),
                at: 0,
            }));
        }
        shard.note_read(input.len());
    }

    /// Takes in more of what was read before, if the receiver keeps up. False if there was none.
    fn read_on(self: &Rc<Self>, shard: &Shard, state: &mut ConnState, cx: &Context<'_>) -> bool {
        if state.stage.phase() != Phase::Open {
            state.unread = None;
        }
        // The session throws away what comes after our close frame.
        if state.is_held_back() && state.session.is_open() {
            return true;
        }
        let Some(mut unread) = state.unread.take() else {
            return false;
        };
        let rest = unread.bytes.get_mut(unread.at..).unwrap_or_default();
        let left = self.digest(shard, state, rest);
        if left > 0 {
            unread.at = unread.bytes.len() - left;
            state.unread = Some(unread);
        }
        // The others first.
        cx.waker().wake_by_ref();
        true
    }

    /// Hands bytes to the session. How many of the last ones have to wait.
    fn digest(self: &Rc<Self>, shard: &Shard, state: &mut ConnState, input: &mut [u8]) -> usize {
        // Whatever came, the turn that follows also looks at what other threads ask.
        shard.schedule();
        let mut out = shard.scratch.borrow_mut();
        out.clear();
        let ConnState {
            session,
            receiver,
            held,
            active,
            share,
            rare,
            keep_alive,
            ..
        } = state;
        let (own, mut pace) = rare.bounds();
        let limits = &own.unwrap_or(&self.server.rules).limits;
        let control = self.server.config.control_frames;
        if let Some(pace) = &mut pace {
            pace.refill();
        }
        let mut delivery = Delivery::new(self.id, receiver, held, active, share)
            .with_control(control, &mut keep_alive.pong_due)
            .with_pace(pace.as_deref_mut());
        let mut codecs = shard.codecs.borrow_mut();
        let (mut progress, left) =
            session.receive_some(input, limits, &mut codecs, &mut out, &mut delivery);
        drop(codecs);
        let follow_up = delivery.finish();
        if pace.as_ref().is_some_and(|pace| pace.is_exceeded()) {
            session.end(1008, "too many messages");
            progress = session.progress();
        }
        self.settle(shard, state, follow_up);
        if !out.is_empty() {
            self.owe(shard, state, &out);
        }
        if state.stage.phase() == Phase::Open {
            self.look_for_end(shard, state, progress, PeerEof::Awaited);
        }
        left
    }

    /// Whether the session is at its end, or the peer.
    pub(super) fn look_for_end(
        self: &Rc<Self>,
        shard: &Shard,
        state: &mut ConnState,
        progress: Progress,
        peer_eof: PeerEof,
    ) {
        if let Progress::Ended(end) | Progress::Finished(end) = &progress
            && end.by == ClosedBy::Violation
        {
            bump(&self.server.counters.failed, 1);
        }
        match progress {
            Progress::Open | Progress::Closing => {}
            Progress::Ended(CloseReason { code, reason, .. }) => {
                self.await_answers(shard, state, peer_eof, code, &reason);
            }
            Progress::Finished(CloseReason { code, reason, by }) => {
                self.end(shard, state, peer_eof.after_end(by), code, &reason);
            }
        }
    }

    /// The peer writes no more. It may still read, and wait for answers.
    fn heard_last(self: &Rc<Self>, shard: &Shard, state: &mut ConnState) {
        if state.stage.phase() == Phase::Open {
            let progress = state.session.end_of_input();
            self.look_for_end(shard, state, progress, PeerEof::Seen);
        } else {
            state.stage.peer_eof_seen();
        }
    }

    /// Queues bytes that the protocol owes the peer.
    pub(super) fn owe(self: &Rc<Self>, shard: &Shard, state: &mut ConnState, out: &[u8]) {
        self.owe_part(shard, state, Segment::copy_of(out));
    }

    /// The same, of bytes that may be shared.
    pub(super) fn owe_part(self: &Rc<Self>, shard: &Shard, state: &mut ConnState, out: Segment) {
        let len = out.bytes().len();
        state.owed = state.owed.saturating_add(len as u32);
        shard.handle.slots.charge(self.id, len);
        state.trace(false, out.bytes());
        state.queue(out);
        self.queue_write(shard, state);
    }

    /// Has what is queued written when the turn ends. Where the socket is waited for, the task does it.
    pub(super) fn queue_write(self: &Rc<Self>, shard: &Shard, state: &mut ConnState) {
        if state.writing == Writing::Idle {
            state.writing = Writing::Listed;
            shard.schedule.write(self.clone());
        }
    }

    pub(super) fn write_out(self: &Rc<Self>, shard: &Shard, state: &mut ConnState) {
        let was_blocked = state.writing.is_blocked();
        match state.write() {
            None => {}
            Some(Ok((n, done))) => {
                if n > 0 {
                    shard.handle.slots.release(self.id, n);
                    bump(&self.traffic().bytes_out, n as u64);
                    if was_blocked {
                        state.keep_alive.made_progress(shard.clock());
                    }
                }
                let blocks = !done && !was_blocked;
                if done {
                    state.writing = Writing::Idle;
                } else if blocks {
                    state.writing = Writing::Blocked { full_since: 0 };
                }
                // Which of the bytes were owed is not known: those that went first, say.
                let was_full = state.owed > OWED;
                state.owed = if done {
                    0
                } else {
                    state.owed.saturating_sub(n as u32)
                };
                if was_full && state.owed <= OWED {
                    state.wake();
                }
                let lingers = state.stage.phase().is_lingering();
                if done && lingers {
                    state.deadline = state.deadline.min(shard.now() + ticks(LINGER));
                }
                if !done {
                    self.watch(shard, state);
                }
                // The task must ask the socket to tell when it is writable, or shut it down.
                if blocks || (done && lingers) {
                    state.wake();
                }
            }
            Some(Err(_)) => {
                self.transport_ended(shard, state);
                state.wake();
            }
        }
    }

    /// Delivers what was held for coming too fast, as its time comes.
    fn keep_pace(self: &Rc<Self>, shard: &Shard, state: &mut ConnState, cx: &mut Context<'_>) {
        while state.is_paced() {
            let pace = state.rare.bounds().1;
            match pace.map(|pace| pace.poll_wait(cx)) {
                Some(Poll::Ready(())) => {}
                Some(Poll::Pending) | None => return,
            }
            let before = state.held_cost();
            self.deliver(shard, state, |delivery| delivery.pump());
            if state.held_cost() == before {
                // Something else is in the way, and tells when it is not.
                return;
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
            let is_blocked = state.writing.is_blocked();
            let Some(stream) = state.stream() else {
                return Poll::Ready(());
            };
            if is_blocked {
                match stream.poll_write_ready(cx) {
                    Poll::Ready(Ok(())) => {
                        let wakes = stream.wakes();
                        self.write_out(shard, state);
                        // Trying again would only find it full again.
                        if !(wakes && state.writing.is_blocked()) {
                            continue;
                        }
                    }
                    Poll::Ready(Err(_)) => {
                        self.transport_ended(shard, state);
                        continue;
                    }
                    Poll::Pending => {}
                }
            } else if let Phase::Lingering { peer_eof, shut } = state.stage.phase() {
                if shut && peer_eof != PeerEof::Awaited {
                    self.transport_ended(shard, state);
                    continue;
                }
                if !shut
                    && state.outbox.is_empty()
                    && let Some(stream) = state.stream()
                {
                    match Pin::new(stream).poll_shutdown(cx) {
                        Poll::Ready(Ok(())) => {
                            state.stage.socket_shut();
                            continue;
                        }
                        Poll::Ready(Err(_)) => {
                            self.transport_ended(shard, state);
                            continue;
                        }
                        Poll::Pending => {}
                    }
                }
            }
            if state.is_paced() {
                // What may come now has been moved on the way.
                self.keep_pace(shard, state, cx);
            }
            if state.unread.is_some() && self.read_on(shard, state, cx) {
                return Poll::Pending;
            }
            let Some(len) = state.read_size() else {
                return Poll::Pending;
            };
            if shard.has_read_much() {
                // The turn has been asked for, and stands before this task then.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let Some(stream) = state.stream() else {
                return Poll::Ready(());
            };
            let mut buffer = shard.read_buffer.borrow_mut();
            let room = buffer.len().min(len);
            let mut read = ReadBuf::new(buffer.get_mut(..room).unwrap_or_default());
            match Pin::new(stream).poll_read(cx, &mut read) {
                Poll::Pending => return Poll::Pending,
                // As if the TLS of the peer had said that it writes no more.
                Poll::Ready(Err(e)) if e.kind() == ErrorKind::UnexpectedEof => {
                    self.heard_last(shard, state);
                }
                Poll::Ready(Err(_)) => self.transport_ended(shard, state),
                Poll::Ready(Ok(())) if read.filled().is_empty() => self.heard_last(shard, state),
                Poll::Ready(Ok(())) => {
                    let full = read.remaining() == 0;
                    if state.stage.phase() == Phase::Open {
                        self.take_in(shard, state, read.filled_mut());
                    } else {
                        // Thrown away, but it keeps the shard running.
                        shard.schedule();
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

impl ConnState {
    /// Whether the receiver, by not taking what there is, keeps us from reading on.
    pub(super) fn is_held_back(&self) -> bool {
        let held = |held: &Held| held.cost() + self.session.buffered() >= HOLD;
        self.held.as_deref().is_some_and(held)
    }

    /// Whether something waits for nothing but its time.
    fn is_paced(&self) -> bool {
        self.rare.is_paced()
            && self.held.is_some()
            && self.active.has_credit()
            && self.receiver.inbox().is_some()
            && !self.listed.waiting
    }

    /// How much to read next; none while there is no place to put it.
    fn read_size(&self) -> Option<usize> {
        let phase = self.stage.phase();
        let silent = phase.is_answering() || phase.peer_eof() == PeerEof::Seen;
        if silent || self.owed > OWED {
            return None;
        }
        if !self.session.is_open() {
            // The session throws away what comes after our close frame.
            return Some(SMALL_READ);
        }
        if self.held.is_some() {
            return (!self.is_held_back()).then_some(SMALL_READ);
        }
        let Some(room) = self.receiver.room() else {
            return Some(usize::MAX);
        };
        // What is left of a frame has its place already; what stands behind it may have to wait.
        let (left, _) = self.session.within();
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        Some(left.saturating_add(room.max(SMALL_READ)))
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
                // A defect of ours costs this connection only, also one that is met again on the way out.
                let end = || {
                    conn.fail(shard, 1011, "internal error");
                    conn.abort(shard);
                };
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(end)).is_err() {
                    conn.state.borrow_mut().rare.take(|rare| &mut rare.traces);
                    end();
                }
                Poll::Ready(())
            }
        }
    }
}
