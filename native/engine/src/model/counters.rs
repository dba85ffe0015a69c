//! The counters of a server.

use crate::model::refused::RefusedFor;
use crate::world::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The close codes that are counted apart (RFC 6455, 7.4.1). What stands behind them counts all others.
pub const CLOSE_CODES: [u16; 14] = [
    1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014,
];

/// Ends of connections: by code, in the order of [`CLOSE_CODES`], then all others.
pub(crate) type Closes<Count = u64> = [Count; CLOSE_CODES.len() + 1];

/// Refusals, in the order of [`RefusedFor::ALL`].
pub(crate) type Refusals<Count = u64> = [Count; RefusedFor::ALL.len()];

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) open: AtomicUsize,
    pub(crate) unattached: AtomicUsize,
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: Refusals<AtomicU64>,
    pub(crate) closes: Closes<AtomicU64>,
    pub(crate) dropped: AtomicU64,
    pub(crate) busy: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) answering: AtomicUsize,
    pub(crate) proxied: AtomicU64,
    pub(crate) proxy_errors: AtomicU64,
    /// Connections for which anybody may compress.
    pub(crate) sharing: AtomicUsize,
    pub(crate) saved: AtomicU64,
    pub(crate) unanswered: AtomicU64,
    pub(crate) no_process: AtomicU64,
    pub(crate) no_descriptor: AtomicU64,
    pub(crate) accept_errors: AtomicU64,
    pub(crate) accept_pauses: AtomicU64,
}

/// The counters of a server at one moment. All count from the start of the server.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerStats {
    /// Open connections.
    pub connections: usize,
    /// Connections whose handshake was completed.
    pub accepted: u64,
    /// Sockets that were refused, or that left before their handshake was complete: for which reason.
    pub refused: Refusals,
    /// Connections that have ended: with which code, as their receivers were told.
    pub closes: Closes,
    /// Bytes that wait in the queues of connections for their clients: see [`crate::Engine::stats`].
    pub queued_bytes: u64,
    /// Bytes that wait for the handler processes of a pool.
    pub inbox_bytes: u64,
    /// Connections that wait for a process of their own.
    pub unattached: usize,
    /// Messages received.
    pub frames_in: u64,
    /// Frames handed over for sending.
    pub frames_out: u64,
    /// Bytes read after the handshake.
    pub bytes_in: u64,
    /// Bytes written after the handshake.
    pub bytes_out: u64,
    /// Copies of broadcast frames that a full connection did not get.
    pub dropped: u64,
    /// Sends to one connection that were refused since its queue was full.
    pub busy: u64,
    /// Connections that this side ended for a limit or a fault: with 1002, 1007, 1008, 1009, 1011, or for silence
    /// with 1001.
    pub failed: u64,
    /// Ordinary HTTP requests.
    pub requests: u64,
    /// Those of them whose answer is not complete.
    pub answering: usize,
    /// Requests that went to a web server behind this one, WebSockets among them.
    pub proxied: u64,
    /// Those of them that were answered 502, 503 or 504, or whose answer broke off.
    pub proxy_errors: u64,
    /// Bytes that compression has kept from being written.
    pub saved: u64,
    /// Connections that were cut off since no answer to a Close frame of ours came in time.
    pub unanswered: u64,
    /// Connections that ended with 1011, and questions that were answered 503, since there was no process for them.
    pub no_process: u64,
    /// Sockets that were refused to keep descriptors for others: see
    /// [`ServerConfig::max_descriptor`].
    pub no_descriptor: u64,
    /// Failures of the system's `accept`: mostly that it had no descriptor or memory left.
    pub accept_errors: u64,
    /// How often accepting has paused since the handlers were too far behind.
    pub accept_pauses: u64,
}

impl Counters {
    /// Counts the end of a connection.
    pub(crate) fn note_close(&self, code: u16) {
        let place = CLOSE_CODES.iter().position(|known| *known == code);
        if let Some(count) = self.closes.get(place.unwrap_or(CLOSE_CODES.len())) {
            bump(count, 1);
        }
    }

    /// Counts a client that got no connection.
    pub(crate) fn note_refused(&self, reason: RefusedFor) {
        if let Some(count) = self.refused.get(reason as usize) {
            bump(count, 1);
        }
    }

    /// All of them at this moment, but for what waits and [`crate::model::traffic`].
    pub(crate) fn read(&self) -> ServerStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ServerStats {
            connections: self.open.load(Ordering::Relaxed),
            accepted: read(&self.accepted),
            refused: self.refused.each_ref().map(read),
            closes: self.closes.each_ref().map(read),
            queued_bytes: 0,
            inbox_bytes: 0,
            unattached: self.unattached.load(Ordering::Relaxed),
            frames_in: 0,
            frames_out: 0,
            bytes_in: 0,
            bytes_out: 0,
            dropped: read(&self.dropped),
            busy: read(&self.busy),
            failed: read(&self.failed),
            requests: read(&self.requests),
            answering: self.answering.load(Ordering::Relaxed),
            proxied: read(&self.proxied),
            proxy_errors: read(&self.proxy_errors),
            saved: read(&self.saved),
            unanswered: read(&self.unanswered),
            no_process: read(&self.no_process),
            no_descriptor: read(&self.no_descriptor),
            accept_errors: read(&self.accept_errors),
            accept_pauses: read(&self.accept_pauses),
        }
    }
}

impl ServerStats {
    /// Refusals for any reason.
    pub fn rejected(&self) -> u64 {
        self.refused.iter().sum()
    }
}

pub(crate) fn bump(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
