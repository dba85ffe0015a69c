//! HTTP/2: ordinary requests, and WebSockets as RFC 8441 has them, each a stream.
//!
//! Unlike a handshake, the task of such a connection does not end with its server: it carries
//! connections, which close in their own time.

mod allowance;
mod connect;
mod content;
mod frames;
mod handover;
mod heads;
#[cfg(test)]
mod heads_tests;
mod streams;
mod transport;
mod wanted;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::Response;
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use sockeye_protocol::handshake::Refusal;
use tokio::sync::Notify;

use super::body::Body;
use super::proxy::Client;
use super::service::Service;
use super::{failed, response, without_body};
use crate::admission::{ask, gate, lingering};
use crate::model::refused::{Refused, RefusedFor};
use crate::net::peer::PeerInfo;
use crate::net::transport::Transport;
use crate::server::{OpenAnswer, Permit, Server};
use crate::shard::Shard;
use crate::world::task;
use crate::world::time::{self, Instant};

use allowance::{AbuseLimits, Allowance};
use content::Content;
use handover::Handover;
pub(super) use handover::Ticket;
use heads::InboundFrames;
use streams::{OutboundFrames, Streams, WaitsFor, number};
use wanted::AbortOnDrop;
pub(super) use wanted::OpenTunnel;

/// Streams that a client may have open at once: as many as RFC 9113 wants at least.
const STREAMS: u32 = 100;

/// Bytes that a client may send to one stream before its receiver takes them.
const STREAM_WINDOW: u32 = 64 * 1024;

/// Pieces of data that may wait, however small, on all streams together: messages that nobody
/// takes yet. For many more the client is cut off.
const PIECES: u32 = 16 * 1024;

/// What the library reckons a piece of one byte to cost. It allows for half a window of that.
const PIECE: u32 = 255;

/// Of a whole connection. More than all streams may send, which are bounded by their own windows:
/// one that is not read must not hold up the others.
const WINDOW: u32 = 2 * PIECES * PIECE;
const _: () = assert!(WINDOW > STREAMS * STREAM_WINDOW);

/// Bytes of one stream that may wait to be sent.
const SEND_BUFFER: usize = 64 * 1024;

/// What the streams of a connection share.
pub(super) struct Http2Connection {
    shard: Rc<Shard>,
    server: Arc<Server>,
    peer_info: PeerInfo,
    service: Service,
    streams: Rc<RefCell<Streams>>,
    pub(super) handover: Handover,
    /// Of the socket, until its first WebSocket takes it: then that answers for the socket.
    permit: RefCell<Option<Permit>>,
    /// The socket is gone, and needs no permit any more.
    gone: Cell<bool>,
    went: Notify,
    tunnels: Cell<usize>,
    /// Those of them that are WebSockets of another server, which is nested in this one.
    nested: Cell<usize>,
    requests: Cell<usize>,
    /// When anything went on that was not a WebSocket.
    active: Cell<Instant>,
    /// When it has seen that the server stops, and that it carries no WebSocket any more.
    stop_heard: Cell<Option<Instant>>,
    changed: Notify,
}

/// Counts a stream in one of these, as long as it lives.
struct OpenStream {
    carrier: Rc<Http2Connection>,
    counter: fn(&Http2Connection) -> &Cell<usize>,
    _answer: Option<OpenAnswer>,
}

impl OpenStream {
    fn tunnel(carrier: &Rc<Http2Connection>) -> Self {
        OpenStream::new(carrier, |carrier| &carrier.tunnels, None)
    }

    fn request(carrier: &Rc<Http2Connection>) -> Self {
        let answer = carrier.server.count_answer();
        OpenStream::new(carrier, |carrier| &carrier.requests, Some(answer))
    }

    fn new(
        carrier: &Rc<Http2Connection>,
        counter: fn(&Http2Connection) -> &Cell<usize>,
        answer: Option<OpenAnswer>,
    ) -> Self {
        let open = counter(carrier);
        open.set(open.get() + 1);
        carrier.touch();
        OpenStream {
            carrier: carrier.clone(),
            counter,
            _answer: answer,
        }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let open = (self.counter)(&self.carrier);
        open.set(open.get().saturating_sub(1));
        self.carrier.touch();
    }
}

