//! Processes of the VM that the engine knows, each by its Id.

pub(crate) mod batches;
pub(crate) mod receiver;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sockeye_engine::Server;
use sockeye_etf::VERSION;
use sockeye_seam::{Atom, Etf, Writer};

use crate::link::Link;
use crate::link::kinds::{UNWATCH, WATCH};
use crate::processes::receiver::Receiver;
use crate::world::collections::HashMap;

/// What ends with a process.
pub(crate) enum Watched {
    /// It is told of what goes wrong.
    Engine,
    /// The process of the server of this number.
    Host(u64),
    /// A handler, or a server that is told of connections.
    Receiver(Arc<Receiver>, Arc<Server>),
    /// A plain process, of the server of this number.
    Owner(Arc<Receiver>, u64),
    /// Nothing.
    Other,
}

/// The Id of the process that reads the link itself.
pub(crate) const VM: u64 = 0;

pub(crate) struct Processes {
    link: Arc<Link>,
    next: AtomicU64,
    all: Mutex<HashMap<u64, Watched>>,
}

impl Processes {
    pub(crate) fn new(link: Arc<Link>) -> Self {
        Processes {
            link,
            next: AtomicU64::new(1),
            all: Mutex::default(),
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<u64, Watched>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(sim)]
    pub(crate) fn count(&self) -> usize {
        self.all().len()
    }

    /// An Id for a process that is to be watched next.
    pub(crate) fn new_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Has the process with these bytes of a pid watched. `host` is the Id of the one whose death explains this one's; 0 for none.
    pub(crate) fn watch(&self, id: u64, role: Atom, pid: &[u8], host: u64, watched: Watched) {
        self.all().insert(id, watched);
        self.link.append(WATCH, |out| {
            out.extend_from_slice(&id.to_be_bytes());
            out.push(VERSION);
            let w = &mut Etf(out);
            w.tuple(3);
            w.atom(role);
            w.0.extend_from_slice(pid);
            w.integer(host);
        });
    }

    /// The process is of no interest any more.
    pub(crate) fn unwatch(&self, id: u64) {
        if self.all().remove(&id).is_some() {
            self.link
                .append(UNWATCH, |out| out.extend_from_slice(&id.to_be_bytes()));
        }
    }

    /// The receiver of this Id.
    pub(crate) fn receiver(&self, id: u64) -> Option<Arc<Receiver>> {
        match self.all().get(&id)? {
            Watched::Receiver(receiver, _) | Watched::Owner(receiver, _) => Some(receiver.clone()),
            _ => None,
        }
    }

    pub(crate) fn is_alive(&self, id: u64) -> bool {
        self.all().contains_key(&id)
    }

    /// It is dead.
    pub(crate) fn remove(&self, id: u64) -> Option<Watched> {
        self.all().remove(&id)
    }
}
