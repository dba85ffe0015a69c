//! Clients, as the callers of the engine see them.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::ServerConfig;
use crate::engine::Engine;
use crate::host::ServerHost;
use crate::id::ConnId;
use crate::op::Control;
use crate::server::Server;

/// How the connection of a client has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parted {
    /// The close code, as in the connection's last event.
    pub code: u16,
    /// The close reason.
    pub reason: Box<str>,
    /// Our side asked for it, with a close frame of its own accord.
    pub asked: bool,
}

/// What a client has beside what every server has.
#[derive(Default)]
pub(crate) struct Calls {
    /// The connection that is open; 0 for none.
    conn: AtomicU64,
    /// The last one, open or not.
    last: AtomicU64,
    asked: AtomicBool,
    end: Mutex<(u16, Box<str>)>,
}

impl Server {
    /// Whether it connects instead of listening.
    pub fn is_client(&self) -> bool {
        self.calls.is_some()
    }

    /// The connection of a client, while there is one.
    pub fn client_conn(&self) -> Option<ConnId> {
        let calls = self.calls.as_ref()?;
        ConnId::from_u64(calls.conn.load(Ordering::Acquire))
    }

    pub(crate) fn last_conn(&self) -> Option<ConnId> {
        let calls = self.calls.as_ref()?;
        ConnId::from_u64(calls.last.load(Ordering::Acquire))
    }

    pub(crate) fn note_conn(&self, conn: ConnId) {
        if let Some(calls) = &self.calls {
            calls.asked.store(false, Ordering::Release);
            calls.last.store(conn.as_u64(), Ordering::Release);
            calls.conn.store(conn.as_u64(), Ordering::Release);
        }
    }

    /// Our side has begun to close.
    pub(crate) fn note_asked(&self) {
        if let Some(calls) = &self.calls {
            calls.asked.store(true, Ordering::Release);
        }
    }

    pub(crate) fn note_end(&self, code: u16, reason: &str) {
        if let Some(calls) = &self.calls {
            let mut end = calls.end.lock().unwrap_or_else(PoisonError::into_inner);
            *end = (code, reason.into());
        }
    }

    /// Tells the host that a connection of a client is over.
    pub(crate) fn part(&self, conn: ConnId) {
        let Some(calls) = &self.calls else { return };
        calls.conn.store(0, Ordering::Release);
        let (code, reason) = calls
            .end
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let asked = calls.asked.load(Ordering::Acquire);
        let end = Parted {
            code,
            reason,
            asked,
        };
        self.host.parted(conn, end);
    }
}

impl Engine {
    /// Makes a client, which does nothing until [`Engine::dial`]. `config` has a
    /// [`crate::Dial`]; it ends with [`Engine::stop_server`].
    pub fn client(
        &self,
        config: ServerConfig,
        host: impl FnOnce(u64) -> Box<dyn ServerHost>,
    ) -> io::Result<Arc<Server>> {
        if config.dial.is_none() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.enlist(config, host)
    }

    /// Connects a client. [`ServerHost::dialled`] tells what became of it, and
    /// [`ServerHost::parted`] when it is over; then it may be dialled again. False if it is
    /// no client, or stopping.
    pub fn dial(&self, client: &Arc<Server>) -> bool {
        let shard = client.number() as usize % self.shards();
        let seat = client.enter().filter(|_| client.is_client());
        match (seat, self.shard(shard)) {
            (Some(seat), Some(shard)) if !client.is_stopping() => {
                shard.control(Control::Dial(seat));
                true
            }
            _ => false,
        }
    }
}