impl Http2Connection {
    fn touch(&self) {
        self.active.set(Instant::now());
        self.run();
    }

    /// Has the connection run soon.
    pub(super) fn run(&self) {
        self.changed.notify_one();
    }

    /// When this client is cut off. Connections have times of their own.
    fn deadline(&self, leaving: bool) -> Option<Instant> {
        let config = &self.server.config;
        let streams = self.streams.borrow();
        // Who gives an answer in pieces may take any time for the next, and a socket that takes nothing has a time of its own.
        let waits = streams.is_waiting_for_process() || self.handover.is_stalled();
        let stop = self.stop_deadline();
        let waits = waits && !self.server.is_stopping();
        let busy = self.requests.get() > 0 || streams.is_answering();
        // Then there are none that the server waits for.
        let tunnels = if stop.is_some() {
            0
        } else {
            self.tunnels.get()
        };
        let limit = match (tunnels, busy) {
            _ if waits => return None,
            (0, false) if leaving => lingering::LINGER_TIMEOUT,
            (0, _) if stop.is_some() => lingering::LINGER_TIMEOUT,
            (0, false) => config.handshake_timeout,
            (0, true) => {
                let limit = config.handshake_timeout.saturating_add(config.send_timeout);
                let own = limit.saturating_add(ask::limit(&self.server));
                own.max(config.routes.patience().saturating_add(limit))
            }
            _ => return None,
        };
        let active = self.active.get();
        let last = streams.last_taken().map_or(active, |at| at.max(active));
        last.checked_add(limit).into_iter().chain(stop).min()
    }

    /// However steadily a client takes what it gets, a server that stops waits for it no longer than for the end of a WebSocket:
    /// from the stop, or from the end of the last WebSocket, which has a time of its own.
    fn stop_deadline(&self) -> Option<Instant> {
        let has_own = self.tunnels.get() > self.nested.get();
        if !self.server.is_stopping() || has_own || self.is_for_others() {
            return None;
        }
        let heard = self.stop_heard.get().unwrap_or_else(Instant::now);
        self.stop_heard.set(Some(heard));
        heard.checked_add(lingering::LINGER_TIMEOUT)
    }

    /// Whether a server behind answers this request.
    fn is_passed(&self, stream: u32) -> bool {
        let routes = &self.server.config.routes;
        self.streams.borrow().is_for_proxy(stream, routes)
    }

    /// Whether there is no reason to go on: the server ends, or the connection has no permit of
    /// its own any more, and carries nobody who has.
    fn is_over(&self) -> bool {
        let has_no_permit = self.permit.borrow().is_none() && self.tunnels.get() == 0;
        has_no_permit || self.server.is_draining()
    }

    /// Whether all that goes on is of other servers, and this one stops.
    fn is_for_others(&self) -> bool {
        let is_own = self.requests.get() > 0 || self.tunnels.get() > self.nested.get();
        self.server.is_stopping() && !is_own && self.nested.get() > 0
    }

    /// A permit for one more connection, if there is one.
    fn permit(&self, peer_info: &PeerInfo) -> Result<Permit, Refused> {
        if self.server.is_draining() {
            return Err(RefusedFor::Draining.with(gate::no_room()));
        }
        let own = self.permit.borrow_mut().take();
        let permit = own.or_else(|| self.server.permit());
        let mut permit = permit.ok_or_else(gate::full)?;
        permit.count_for(peer_info.peer.ip())?;
        Ok(permit)
    }

    /// Gives back the permit of a WebSocket that did not come to be: it may have been the socket's.
    fn return_permit(&self, permit: Permit) {
        drop(permit);
        if !self.gone.get() && self.tunnels.get() <= 1 && self.permit.borrow().is_none() {
            // Not the same one: that counts for the client of this stream.
            *self.permit.borrow_mut() = self.server.permit();
        }
    }
}

