//! WebSockets of the upstream server.

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use sockeye_protocol::handshake::{Refusal, Request};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional};

use super::failure::{Failure, bad_gateway, gateway_timeout};
use super::{Client, Route, answer, ask, fields};
use crate::http::body::Body;
use crate::http::service::Service;
use crate::net::transport::Transport;
use crate::net::upstream::Upload;
use crate::settings::upstream::Passing;
use crate::world::time::{self, Instant};

pub(crate) use sockeye_protocol::handshake::accept_key;

/// A WebSocket of the server behind: what is left is to move its bytes.
pub(crate) struct Passed {
    transport: Transport,
    /// What has come from there behind the head.
    ahead: Bytes,
    idle_timeout: Duration,
    _passing: Passing,
}

/// Asks the server behind for a WebSocket: the answer, which may be another than 101. With a key this is a request of HTTP/2,
/// which has none.
pub(crate) async fn switch(
    service: &Service,
    route: Route<'_>,
    request: &Request,
    key: Option<&str>,
    client: &dyn Client,
) -> (Response<Body>, Option<Passed>) {
    let upstream = route.upstream;
    let failed = |failure: Failure| (failure.answer(service, upstream), None);
    if request.has_body() {
        return failed(Refusal::new(400, "A WebSocket request has no body.\n").into());
    }
    let mut sent = fields::of_request(&service.server, &service.peer_info, request);
    sent.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    sent.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Some(key) = key.and_then(|key| HeaderValue::from_str(key).ok()) {
        sent.insert(header::SEC_WEBSOCKET_KEY, key);
    }
    let (upload, progress) = Upload::new(Body::empty(), 0);
    let heard = match ask(service, route, request, sent, upload, progress, client).await {
        Ok(heard) => heard,
        Err(failure) => return failed(failure),
    };
    if heard.answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return (answer(service, request, heard), None);
    }
    let (mut head, _) = heard.answer.into_parts();
    let upgrade = head.headers.get(header::UPGRADE);
    let is_websocket = upgrade.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if !is_websocket {
        return failed(bad_gateway("changed to a protocol that was not asked for"));
    }
    let exchange = heard.exchange;
    let upgraded = exchange.link.upgraded();
    let Ok(Some((transport, ahead))) = time::timeout(exchange.upstream.timeout, upgraded).await
    else {
        return failed(gateway_timeout("did not change the protocol"));
    };
    fields::of_answer(&mut head.headers, false);
    let upgrade = HeaderValue::from_static("websocket");
    head.headers.insert(header::UPGRADE, upgrade);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    let passed = Passed {
        transport,
        ahead,
        idle_timeout: exchange.upstream.idle_timeout,
        _passing: exchange.passing,
    };
    (response, Some(passed))
}

impl Passed {
    /// Moves bytes both ways until one side has gone, or neither says anything for too long. These have been read from the client.
    pub(crate) async fn run(self, client: Transport, before: &[u8]) {
        client.follow_peer();
        self.transport.follow_peer();
        let last = Rc::new(Cell::new(Instant::now()));
        let watch = |transport| Watched {
            transport,
            last: last.clone(),
        };
        let (mut client, mut server) = (watch(client), watch(self.transport));
        let moving = async {
            server.write_all(before).await?;
            client.write_all(&self.ahead).await?;
            client.flush().await?;
            copy_bidirectional(&mut client, &mut server).await
        };
        let mut moving = pin!(moving);
        let limit = self.idle_timeout;
        loop {
            let due = last.get().checked_add(limit);
            let idle = async {
                match due {
                    Some(due) => time::sleep_until(due).await,
                    None => pending().await,
                }
            };
            let mut idle = pin!(idle);
            let is_over = poll_fn(|cx| match moving.as_mut().poll(cx) {
                Poll::Ready(_) => Poll::Ready(true),
                Poll::Pending => idle.as_mut().poll(cx).map(|()| false),
            });
            if is_over.await || last.get().checked_add(limit) == due {
                return;
            }
        }
    }
}

/// A transport, and when bytes went over it last.
struct Watched {
    transport: Transport,
    last: Rc<Cell<Instant>>,
}

impl Watched {
    fn note<T>(&self, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.last.set(Instant::now());
        }
        poll
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.transport).poll_read(cx, buf));
        self.note(Poll::Ready(read))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.transport).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}
