//! A server before the one that is looked at: it passes on all that comes, requests and WebSockets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sockeye_protocol::handshake::Paths;
use sockeye_simulated_engine::{
    Engine, Mode, Peer, Routes, Server, ServerConfig, Target, Upstream,
};
use sockeye_world::Chance;

use crate::book::Shared;
use crate::check;
use crate::door::TlsPlan;
use crate::drawn::Reads;
use crate::host::{Host, Told};
use crate::http::plan::AskerPlan;
use crate::http2::plan::CarrierPlan;
use crate::plan::{ClientPlan, Plan};
use crate::tls;

/// What it is like.
#[derive(Clone, Copy, Debug)]
pub struct FrontPlan {
    /// Connections that it keeps, and for how long.
    pub pool_size: usize,
    pub keepalive: Duration,
    /// How long it waits for an answer, and in a pause of one.
    pub patience: Duration,
    /// It stops before the one behind it.
    pub stops_first: bool,
    /// Who comes to it speaks TLS; the one behind it does not.
    pub tls: Option<TlsPlan>,
}

/// Whether there is one.
pub(crate) fn draw(chance: &mut Chance, fair: bool) -> Option<FrontPlan> {
    let seconds = chance.pick(&[1, 5, 60]);
    let plan = FrontPlan {
        pool_size: chance.pick(&[0, 1, 32]),
        keepalive: Duration::from_millis(chance.pick(&[50, 4000])),
        patience: Duration::from_secs(if fair { 100_000 } else { seconds }),
        stops_first: chance.is(1, 2),
        tls: None,
    };
    chance.is(1, 4).then_some(plan)
}

/// Whether who comes to it speaks TLS.
pub(crate) fn secure(chance: &mut Chance, front: &mut FrontPlan) {
    let tls = tls::draw(chance);
    front.tls = chance.is(1, 4).then_some(tls);
}

/// Who comes to it.
pub(crate) fn place(
    chance: &mut Chance,
    fair: bool,
    (clients, carriers, askers): (&mut [ClientPlan], &mut [CarrierPlan], &mut [AskerPlan]),
) {
    for client in &mut *clients {
        client.behind = chance.is(2, 3);
    }
    for carrier in &mut *carriers {
        carrier.behind = chance.is(2, 3);
        if fair {
            // When all is said, a server waits for a second for what its client has not taken: here that is the one before it.
            carrier.window = carrier.window.max(65_535);
            carrier.resizes = 0;
            carrier.slow = carrier.slow.filter(|_| !carrier.behind);
        }
    }
    for client in clients {
        let passes = match client.carrier {
            Some(number) => carriers.get(number).is_some_and(|carrier| carrier.behind),
            None => client.behind,
        };
        if fair && passes {
            client.reads = Reads::Always;
        }
    }
    for asker in askers {
        asker.behind = chance.is(2, 3);
    }
}

/// Who it is for the one behind it.
pub(crate) const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

pub(crate) struct Front {
    pub(crate) server: Arc<Server>,
    pub(crate) told: Arc<Told>,
    pub(crate) address: SocketAddr,
}

impl Front {
    /// Starts it.
    pub(crate) fn start(
        engine: &Arc<Engine>,
        book: &Shared,
        plan: &Plan,
        behind: SocketAddr,
    ) -> Option<Self> {
        let front = plan.front?;
        let mut upstream = Upstream::inet(&behind.to_string()).ok()?;
        upstream.pool_size = front.pool_size;
        upstream.keepalive = front.keepalive;
        upstream.timeout = front.patience;
        upstream.idle_timeout = front.patience;
        upstream.connect_timeout = front.patience;
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut config = ServerConfig::new(nowhere, Mode::Workers(1));
        let routes = vec![("/".to_owned(), Target::Proxy(Arc::new(upstream)))];
        config.routes = Routes::new(routes).ok()?;
        config.paths = Paths::new(["/own"]).ok()?;
        let http2 = !plan.carriers.is_empty();
        config.http2_cleartext = http2 && front.tls.is_none();
        config.tls = front.tls.and_then(|_| tls::server(http2));
        config.close_timeout = plan.server.close_timeout;
        if plan.fair {
            config.handshake_timeout = Duration::from_secs(1000);
            config.send_timeout = Duration::from_secs(100_000);
        }
        Front::listen(engine, book, config)
    }

    /// A server that is not the one which is looked at.
    pub(crate) fn listen(
        engine: &Arc<Engine>,
        book: &Shared,
        config: ServerConfig,
    ) -> Option<Self> {
        let told = Arc::new(Told::default());
        let host = Host {
            book: book.clone(),
            owner: Arc::default(),
            told: told.clone(),
        };
        let (server, place) = engine.listen(config, |_| Box::new(host)).ok()?;
        let Some(Peer::Inet(ip, port)) = place else {
            return None;
        };
        Some(Front {
            server,
            told,
            address: (ip, port).into(),
        })
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.told.stopped.load(Ordering::Relaxed) == 1
    }

    /// It has stopped, and nothing is left of it.
    pub(crate) fn is_done(&self) -> bool {
        self.has_stopped() && check::is_done(&self.server)
    }
}
