//! The parent, in which the server under test is nested: it has the sockets, and answers ordinary requests.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use sockeye_protocol::handshake::Paths;
use sockeye_simulated_engine::{Address, Engine, Mode, Routes, Server, ServerConfig};

use super::other_server::OtherServer;
use crate::model::ledger::SharedLedger;
use crate::plan::parent::PATHS;

/// Divides the settings of one server: those of the nested one, and those of its parent.
pub(super) fn split(whole: ServerConfig) -> (ServerConfig, ServerConfig) {
    let mut nested = whole.clone();
    nested.address = Address::Nowhere;
    nested.routes = Routes::default();
    nested.http2_cleartext = false;
    nested.tls = None;
    let mut parent = whole;
    parent.mode = Mode::Workers(1);
    parent.asks = false;
    parent.max_connections = usize::MAX;
    (nested, parent)
}

/// Starts the parent.
pub(super) fn start(
    engine: &Arc<Engine>,
    ledger: &SharedLedger,
    mut config: ServerConfig,
    nested: &Server,
) -> Option<OtherServer> {
    config.address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into();
    config.paths = Paths::new(["/own"]).ok()?;
    config.nested = Some((Paths::new([PATHS]).ok()?, nested.id()));
    OtherServer::listen(engine, ledger, config)
}