/// Serves a connection, of which these bytes have been read.
pub(crate) async fn serve(
    shard: Rc<Shard>,
    permit: Permit,
    transport: Transport,
    mut peer_info: PeerInfo,
    before: Vec<u8>,
) {
    let server = permit.server.clone();
    transport.follow_peer();
    // The socket is a reason to wait for, when the server stops.
    let mut counted = Some(server.count_socket());
    peer_info.http_version = (2, 0);
    let abuse = AbuseLimits::with(&server, &peer_info);
    let streams = Rc::new(RefCell::new(Streams::default()));
    let carrier = Rc::new(Http2Connection {
        service: Service::new(shard.clone(), server.clone(), peer_info.clone()),
        shard,
        server: server.clone(),
        peer_info,
        streams: streams.clone(),
        handover: Handover::default(),
        permit: RefCell::new(Some(permit)),
        gone: Cell::new(false),
        went: Notify::new(),
        tunnels: Cell::new(0),
        nested: Cell::new(0),
        requests: Cell::new(0),
        active: Cell::new(Instant::now()),
        stop_heard: Cell::new(None),
        changed: Notify::new(),
    });
    let handler = service_fn({
        let carrier = carrier.clone();
        move |request| {
            let carrier = carrier.clone();
            async move { Ok::<_, Infallible>(see_through(carrier, request).await) }
        }
    });
    let limits = &server.config.head_limits;
    let list = u32::try_from(limits.max_head_size).unwrap_or(u32::MAX);
    let allowance = Allowance::new(abuse.errors, abuse.forgotten);
    let (transport, socket) = transport::HyperTransport::new(
        transport,
        &before,
        server.config.send_timeout,
        InboundFrames::new(streams.clone(), *limits, allowance),
        OutboundFrames::new(streams),
    );
    let connection = http2::Builder::new(LocalExecutor)
        .timer(transport::HyperTimer)
        .enable_connect_protocol()
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(list)
        .max_pending_accept_reset_streams(abuse.resets)
        // Those that it would count are counted before it, and forgotten in time.
        .max_local_error_reset_streams(None)
        // The library has a clock of its own for it.
        .auto_date_header(!cfg!(sim))
        .serve_connection(transport, handler);
    // What was begun for it may go on, and is no reason to wait.
    let _seat = SocketGone(carrier.clone());
    let mut connection = pin!(connection);
    let mut leaving = false;
    loop {
        let mut stopped = pin!(server.stop_asked().notified());
        stopped.as_mut().enable();
        if carrier.is_for_others() {
            drop((counted.take(), carrier.permit.take()));
        }
        if !leaving && carrier.is_over() {
            leaving = true;
            connection.as_mut().graceful_shutdown();
            carrier.active.set(Instant::now());
        }
        let send_timeout = server.config.send_timeout;
        let look = carrier.streams.borrow().next_look(send_timeout);
        let deadline = carrier.deadline(leaving).into_iter().chain(look).min();
        let was_stalled = carrier.handover.is_stalled();
        let mut sleep = pin!(deadline.map(time::sleep_until));
        let mut changed = pin!(carrier.changed.notified());
        let woken = poll_fn(|cx| {
            if transport::poll_both(connection.as_mut(), &socket, &carrier.handover, cx).is_ready()
            {
                return Poll::Ready(WakeReason::Done);
            }
            let is_asked = stopped.as_mut().poll(cx).is_ready();
            if is_asked || changed.as_mut().poll(cx).is_ready() {
                return Poll::Ready(WakeReason::Changed);
            }
            if was_stalled != carrier.handover.is_stalled() {
                carrier.active.set(Instant::now());
                return Poll::Ready(WakeReason::Changed);
            }
            match sleep.as_mut().as_pin_mut().map(|sleep| sleep.poll(cx)) {
                Some(Poll::Ready(())) => Poll::Ready(WakeReason::Late),
                _ => Poll::Pending,
            }
        });
        match woken.await {
            WakeReason::Done => return,
            WakeReason::Changed => {}
            WakeReason::Late => {
                let heard = carrier.streams.borrow_mut().give_up(send_timeout);
                let over = carrier.deadline(leaving);
                let over = over.is_some_and(|over| over <= Instant::now());
                if !heard || (over && leaving) {
                    return;
                }
                if over {
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                    carrier.active.set(Instant::now());
                }
            }
        }
    }
}

/// Dropped, it gives back the permit of a socket.
struct SocketGone(Rc<Http2Connection>);

impl Drop for SocketGone {
    fn drop(&mut self) {
        self.0.gone.set(true);
        self.0.handover.end();
        self.0.went.notify_waiters();
        self.0.permit.take();
    }
}

enum WakeReason {
    Done,
    Changed,
    Late,
}

