//! A transport as hyper wants it: what was read already comes first, heads are looked at before,
//! and a peer that takes nothing is given up, or the stream of which it takes nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Sleep, Timer, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::heads::InboundFrames;
use super::streams::OutboundFrames;
use crate::net::transport::Transport;
use crate::world::time::{self, Instant};

/// Bytes of one read.
const READ: usize = 8 * 1024;

/// A transport under hyper.
pub(super) struct HyperTransport {
    transport: Transport,
    incoming: InboundFrames,
    outgoing: OutboundFrames,
    /// What hyper gets next, and how much of that it has had.
    ahead: Vec<u8>,
    had: usize,
    /// Frames that the library does not know of, and what is left of them.
    own: Vec<u8>,
    timeout: Duration,
    /// Runs while the peer takes nothing.
    stalled: Option<Pin<Box<time::Sleep>>>,
}

impl HyperTransport {
    /// `before` has been read already.
    pub(super) fn new(
        transport: Transport,
        before: &[u8],
        timeout: Duration,
        mut incoming: InboundFrames,
        outgoing: OutboundFrames,
    ) -> Self {
        let mut ahead = Vec::new();
        incoming.read(before, &mut ahead);
        HyperTransport {
            transport,
            incoming,
            outgoing,
            ahead,
            had: 0,
            own: Vec::new(),
            timeout,
            stalled: None,
        }
    }

    /// Writes frames of our own, between those of the library.
    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.outgoing.is_between() {
            return Poll::Ready(Ok(()));
        }
        self.outgoing.tell(&mut self.own);
        while !self.own.is_empty() {
            let written = Pin::new(&mut self.transport).poll_write(cx, &self.own);
            let written = ready!(self.patient(cx, written))?;
            self.own.drain(..written.min(self.own.len()));
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        Poll::Ready(Ok(()))
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
            let reading = Pin::new(&mut this.transport).poll_read(cx, &mut read);
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
        let this = self.get_mut();
        ready!(this.poll_own(cx))?;
        let poll = Pin::new(&mut this.transport).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = &poll {
            this.outgoing
                .wrote(bytes.get(..*written).unwrap_or_default());
        }
        this.patient(cx, poll)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_own(cx))?;
        let poll = Pin::new(&mut this.transport).poll_flush(cx);
        this.patient(cx, poll)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.transport).poll_shutdown(cx);
        this.patient(cx, poll)
    }
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
