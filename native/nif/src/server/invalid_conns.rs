//! Connections that sent something invalid: what else they sent is not wanted.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use sockeye_engine::ConnId;
use sockeye_engine::batch::Event;

use crate::vm::lock;

#[derive(Default)]
pub(crate) struct InvalidConns {
    conns: Mutex<Vec<ConnId>>,
    any: AtomicBool,
}

impl InvalidConns {
    pub(crate) fn refuse(&self, conn: ConnId) {
        lock(&self.conns).push(conn);
        self.any.store(true, Ordering::Relaxed);
    }

    /// Whether the event is of a connection that was refused. Its last event ends that.
    #[inline]
    pub(crate) fn covers(&self, conn: ConnId, event: &Event<'_>) -> bool {
        self.any.load(Ordering::Relaxed) && self.has(conn, event)
    }

    #[cold]
    fn has(&self, conn: ConnId, event: &Event<'_>) -> bool {
        let mut conns = lock(&self.conns);
        let Some(place) = conns.iter().position(|known| *known == conn) else {
            return false;
        };
        match event {
            Event::Ending => false,
            Event::Closed(..) => {
                conns.swap_remove(place);
                self.any.store(!conns.is_empty(), Ordering::Relaxed);
                false
            }
            _ => true,
        }
    }
}
