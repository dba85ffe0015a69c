//! How long somebody wants what is being made, or was made.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use super::connection::{Http2Connection, OpenStream};
use crate::world::task::AbortHandle;

impl Http2Connection {
    /// Does what answers a request; none if there is no use in it, since the server stops and the socket is gone. Until then it goes
    /// on even then: callbacks and disks cannot be called back, and only what still counts is bounded.
    pub(super) async fn while_wanted<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        loop {
            let mut stopped = pin!(self.server.stop_asked().notified());
            let mut went = pin!(self.went.notified());
            stopped.as_mut().enable();
            went.as_mut().enable();
            if self.gone.get() && self.server.is_stopping() {
                return None;
            }
            let done = poll_fn(|cx| {
                if let Poll::Ready(done) = work.as_mut().poll(cx) {
                    return Poll::Ready(Some(done));
                }
                let changed = stopped.as_mut().poll(cx).is_ready();
                match changed || went.as_mut().poll(cx).is_ready() {
                    true => Poll::Ready(None),
                    false => Poll::Pending,
                }
            });
            if let Some(done) = done.await {
                return Some(done);
            }
        }
    }
}

/// Ends a task of which nobody wants the result any more.
pub(super) struct AbortOnDrop(pub(super) AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Counts a WebSocket. What it has written, and the library has not sent yet, its client may take as it takes an answer: it goes on
/// when the WebSocket is no more.
pub(in crate::http) struct OpenTunnel {
    open: OpenStream,
    stream: u32,
    /// It is of another server.
    is_nested: bool,
}

impl OpenTunnel {
    pub(super) fn new(carrier: &Rc<Http2Connection>, stream: u32, is_nested: bool) -> Self {
        carrier.nested.update(|n| n + usize::from(is_nested));
        OpenTunnel {
            open: OpenStream::tunnel(carrier),
            stream,
            is_nested,
        }
    }

    pub(in crate::http) fn carrier(&self) -> &Http2Connection {
        &self.open.carrier
    }
}

impl Drop for OpenTunnel {
    fn drop(&mut self) {
        let nested = &self.open.carrier.nested;
        nested.update(|n| n.saturating_sub(usize::from(self.is_nested)));
        self.open.carrier.streams.borrow_mut().answer(self.stream);
    }
}
