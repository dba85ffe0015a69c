//! HTTP/2: ordinary requests, and WebSockets as RFC 8441 has them, each a stream.
//!
//! Unlike a handshake, the task of such a connection does not end with its server: it carries
//! connections, which close in their own time.

mod allowance;
mod connect;
mod connection;
mod content;
mod frames;
mod handover;
mod heads;
#[cfg(test)]
mod heads_tests;
mod requests;
mod streams;
mod transport;
mod wanted;

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use hyper::server::conn::http2;
use hyper::service::service_fn;

use crate::net::peer::PeerInfo;
use crate::net::transport::Transport;
use crate::server::Permit;
use crate::shard::Shard;
use crate::world::task;
use crate::world::time::{self, Instant};

use allowance::{AbuseLimits, Allowance};
pub(super) use connection::Http2Connection;
use connection::SocketGone;
pub(super) use handover::Ticket;
use heads::InboundFrames;
use requests::answer_request;
use streams::{OutboundFrames, Streams};
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
    let carrier = Http2Connection::new(shard, permit, peer_info, streams.clone());
    let handler = service_fn({
        let carrier = carrier.clone();
        move |request| {
            let carrier = carrier.clone();
            async move { Ok::<_, Infallible>(answer_request(carrier, request).await) }
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
    let connection = builder(list, abuse.resets).serve_connection(transport, handler);
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

/// The library's settings: `list` bounds the bytes of a head, `resets` the streams that are reset before they are looked at.
fn builder(list: u32, resets: usize) -> http2::Builder<LocalExecutor> {
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(transport::HyperTimer)
        .enable_connect_protocol()
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(list)
        .max_pending_accept_reset_streams(resets)
        // Those that it would count are counted before it, and forgotten in time.
        .max_local_error_reset_streams(None)
        // The library has a clock of its own for it.
        .auto_date_header(!cfg!(sim));
    builder
}

enum WakeReason {
    Done,
    Changed,
    Late,
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
