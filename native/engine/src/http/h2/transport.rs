//! A transport as hyper wants it: what was read already comes first, heads are looked at before,
//! and a peer that takes nothing is given up, or the stream of which it takes nothing.
//!
//! What hyper writes, a frame or a half at a time, is gathered and leaves when the connection has run: see [`Socket::poll_send`].

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Sleep, Timer, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::handover::Handover;
use super::heads::InboundFrames;
use super::streams::OutboundFrames;
use crate::net::transport::Transport;
use crate::world::time::{self, Instant};

/// Bytes of one read.
const READ: usize = 8 * 1024;

/// Bytes that are gathered for one write.
const GATHERED: usize = 64 * 1024;

thread_local! {
    /// Where the next connection gathers: most write all at once, and need no memory of their own.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The socket under hyper, and what is on its way to it.
pub(super) struct Socket {
    transport: Transport,
    outgoing: OutboundFrames,
    gathered: Vec<u8>,
    /// So many bytes of that are written.
    written: usize,
    /// A layer below may have kept something back.
    unflushed: bool,
    /// The library waits for room.
    held_up: bool,
    timeout: Duration,
    /// Runs while the peer takes nothing.
    stalled: Option<Pin<Box<time::Sleep>>>,
}

impl Socket {
    /// Frames that the library does not know of stand between those of the library.
    fn gather_own(&mut self) {
        if self.outgoing.is_between() {
            self.outgoing.tell(&mut self.gathered);
        }
    }

    /// Takes as much as there is room for.
    fn poll_gather(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.gather_own();
        if self.gathered.len() >= GATHERED {
            let sent = self.poll_send(cx);
            self.held_up = sent.is_pending();
            ready!(sent)?;
        }
        if self.gathered.capacity() == 0 {
            self.gathered = SPARE.take();
        }
        let room = GATHERED.saturating_sub(self.gathered.len());
        let bytes = bytes.get(..room).unwrap_or(bytes);
        self.gathered.extend_from_slice(bytes);
        self.outgoing.wrote(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// Writes all that is gathered. To be called whenever the library has run.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.gather_own();
        while let Some(rest) = self.gathered.get(self.written..)
            && !rest.is_empty()
        {
            let written = Pin::new(&mut self.transport).poll_write(cx, rest);
            let written = ready!(self.patient(cx, written))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
            self.unflushed = true;
        }
        self.written = 0;
        if self.gathered.capacity() > 0 {
            let mut spare = std::mem::take(&mut self.gathered);
            spare.clear();
            SPARE.set(spare);
        }
        if self.unflushed {
            let flushed = Pin::new(&mut self.transport).poll_flush(cx);
            ready!(self.patient(cx, flushed))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Whether the library has stopped for want of room since this was asked last.
    pub(super) fn was_held_up(&mut self) -> bool {
        std::mem::take(&mut self.held_up)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        let shut = Pin::new(&mut self.transport).poll_shutdown(cx);
        self.patient(cx, shut)
    }

    /// Passes on the outcome of a write; one that takes too long is an error.
    fn patient<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.stalled = None;
            return poll;
        }
        let timeout = self.timeout;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(time::sleep(timeout)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

/// A transport under hyper.
pub(super) struct HyperTransport {
    socket: Rc<RefCell<Socket>>,
    incoming: InboundFrames,
    /// What hyper gets next, and how much of that it has had.
    ahead: Vec<u8>,
    had: usize,
}

impl HyperTransport {
    /// `before` has been read already. The socket is for who runs the connection.
    pub(super) fn new(
        transport: Transport,
        before: &[u8],
        timeout: Duration,
        mut incoming: InboundFrames,
        outgoing: OutboundFrames,
    ) -> (Self, Rc<RefCell<Socket>>) {
        let mut ahead = Vec::new();
        incoming.read(before, &mut ahead);
        let socket = Rc::new(RefCell::new(Socket {
            transport,
            outgoing,
            gathered: Vec::new(),
            written: 0,
            unflushed: false,
            held_up: false,
            timeout,
            stalled: None,
        }));
        let transport = HyperTransport {
            socket: socket.clone(),
            incoming,
            ahead,
            had: 0,
        };
        (transport, socket)
    }
}

impl Read for HyperTransport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if let Some(rest) = this.ahead.get(this.had..).filter(|rest| !rest.is_empty()) {
                let part = rest.len().min(buf.remaining());
                buf.put_slice(rest.get(..part).unwrap_or_default());
                this.had += part;
                return Poll::Ready(Ok(()));
            }
            this.ahead.clear();
            this.had = 0;
            this.incoming.give_up(&mut this.ahead);
            if !this.ahead.is_empty() {
                continue;
            }
            let mut bytes = [0; READ];
            let mut read = ReadBuf::new(&mut bytes);
            let mut socket = this.socket.borrow_mut();
            let reading = Pin::new(&mut socket.transport).poll_read(cx, &mut read);
            drop(socket);
            if reading.is_pending() {
                // Nothing is kept while nothing comes.
                this.ahead = Vec::new();
            }
            ready!(reading)?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.incoming.read(read.filled(), &mut this.ahead);
        }
    }
}

impl Write for HyperTransport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.socket.borrow_mut().poll_gather(cx, bytes)
    }

    /// It leaves with what else the connection has to say: the library flushes each frame.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.borrow_mut().poll_shutdown(cx)
    }
}

/// Lets the library run, and then sends what it has written.
pub(super) fn poll_both<E>(
    mut connection: Pin<&mut impl Future<Output = Result<(), E>>>,
    socket: &RefCell<Socket>,
    handover: &Handover,
    cx: &mut Context<'_>,
) -> Poll<()> {
    loop {
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut socket = socket.borrow_mut();
        let sent = socket.poll_send(cx);
        if let Poll::Ready(Err(_)) = sent {
            return Poll::Ready(());
        }
        handover.set_stalled(sent.is_pending());
        if sent.is_pending() || !socket.was_held_up() {
            break;
        }
    }
    handover.ran();
    Poll::Pending
}

/// The shard's clock, for hyper.
#[derive(Clone, Copy)]
pub(super) struct HyperTimer;

struct HyperSleep(Pin<Box<time::Sleep>>);

impl Future for HyperSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl Sleep for HyperSleep {}

impl Timer for HyperTimer {
    fn now(&self) -> std::time::Instant {
        Instant::now().into_std()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(HyperSleep(Box::pin(time::sleep(duration))))
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(HyperSleep(Box::pin(time::sleep_until(deadline.into()))))
    }
}
