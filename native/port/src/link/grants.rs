//! How many bytes the VM may send to each connection without a call.
//!
//! They are not counted as queued before they come. So a queue may be longer than its bound by what is granted, an eighth of the bound.

use std::sync::{Arc, PoisonError};

use sockeye_engine::{ConnId, Engine};

use crate::link::Link;
use crate::link::kinds::GRANT;
use crate::world::SCALE;
use crate::world::collections::HashSet;
use crate::world::sync::{Mutex, MutexGuard};

/// Bytes of a grant. One of less than the least is none.
const MOST: usize = 64 * 1024 / SCALE;
const LEAST: usize = 4 * 1024 / SCALE;
/// The part of its bound by which a queue may be longer.
const PART: usize = 8;

pub(crate) struct Grants {
    link: Arc<Link>,
    /// Connections whose end the VM is told.
    given: Arc<Mutex<HashSet<ConnId>>>,
}

fn lock(given: &Mutex<HashSet<ConnId>>) -> MutexGuard<'_, HashSet<ConnId>> {
    given.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Grants {
    pub(crate) fn new(link: Arc<Link>) -> Self {
        Grants {
            link,
            given: Arc::new(Mutex::new(HashSet::default())),
        }
    }

    #[cfg(any(sim, loom))]
    pub(crate) fn count(&self) -> usize {
        lock(&self.given).len()
    }

    /// The VM has sent something to this connection: more may follow without a question.
    pub(crate) fn renew(&self, engine: &Engine, conn: ConnId) {
        let bytes = (engine.ample(conn) / PART).min(MOST);
        if bytes < LEAST {
            if !engine.is_open(conn) {
                self.end(conn);
            }
            return;
        }
        say(&self.link, conn, bytes);
        if !lock(&self.given).insert(conn) {
            // It may have ended, and the VM been told of that, meanwhile.
            if !engine.is_known(conn) {
                say(&self.link, conn, 0);
            }
            return;
        }
        let (link, given) = (self.link.clone(), self.given.clone());
        let ended = move |conn| {
            lock(&given).remove(&conn);
            say(&link, conn, 0);
            link.flush();
        };
        if !engine.watch(conn, Box::new(ended.clone())) {
            ended(conn);
        }
    }

    /// The connection takes no more. The VM is told, if it counts on it.
    pub(crate) fn end(&self, conn: ConnId) {
        if lock(&self.given).contains(&conn) {
            say(&self.link, conn, 0);
        }
    }
}

fn say(link: &Link, conn: ConnId, bytes: usize) {
    link.append(GRANT, |out| {
        out.extend_from_slice(&conn.as_u64().to_be_bytes());
        out.extend_from_slice(&(bytes as u32).to_be_bytes());
    });
}
