//! A server beside the one under test: a proxy before it, or the parent in which it is nested.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sockeye_simulated_engine::{Engine, Peer, Server, ServerConfig};

use super::host::{Host, Notices};
use crate::model::checks;
use crate::model::ledger::SharedLedger;

/// Such a server.
pub(super) struct OtherServer {
    pub(super) server: Arc<Server>,
    pub(super) notices: Arc<Notices>,
    pub(super) address: SocketAddr,
}

impl OtherServer {
    /// Starts it.
    pub(super) fn listen(
        engine: &Arc<Engine>,
        ledger: &SharedLedger,
        config: ServerConfig,
    ) -> Option<Self> {
        let notices = Arc::new(Notices::default());
        let host = Host {
            ledger: ledger.clone(),
            owner: Arc::default(),
            notices: notices.clone(),
        };
        let (server, place) = engine.listen(config, |_| Box::new(host)).ok()?;
        let Some(Peer::Inet(ip, port)) = place else {
            return None;
        };
        Some(OtherServer {
            server,
            notices,
            address: (ip, port).into(),
        })
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.notices.stopped.load(Ordering::Relaxed) == 1
    }

    /// It has stopped, and nothing is left of it.
    pub(super) fn is_done(&self) -> bool {
        self.has_stopped() && checks::is_done(&self.server)
    }
}
