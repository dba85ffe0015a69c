//! The content of an upstream response, on its way to the client.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};

use super::{failure, fields};
use crate::net::upstream::{Link, Pool, PoolKey, Progress};
use crate::server::Server;
use crate::settings::options::deadline;
use crate::settings::upstream::{Passing, Upstream};
use crate::world::time::{self, Sleep};

/// A request that is passed on, and the connection that carries it.
pub(super) struct Exchange {
    pub(super) link: Link,
    pub(super) pool: Rc<Pool>,
    pub(super) key: PoolKey,
    pub(super) progress: Rc<Progress>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) passing: Passing,
}

impl Exchange {
    /// The answer has ended. The connection is good for another request if the request has, too.
    fn end(self) {
        if self.progress.is_done() {
            let until = deadline(self.upstream.keepalive);
            self.pool
                .put(self.key, self.link, until, self.upstream.pool_size);
        }
    }
}

/// The content of an answer. Dropped before its end, it closes the connection.
pub(crate) struct Download {
    content: Incoming,
    exchange: Option<Exchange>,
    server: Arc<Server>,
    is_to_head: bool,
    /// Runs while nothing comes.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Download {
    pub(super) fn new(
        content: Incoming,
        exchange: Exchange,
        server: Arc<Server>,
        is_to_head: bool,
    ) -> Self {
        Download {
            content,
            exchange: Some(exchange),
            server,
            is_to_head,
            stalled: None,
        }
    }

    /// How much is left, if that is known.
    pub(in crate::http) fn len(&self) -> Option<u64> {
        let known = self.content.size_hint().exact();
        known.filter(|_| !self.is_to_head)
    }

    fn end(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            exchange.end();
        }
    }

    fn fail(&mut self, error: io::Error) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(exchange) = self.exchange.take() {
            failure::broke_off(&self.server, &exchange.upstream, &error);
        }
        Poll::Ready(Some(Err(error)))
    }
}

impl HttpBody for Download {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let download = self.get_mut();
        let Some(exchange) = &download.exchange else {
            return Poll::Ready(None);
        };
        let poll = Pin::new(&mut download.content).poll_frame(cx);
        if poll.is_pending() {
            let limit = exchange.upstream.idle_timeout;
            let sleep = || Box::pin(time::sleep_until(deadline(limit)));
            let stalled = download.stalled.get_or_insert_with(sleep);
            return match stalled.as_mut().poll(cx) {
                Poll::Ready(()) => download.fail(io::ErrorKind::TimedOut.into()),
                Poll::Pending => Poll::Pending,
            };
        }
        download.stalled = None;
        match poll {
            Poll::Ready(Some(Ok(mut frame))) => {
                if let Some(trailers) = frame.trailers_mut() {
                    fields::of_trailers(trailers);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => download.fail(io::Error::other(error)),
            _ => {
                download.end();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if self.content.is_end_stream() {
            self.end();
        }
    }
}
