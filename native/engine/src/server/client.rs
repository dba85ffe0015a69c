//! The additional state of a client: it has one connection at a time.

use crate::model::id::ConnId;
use crate::model::lock::lock;
use crate::vm::host::{Disconnected, ServerHost};
use crate::world::sync::Mutex;
use crate::world::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[derive(Default)]
pub(crate) struct ClientState {
    /// The connection that is open; 0 for none.
    conn: AtomicU64,
    /// The last one, open or not.
    last: AtomicU64,
    asked: AtomicBool,
    end: Mutex<(u16, Box<str>)>,
}

impl ClientState {
    /// The connection, while there is one.
    pub(crate) fn conn(&self) -> Option<ConnId> {
        ConnId::from_u64(self.conn.load(Ordering::SeqCst))
    }

    /// The last connection, open or not.
    pub(crate) fn last_conn(&self) -> Option<ConnId> {
        ConnId::from_u64(self.last.load(Ordering::SeqCst))
    }

    pub(crate) fn connected(&self, conn: ConnId) {
        self.asked.store(false, Ordering::SeqCst);
        self.last.store(conn.as_u64(), Ordering::SeqCst);
        self.conn.store(conn.as_u64(), Ordering::SeqCst);
    }

    /// Our side has begun to close.
    pub(crate) fn close_asked(&self) {
        self.asked.store(true, Ordering::SeqCst);
    }

    /// What the last event of the connection says.
    pub(crate) fn ended(&self, code: u16, reason: &str) {
        *lock(&self.end) = (code, reason.into());
    }

    /// Tells the host that the connection is over.
    pub(crate) fn disconnected(&self, host: &dyn ServerHost, conn: ConnId) {
        self.conn.store(0, Ordering::SeqCst);
        let (code, reason) = lock(&self.end).clone();
        let asked = self.asked.load(Ordering::SeqCst);
        let end = Disconnected {
            code,
            reason,
            asked,
        };
        host.disconnected(conn, end);
    }
}
