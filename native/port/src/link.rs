//! The socket to the VM, written by whichever thread has something: a shard at the end of its turn, the link's own thread else.

use std::cell::Cell;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sockeye_etf::VERSION;
use sockeye_seam::{Etf, Writer};
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::Notify;

use crate::packets::Outgoing;
use crate::receiver::Receiver;

pub(crate) const ANSWER: u8 = 1;
pub(crate) const MESSAGE: u8 = 2;
pub(crate) const BATCH: u8 = 3;
pub(crate) const WATCH: u8 = 4;
pub(crate) const UNWATCH: u8 = 5;
pub(crate) const PONG: u8 = 6;

/// Bytes that wait for the VM from which on events stay where they are.
const FULL: usize = 512 * 1024;

/// Memory that a thread keeps for the next section.
const KEPT: usize = 64 * 1024;

thread_local! {
    static BODY: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

pub(crate) struct Link {
    out: Mutex<Outgoing>,
    socket: OwnedWriteHalf,
    /// The socket takes no more: somebody is to wait for it.
    blocked: Notify,
    /// Receivers that have events and credit, and wait for room.
    stalled: Mutex<Vec<Arc<Receiver>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    pub(crate) fn new(socket: OwnedWriteHalf) -> Arc<Self> {
        Arc::new(Link {
            out: Mutex::default(),
            socket,
            blocked: Notify::new(),
            stalled: Mutex::default(),
        })
    }

    /// Appends a section, which goes out with the next [`Link::flush`]. It is written before anything is locked: who writes may
    /// wait for others, and they for the link.
    pub(crate) fn append(&self, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
        let mut body = BODY.take();
        body.clear();
        write(&mut body);
        self.append_parts(kind, &[&body]);
        if body.capacity() <= KEPT {
            BODY.set(body);
        }
    }

    /// The same, of what has been written.
    pub(crate) fn append_parts(&self, kind: u8, parts: &[&[u8]]) {
        lock(&self.out).section(kind, parts);
    }

    /// Appends a section, and sends what there is.
    pub(crate) fn send(&self, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
        self.append(kind, write);
        self.flush();
    }

    /// An answer to who gave `from`: `{return, Value}`.
    pub(crate) fn answer(&self, from: &[u8], value: impl FnOnce(&mut Etf<'_>)) {
        self.reply(from, sockeye_seam::Atom::return_, value);
    }

    pub(crate) fn raise(&self, from: &[u8]) {
        use sockeye_seam::Atom;
        self.reply(from, Atom::raise, |w| w.atom(Atom::badarg));
    }

    fn reply(&self, from: &[u8], tag: sockeye_seam::Atom, value: impl FnOnce(&mut Etf<'_>)) {
        self.append(ANSWER, |out| {
            out.extend_from_slice(&(from.len() as u16).to_be_bytes());
            out.extend_from_slice(from);
            term(out, |w| {
                w.tuple(2);
                w.atom(tag);
                value(w);
            });
        });
        self.flush();
    }

    /// A message to the process of an Id.
    pub(crate) fn message(&self, id: u64, write: impl FnOnce(&mut Etf<'_>)) {
        self.send(MESSAGE, |out| {
            out.extend_from_slice(&id.to_be_bytes());
            term(out, write);
        });
    }

    /// Writes what the socket takes now.
    pub(crate) fn flush(&self) {
        if !self.write_some() {
            self.blocked.notify_one();
        }
    }

    /// False if something is left.
    fn write_some(&self) -> bool {
        let mut out = lock(&self.out);
        loop {
            let bytes = out.ready();
            if bytes.is_empty() {
                return true;
            }
            match self.socket.try_write(bytes) {
                Ok(n) if n > 0 => out.written(n),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return false,
                // Who reads finds out, and ends it all.
                _ => {
                    *out = Outgoing::default();
                    return true;
                }
            }
        }
    }

    /// Whether events are to stay where they are.
    pub(crate) fn is_full(&self) -> bool {
        lock(&self.out).waiting() > FULL
    }

    /// The receiver goes on when there is room.
    pub(crate) fn stall(&self, receiver: Arc<Receiver>) {
        lock(&self.stalled).push(receiver);
        self.blocked.notify_one();
    }

    /// Waits for the socket where the others do not.
    pub(crate) async fn write_on(&self) {
        loop {
            self.blocked.notified().await;
            while !self.write_some() {
                if self.socket.writable().await.is_err() {
                    return;
                }
            }
            let stalled = std::mem::take(&mut *lock(&self.stalled));
            for receiver in stalled {
                receiver.resume();
            }
            self.flush();
        }
    }
}

/// A term that stands alone.
pub(crate) fn term(out: &mut Vec<u8>, write: impl FnOnce(&mut Etf<'_>)) {
    out.push(VERSION);
    write(&mut Etf(out));
}
