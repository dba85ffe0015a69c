//! The plan of a run: everything that a seed decides before the run begins. It is data only; nothing here touches the engine.
//!
//! Each part has its own generator ([`part`]), so that a new one does not change what older seeds decide of the rest.

pub mod client;
pub mod http2;
pub mod network;
pub mod parent;
pub mod port;
pub mod processes;
pub mod proxy;
pub(crate) mod random;
mod reduce;
pub mod requests;
pub mod server;
pub mod tls;

use std::time::Duration;

use sockeye_simulated_engine::Mode;
use sockeye_world::Chance;
use sockeye_world::net::Faults;

use client::ClientPlan;
use http2::Http2Plan;
use network::SMALL;
use parent::ParentPlan;
use port::PortPlan;
use processes::ProcessPlan;
use proxy::ProxyPlan;
use random::{between, millis};
use requests::RequesterPlan;
use server::ServerPlan;
use tls::TlsPlan;

/// All that is decided before a run begins.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// The network loses nothing and nobody misbehaves: then everything must come to a good end, in time.
    pub fair: bool,
    pub shards: usize,
    pub mode: Mode,
    pub net: Faults,
    /// A thread is not scheduled for a while, once in so many of its steps; 0 for never.
    pub freezes: u64,
    /// A process of the VM runs in the middle of another thread's call of a socket, once in so many calls.
    pub preempts: u64,
    pub server: ServerPlan,
    pub processes: ProcessPlan,
    pub clients: Vec<ClientPlan>,
    /// Connections of HTTP/2.
    pub http2_conns: Vec<Http2Plan>,
    /// Clients that send ordinary requests.
    pub requesters: Vec<RequesterPlan>,
    /// A proxy before the server under test.
    pub proxy: Option<ProxyPlan>,
    /// A server that the one under test is nested in.
    pub parent: Option<ParentPlan>,
    /// Clients speak TLS with the server.
    pub tls: Option<TlsPlan>,
    /// The engine's own clients: how many connections each makes, one after the other.
    pub engine_clients: Vec<usize>,
    /// The engine is a process of its own, at the other end of a link.
    pub port: Option<PortPlan>,
    pub end: EndPlan,
    /// When the end begins.
    pub ends_at: Duration,
}

/// How the server or the engine is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndPlan {
    StopServer,
    DrainThenStop,
    StopEngine,
}

/// The generator of one part of a plan: other numbers than those that the run itself draws from its seed.
fn part(seed: u64, name: u64) -> Chance {
    Chance::new(seed ^ name)
}

impl Plan {
    /// What this seed decides.
    pub fn new(seed: u64) -> Self {
        let chance = &mut part(seed, 0xA11C_E5EE_D000_0001);
        let fair = chance.is(2, 5);
        let mode = match chance.below(3) {
            0 => Mode::Workers(between(chance, 1, 3) as usize),
            1 => Mode::PerConnection,
            _ => Mode::Owner,
        };
        let net = network::draw(chance, fair);
        let server = server::draw(chance, fair);
        let processes = processes::draw(chance, fair);
        let most = if chance.is(1, 6) { 14 } else { 5 };
        let clients = between(chance, 1, most);
        let clients: Vec<_> = (0..clients as usize)
            .map(|number| client::draw(chance, fair, number, &server, net.window))
            .collect();
        let has_tls = chance.is(1, 12);
        let engine_clients = if has_tls || chance.is(1, 2) {
            between(chance, 1, 3)
        } else {
            0
        };
        let engine_clients = (0..engine_clients)
            .map(|_| between(chance, 1, 3) as usize)
            .collect();
        let mut plan = Plan {
            seed,
            fair,
            mode,
            net: if has_tls {
                network::with_room(net)
            } else {
                net
            },
            server,
            processes,
            clients,
            engine_clients,
            tls: None,
            port: port::draw(&mut part(seed, 0x9027_0000_0000_0001), fair),
            http2_conns: Vec::new(),
            requesters: Vec::new(),
            proxy: None,
            parent: parent::draw(&mut part(seed, 0x0473_0000_0000_0001)),
            shards: between(chance, 1, 3) as usize,
            freezes: chance.pick(&[0, 0, 1000, 100]),
            preempts: chance.pick(&[4, 20, 1000]),
            end: chance.pick(&[
                EndPlan::StopServer,
                EndPlan::DrainThenStop,
                EndPlan::StopEngine,
            ]),
            ends_at: if fair || chance.is(1, 2) {
                Duration::from_secs(2000)
            } else {
                millis(chance, 1, 20_000)
            },
        };
        plan.add_content();
        plan.add_http2_and_requests();
        plan.add_proxy_and_tls(has_tls);
        plan
    }

    /// Compression, JSON, and replies in pieces.
    fn add_content(&mut self) {
        let chance = &mut part(self.seed, 0xDEF1_A7E0_0000_0001);
        self.server.deflate = server::draw_deflate(chance);
        for client in &mut self.clients {
            client.deflate = chance.is(2, 3);
            client.incompressible = chance.is(1, 2);
            client.json = self.port.is_some_and(|port| port.json);
        }
        self.processes.streams = part(self.seed, 0x9_1EC5_0001).pick(&[0, 0, 100, 500]);
    }

    fn add_http2_and_requests(&mut self) {
        let (seed, fair, window) = (self.seed, self.fair, self.net.window);
        let chance = &mut part(seed, 0x4772_0002_0000_0001);
        let (mut http2_conns, taken) = http2::draw(chance, fair, self.clients.len());
        let chance = &mut part(seed, 0x4177_7001_0000_0001);
        let mut requesters = requests::draw(chance, fair, window, http2_conns.len());
        requests::vary(&mut part(seed, 0x4EAD_0001), &mut requesters);
        http2::slow_down(&mut part(seed, 0x5_1080_0001), window, &mut http2_conns);
        let chance = &mut part(seed, 0xD4A6_0001);
        if !fair && window >= SMALL && chance.is(1, 2) {
            requests::add_slow_reader(chance, &mut http2_conns, &mut requesters);
        }
        let chance = &mut part(seed, 0xC407_0001);
        if self.port.is_some() && window >= SMALL && chance.is(1, 4) {
            requests::add_many_uploads(chance, http2_conns.len(), &mut requesters);
        }
        for (client, http2_conn) in self.clients.iter_mut().zip(taken) {
            client.http2_conn = http2_conn;
        }
        (self.http2_conns, self.requesters) = (http2_conns, requesters);
    }

    /// A proxy, whose clients may speak TLS with it, or TLS with the server itself.
    fn add_proxy_and_tls(&mut self, has_tls: bool) {
        let seed = self.seed;
        let chance = &mut part(seed, 0xF409_0001);
        let proxy = proxy::draw(chance, self.fair).filter(|_| !has_tls);
        if let Some(mut proxy) = proxy {
            if self.fair {
                // A client behind it must have got all within a second, see `proxy::place`.
                (self.net.delay, self.net.stalls) = (10_000, 0);
            }
            let all = (
                &mut self.clients[..],
                &mut self.http2_conns[..],
                &mut self.requesters[..],
            );
            proxy::place(chance, self.fair, all);
            proxy::secure(&mut part(seed, 0x7150_0000_0000_004D), &mut proxy);
            if proxy.tls.is_some() {
                self.net = network::with_room(self.net);
            }
            self.proxy = Some(proxy);
        }
        self.tls = has_tls.then(|| tls::draw(&mut part(seed, 0x715_0000_0001)));
    }
}
