//! The state that all streams of a connection share: its permit, the count of open streams, the deadline.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;

use super::handover::Handover;
use super::streams::Streams;
use crate::admission::{ask, gate, lingering};
use crate::http::service::Service;
use crate::model::refused::{Refused, RefusedFor};
use crate::net::peer::PeerInfo;
use crate::server::{OpenAnswer, Permit, Server};
use crate::shard::Shard;
use crate::world::time::Instant;

/// What the streams of a connection share.
pub(in crate::http) struct Http2Connection {
    pub(super) shard: Rc<Shard>,
    pub(super) server: Arc<Server>,
    pub(super) peer_info: PeerInfo,
    pub(super) service: Service,
    pub(super) streams: Rc<RefCell<Streams>>,
    pub(in crate::http) handover: Handover,
    /// Of the socket, until its first WebSocket takes it: then that answers for the socket.
    pub(super) permit: RefCell<Option<Permit>>,
    /// The socket is gone, and needs no permit any more.
    pub(super) gone: Cell<bool>,
    pub(super) went: Notify,
    pub(super) tunnels: Cell<usize>,
    /// Those of them that are WebSockets of another server, which is nested in this one.
    pub(super) nested: Cell<usize>,
    pub(super) requests: Cell<usize>,
    /// When anything went on that was not a WebSocket.
    pub(super) active: Cell<Instant>,
    /// When it has seen that the server stops, and that it carries no WebSocket any more.
    pub(super) stop_heard: Cell<Option<Instant>>,
    pub(super) changed: Notify,
}

/// Counts a stream in one of these, as long as it lives.
pub(super) struct OpenStream {
    pub(super) carrier: Rc<Http2Connection>,
    counter: fn(&Http2Connection) -> &Cell<usize>,
    _answer: Option<OpenAnswer>,
}

impl OpenStream {
    pub(super) fn tunnel(carrier: &Rc<Http2Connection>) -> Self {
        OpenStream::new(carrier, |carrier| &carrier.tunnels, None)
    }

    pub(super) fn request(carrier: &Rc<Http2Connection>) -> Self {
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
    pub(super) fn new(
        shard: Rc<Shard>,
        permit: Permit,
        peer_info: PeerInfo,
        streams: Rc<RefCell<Streams>>,
    ) -> Rc<Self> {
        let server = permit.server.clone();
        Rc::new(Http2Connection {
            service: Service::new(shard.clone(), server.clone(), peer_info.clone()),
            shard,
            server,
            peer_info,
            streams,
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
        })
    }

    fn touch(&self) {
        self.active.set(Instant::now());
        self.run();
    }

    /// Has the connection run soon.
    pub(in crate::http) fn run(&self) {
        self.changed.notify_one();
    }

    /// When this client is cut off. Connections have times of their own.
    pub(super) fn deadline(&self, leaving: bool) -> Option<Instant> {
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
    pub(super) fn is_passed(&self, stream: u32) -> bool {
        let routes = &self.server.config.routes;
        self.streams.borrow().is_for_proxy(stream, routes)
    }

    /// Whether there is no reason to go on: the server ends, or the connection has no permit of
    /// its own any more, and carries nobody who has.
    pub(super) fn is_over(&self) -> bool {
        let has_no_permit = self.permit.borrow().is_none() && self.tunnels.get() == 0;
        has_no_permit || self.server.is_draining()
    }

    /// Whether all that goes on is of other servers, and this one stops.
    pub(super) fn is_for_others(&self) -> bool {
        let is_own = self.requests.get() > 0 || self.tunnels.get() > self.nested.get();
        self.server.is_stopping() && !is_own && self.nested.get() > 0
    }

    /// A permit for one more connection, if there is one.
    pub(super) fn permit(&self, peer_info: &PeerInfo) -> Result<Permit, Refused> {
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
    pub(super) fn return_permit(&self, permit: Permit) {
        drop(permit);
        if !self.gone.get() && self.tunnels.get() <= 1 && self.permit.borrow().is_none() {
            // Not the same one: that counts for the client of this stream.
            *self.permit.borrow_mut() = self.server.permit();
        }
    }
}

/// Dropped, it gives back the permit of a socket.
pub(super) struct SocketGone(pub(super) Rc<Http2Connection>);

impl Drop for SocketGone {
    fn drop(&mut self) {
        self.0.gone.set(true);
        self.0.handover.end();
        self.0.went.notify_waiters();
        self.0.permit.take();
    }
}
