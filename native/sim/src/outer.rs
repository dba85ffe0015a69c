//! A server that the one which is looked at is nested in: it has the sockets, and answers ordinary requests.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use sockeye_protocol::handshake::Paths;
use sockeye_simulated_engine::{Address, Engine, Mode, Routes, Server, ServerConfig};
use sockeye_world::Chance;

use crate::book::Shared;
use crate::front::Front;

/// Where WebSockets are those of the nested one: everywhere.
pub(crate) const PATHS: &str = "/*";

/// What it is like.
#[derive(Clone, Copy, Debug)]
pub struct OuterPlan {
    /// It stops before the one that is nested in it.
    pub stops_first: bool,
}

/// Whether there is one.
pub(crate) fn draw(chance: &mut Chance) -> Option<OuterPlan> {
    let plan = OuterPlan {
        stops_first: chance.is(1, 2),
    };
    chance.is(1, 6).then_some(plan)
}

/// The settings of a server that is nested in another one, and those of that one, out of what both would be together.
pub(crate) fn split(whole: ServerConfig) -> (ServerConfig, Option<ServerConfig>) {
    let mut nested = whole.clone();
    nested.address = Address::Nowhere;
    nested.routes = Routes::default();
    nested.http2_cleartext = false;
    nested.tls = None;
    let mut outer = whole;
    outer.mode = Mode::Workers(1);
    outer.asks = false;
    outer.max_connections = usize::MAX;
    (nested, Some(outer))
}

/// Starts it.
pub(crate) fn start(
    engine: &Arc<Engine>,
    book: &Shared,
    mut config: ServerConfig,
    nested: &Server,
) -> Option<Front> {
    config.address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into();
    config.paths = Paths::new(["/own"]).ok()?;
    config.nested = Some((Paths::new([PATHS]).ok()?, nested.id()));
    Front::listen(engine, book, config)
}
