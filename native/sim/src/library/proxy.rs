//! The proxy before the server under test: it passes on all requests and WebSockets.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sockeye_protocol::handshake::Paths;
use sockeye_simulated_engine::{Engine, Mode, Routes, ServerConfig, Target, Upstream};

use super::other_server::OtherServer;
use super::tls;
use crate::model::ledger::SharedLedger;
use crate::plan::Plan;

/// Starts the proxy before the server at this address.
pub(super) fn start(
    engine: &Arc<Engine>,
    ledger: &SharedLedger,
    plan: &Plan,
    behind: SocketAddr,
) -> Option<OtherServer> {
    let proxy = plan.proxy?;
    let mut upstream = Upstream::inet(&behind.to_string()).ok()?;
    upstream.pool_size = proxy.pool_size;
    upstream.keepalive = proxy.keepalive;
    upstream.timeout = proxy.timeout;
    upstream.idle_timeout = proxy.timeout;
    upstream.connect_timeout = proxy.timeout;
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut config = ServerConfig::new(nowhere, Mode::Workers(1));
    let routes = vec![("/".to_owned(), Target::Proxy(Arc::new(upstream)))];
    config.routes = Routes::new(routes).ok()?;
    config.paths = Paths::new(["/own"]).ok()?;
    let http2 = !plan.http2_conns.is_empty();
    config.http2_cleartext = http2 && proxy.tls.is_none();
    config.tls = proxy.tls.and_then(|_| tls::server(http2));
    config.close_timeout = plan.server.close_timeout;
    if plan.fair {
        config.handshake_timeout = Duration::from_secs(1000);
        config.send_timeout = Duration::from_secs(100_000);
    }
    OtherServer::listen(engine, ledger, config)
}
