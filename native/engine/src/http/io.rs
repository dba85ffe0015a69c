//! A transport as hyper wants it: what was read already comes first, and a peer that takes
//! nothing is given up.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Read, ReadBufCursor, Sleep, Timer, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::transport::Transport;

/// Bytes of one read.
const READ: usize = 8 * 1024;

/// A transport under hyper.
pub(super) struct Wire {
    transport: Transport,
    /// Bytes that were read before hyper came, and how many of them it has had.
    before: Vec<u8>,
    had: usize,
    patience: Duration,
    /// Runs while the peer takes nothing.
    stalled: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Wire {
    pub(super) fn new(transport: Transport, before: Vec<u8>, patience: Duration) -> Self {
        Wire {
            transport,
            before,
            had: 0,
            patience,
            stalled: None,
        }
    }

    pub(super) fn into_transport(self) -> Transport {
        self.transport
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
        let patience = self.patience;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Read for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        if let Some(rest) = wire.before.get(wire.had..).filter(|rest| !rest.is_empty()) {
            let part = rest.len().min(buf.remaining());
            buf.put_slice(rest.get(..part).unwrap_or_default());
            wire.had += part;
            if wire.had == wire.before.len() {
                wire.before = Vec::new();
                wire.had = 0;
            }
            return Poll::Ready(Ok(()));
        }
        let mut bytes = [0; READ];
        let room = buf.remaining().min(READ);
        let mut read = ReadBuf::new(bytes.get_mut(..room).unwrap_or_default());
        ready!(Pin::new(&mut wire.transport).poll_read(cx, &mut read))?;
        buf.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let poll = Pin::new(&mut wire.transport).poll_write(cx, bytes);
        wire.patient(cx, poll)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let poll = Pin::new(&mut wire.transport).poll_flush(cx);
        wire.patient(cx, poll)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let poll = Pin::new(&mut wire.transport).poll_shutdown(cx);
        wire.patient(cx, poll)
    }
}

/// The shard's clock, for hyper.
#[derive(Clone, Copy)]
pub(super) struct Clock;

struct Nap(Pin<Box<tokio::time::Sleep>>);

impl Future for Nap {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl Sleep for Nap {}

impl Timer for Clock {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Nap(Box::pin(tokio::time::sleep(duration))))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Nap(Box::pin(tokio::time::sleep_until(deadline.into()))))
    }
}