/// Answers a request. What was begun for it goes on when the stream is reset: see [`Http2Connection::while_wanted`].
async fn see_through(
    carrier: Rc<Http2Connection>,
    request: hyper::Request<Incoming>,
) -> Response<ResponseBody> {
    let open = OpenStream::request(&carrier);
    let stream = number(request.uri().path()).unwrap_or(0);
    let (answer, open) = if carrier.requests.get() > STREAMS as usize {
        carrier.server.note_refused(RefusedFor::Unavailable);
        let refusal = Refusal::new(503, "Too many requests are waiting for an answer.\n");
        (response(refusal.with_header("Retry-After", "1")), open)
    } else {
        let is_passed = carrier.is_passed(stream);
        let task = task::spawn_local({
            let carrier = carrier.clone();
            async move {
                // Boxed: the library moves a task several times, and this is kilobytes.
                let answer = Box::pin(respond(&carrier, request));
                let answer = carrier.while_wanted(answer).await;
                (answer.unwrap_or_else(failed), open)
            }
        });
        // A server behind works for nobody else.
        let _ends = is_passed.then(|| AbortOnDrop(task.abort_handle()));
        let seen = task.await;
        seen.unwrap_or_else(|_| (failed(), OpenStream::request(&carrier)))
    };
    if !answer.body().is_end_stream() {
        carrier.streams.borrow_mut().answer(stream);
        carrier.changed.notify_one();
    }
    answer.map(|body| ResponseBody { body, stream, open })
}

/// A client whose stream ends with what is done for it, and to whom the library sends nothing before the answer.
struct StreamClient;

impl Client for StreamClient {
    fn poll_gone(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn takes_early_answers(&self) -> bool {
        false
    }

    fn poll_write(&self, _: &mut Context<'_>, _: &mut &[u8]) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

async fn respond(
    carrier: &Rc<Http2Connection>,
    mut request: hyper::Request<Incoming>,
) -> Response<Body> {
    let found = carrier.streams.borrow_mut().take(request.uri().path());
    match found {
        Some(Ok((head, false))) => {
            let is_head = head.method() == "HEAD";
            let body = Content(request.into_body());
            let answer = carrier.service.respond(head, body, &StreamClient).await;
            // The library sends what it gets.
            if is_head {
                without_body(answer)
            } else {
                answer
            }
        }
        Some(Ok((head, true))) => {
            let upgraded = hyper::upgrade::on(&mut request);
            let stream = number(request.uri().path()).unwrap_or(0);
            match connect::connect(carrier, stream, upgraded, head).await {
                Ok(answer) => answer,
                Err(refused) => refuse(carrier, refused),
            }
        }
        Some(Err(refusal)) => refuse(carrier, refusal.into()),
        // Its client has reset the stream.
        None => failed(),
    }
}

fn refuse(carrier: &Http2Connection, refused: Refused) -> Response<Body> {
    carrier.server.note_refused(refused.reason);
    response(refused.answer)
}

/// A body that is a request in progress until it is sent.
struct ResponseBody {
    body: Body,
    stream: u32,
    open: OpenStream,
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let answer = self.get_mut();
        let carrier = &answer.open.carrier;
        carrier.active.set(Instant::now());
        let poll = Pin::new(&mut answer.body).poll_frame(cx);
        let mut streams = carrier.streams.borrow_mut();
        let waits_for = match (&answer.body, poll.is_pending()) {
            (_, false) => WaitsFor::Client(Instant::now()),
            (Body::Stream(_), true) => WaitsFor::Process,
            (_, true) => WaitsFor::Server,
        };
        streams.set_waits_for(answer.stream, waits_for);
        poll
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Runs the streams on the shard's own thread.
#[derive(Clone, Copy)]
struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, stream: F) {
        task::spawn_local(stream);
    }
}

/// Whether these bytes are the beginning of a connection of HTTP/2, or may become it.
pub(crate) fn is_preface(bytes: &[u8]) -> Preface {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let same = bytes.iter().zip(PREFACE).all(|(a, b)| a == b);
    match same {
        false => Preface::No,
        true if bytes.len() >= PREFACE.len() => Preface::Yes,
        true => Preface::Maybe,
    }
}

/// See [`is_preface`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preface {
    No,
    Maybe,
    Yes,
}
