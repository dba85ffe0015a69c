//! The socket to the VM. Each thread writes what it has to send: a shard at the end of its turn, otherwise the thread of the link.

pub(crate) mod grants;
pub mod hello;
pub(crate) mod kinds;
pub mod outgoing;
pub mod packets;
pub(crate) mod reply_to;

use std::cell::Cell;
use std::io;
use std::sync::{Arc, PoisonError};

use sockeye_etf::VERSION;
use sockeye_seam::{Atom, Etf, Writer};

use crate::link::kinds::{ANSWER, MESSAGE};
use crate::link::outgoing::Outgoing;
use crate::world::net::OwnedWriteHalf;
use crate::world::sync::{Mutex, MutexGuard, Notify};
use crate::world::{SCALE, task};

/// Bytes that wait for the VM from which on events stay where they are.
pub(crate) const FULL: usize = 512 * 1024 / SCALE;

/// Memory that a thread keeps for the next section.
const KEPT: usize = 64 * 1024;

thread_local! {
    static BODY: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Who waits for room on the link.
pub(crate) trait Stalled: Send + Sync {
    fn go_on(self: Arc<Self>);
}

pub(crate) struct Link {
    out: Mutex<Outgoing>,
    socket: OwnedWriteHalf,
    /// The socket takes no more: somebody is to wait for it.
    blocked: Notify,
    /// Who has events and credit, and waits for room.
    stalled: Mutex<Vec<Arc<dyn Stalled>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    pub(crate) fn new(socket: OwnedWriteHalf) -> Arc<Self> {
        Arc::new(Link {
            out: Mutex::new(Outgoing::default()),
            socket,
            blocked: Notify::default(),
            stalled: Mutex::new(Vec::new()),
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

    /// The same, of what has been written: the first part begins with the Id, if there is one.
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
        self.send(ANSWER, |out| reply(out, from, Atom::return_, value));
    }

    /// The same, behind all that has been said before.
    pub(crate) fn answer_last(&self, from: &[u8], value: impl FnOnce(&mut Etf<'_>)) {
        let mut body = Vec::new();
        reply(&mut body, from, Atom::return_, value);
        lock(&self.out).behind_all(ANSWER, body);
        self.flush();
    }

    pub(crate) fn raise(&self, from: &[u8]) {
        let value = |w: &mut Etf<'_>| w.atom(Atom::badarg);
        self.send(ANSWER, |out| reply(out, from, Atom::raise, value));
    }

    /// A message to the process of an Id.
    pub(crate) fn message(&self, id: u64, write: impl FnOnce(&mut Etf<'_>)) {
        self.send(MESSAGE, |out| {
            out.extend_from_slice(&id.to_be_bytes());
            term(out, write);
        });
    }

    /// The same, behind all that has been said before.
    pub(crate) fn message_last(&self, id: u64, write: impl FnOnce(&mut Etf<'_>)) {
        let mut body = id.to_be_bytes().to_vec();
        term(&mut body, write);
        lock(&self.out).behind_all(MESSAGE, body);
        self.flush();
    }

    /// Writes what the socket takes now, and of what is large one piece: the rest is for the link's own thread.
    pub(crate) fn flush(&self) {
        if !self.write_some() {
            self.blocked.notify_one();
        }
    }

    /// False if something is left.
    fn write_some(&self) -> bool {
        let mut out = lock(&self.out);
        let mut has_cut = false;
        loop {
            if out.waiting() == 0 && out.large() > 0 && std::mem::replace(&mut has_cut, true) {
                return false;
            }
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

    /// Whether events are to stay where they are: all, and large ones.
    pub(crate) fn is_full(&self) -> (bool, bool) {
        let out = lock(&self.out);
        (out.waiting() > FULL, out.large() > FULL)
    }

    /// Bytes that wait: of small sections, and of large ones.
    #[cfg(any(sim, test))]
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let out = lock(&self.out);
        (out.waiting(), out.large())
    }

    /// Bytes that it has in memory for small sections, and those that it may have.
    #[cfg(sim)]
    pub(crate) fn memory(&self) -> (usize, usize) {
        lock(&self.out).memory()
    }

    #[cfg(sim)]
    pub(crate) fn stalled_count(&self) -> usize {
        lock(&self.stalled).len()
    }

    /// Who waits goes on when there is room.
    pub(crate) fn stall(&self, who: Arc<dyn Stalled>) {
        lock(&self.stalled).push(who);
        self.blocked.notify_one();
    }

    /// Waits for the socket where the others do not.
    pub(crate) async fn write_on(&self) {
        loop {
            self.blocked.notified().await;
            let mut is_written = self.write_some();
            loop {
                // Before what is large is written, there is room for what is small.
                let stalled = std::mem::take(&mut *lock(&self.stalled));
                for who in stalled {
                    who.go_on();
                }
                if is_written {
                    break;
                }
                if self.socket.writable().await.is_err() {
                    return;
                }
                // What the VM says is read meanwhile.
                task::yield_now().await;
                is_written = self.write_some();
            }
            self.flush();
        }
    }
}

/// `{Tag, Value}` for who gave `from`.
fn reply(out: &mut Vec<u8>, from: &[u8], tag: Atom, value: impl FnOnce(&mut Etf<'_>)) {
    out.extend_from_slice(&(from.len() as u16).to_be_bytes());
    out.extend_from_slice(from);
    term(out, |w| {
        w.tuple(2);
        w.atom(tag);
        value(w);
    });
}

/// A term that stands alone.
pub(crate) fn term(out: &mut Vec<u8>, write: impl FnOnce(&mut Etf<'_>)) {
    out.push(VERSION);
    write(&mut Etf(out));
}
