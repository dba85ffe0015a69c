//! The configuration of the engine, of a server and of a client.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sockeye_protocol::handshake::{HeadLimits, Origins, Paths, Request};
use sockeye_protocol::networks::Networks;
use sockeye_protocol::{Limits, Role, deflate};

use crate::model::active::Active;
use crate::model::clock::ticks;
use crate::model::pace::MessageRate;
use crate::net::tls::Tls;
use crate::settings::dial::Dial;
use crate::settings::options::{NEVER, Rules, Times};
use crate::settings::rates::ConnectionRate;
use crate::settings::routes::{ProxyRoute, Routes};

/// Settings of the engine.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct EngineConfig {
    /// Number of shards, from 1 to 64. Default 1.
    pub shards: usize,
    /// Called on a shard's thread when it has notified the processes of a turn. True says that many small answers are to be
    /// expected: the shard lets others have the core before it sleeps. Default: nothing, and false.
    pub after_notices: fn() -> bool,
    /// Called on a thread that may wait, a while after a thousand connections of a shard have closed, or when for a while nothing
    /// large has come or gone.
    /// Default: nothing.
    pub give_back: fn(),
}

impl EngineConfig {
    /// An engine with so many shards.
    pub fn new(shards: usize) -> Self {
        EngineConfig {
            shards: shards.clamp(1, crate::model::id::MAX_SHARDS),
            after_notices: || false,
            give_back: || {},
        }
    }
}

/// Who gets the frames of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// So many handler processes; a connection stays with one of them.
    Workers(usize),
    /// A process for each connection, made by the process behind the acceptor inbox.
    PerConnection,
    /// A plain process that gets messages.
    Owner,
}

/// Where a server listens.
#[derive(Clone, Debug)]
pub enum Address {
    /// An address and a port; port 0 takes a free one. `::` takes IPv4 clients too.
    Inet(SocketAddr),
    /// An address on this interface, which is found by its name or number, and a port.
    Zoned(Ipv6Addr, String, u16),
    /// A Unix socket: a path, or a zero byte and an abstract name (Linux). The file of a server
    /// that is gone is replaced, and the server removes its own when it stops.
    Unix(Box<[u8]>),
    /// A socket that listens already, and goes on when the server has stopped.
    #[cfg(unix)]
    Given(Arc<std::os::fd::OwnedFd>),
    /// Nowhere: others bring connections.
    Nowhere,
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Address::Inet(address)
    }
}

/// Settings of a server. Sizes are bytes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Where to listen.
    pub address: Address,
    /// Lets other sockets listen on the same port, of this process or others of the same user;
    /// the system spreads new connections. Default false.
    pub reuse_port: bool,
    /// Length of the operating system's queue of new connections.
    pub backlog: i32,
    /// Who gets the frames.
    pub mode: Mode,
    /// The credits that a connection starts with.
    pub active: Active,
    /// Limits of what a client may send.
    pub limits: Limits,
    /// Bound of what waits for a handler process.
    pub inbox_size: usize,
    /// Bound of what waits for a client.
    pub send_queue_size: u32,
    /// How long a connection may stay full.
    pub send_timeout: Duration,
    /// Time for a client to complete the handshake.
    pub handshake_timeout: Duration,
    /// Time for the process of a new connection to come. Default 30 seconds.
    pub attach_timeout: Duration,
    /// Time for a client to answer a close frame.
    pub close_timeout: Duration,
    /// How long nothing at all may come from a client. Default 60 seconds.
    pub idle_timeout: Duration,
    /// How long nothing may come before the client is pinged. Default 30 seconds.
    pub ping_interval: Duration,
    /// How long nothing may come after a ping. Default 20 seconds.
    pub pong_timeout: Duration,
    /// How long a connection may last. Default [`crate::settings::options::NEVER`]: for ever.
    pub max_age: Duration,
    /// How fast each client may send messages. Default: as it likes.
    pub message_rate: Option<MessageRate>,
    /// Whether the receiver gets pings and pongs as well. Default no.
    pub control_frames: bool,
    /// Connections beyond this number are refused with 503.
    pub max_connections: usize,
    /// Accepted sockets whose descriptor has this number, or a higher one, are refused with 503. The
    /// system gives out the lowest number that is free: so the highest ones stay for the other
    /// needs of the process, whoever uses up the rest. Default: none is refused.
    pub max_descriptor: usize,
    /// Each connection begins with a header of the PROXY protocol. Needs trusted proxies.
    pub proxy_protocol: bool,
    /// Who is believed about its clients.
    pub trusted_proxies: Networks,
    /// Clients may speak HTTP/2 at once, without TLS to agree on it.
    pub http2_cleartext: bool,
    /// Connections are TLS.
    pub tls: Option<Arc<Tls>>,
    /// Connections of one address beyond this number are refused with 429.
    pub max_connections_per_address: usize,
    /// How fast one address may open connections; 429 beyond.
    pub connection_rate: Option<ConnectionRate>,
    /// Subprotocols that the server speaks.
    pub subprotocols: Vec<String>,
    /// Compression that the server agrees to. Default: none.
    pub deflate: Option<deflate::Policy>,
    /// Bounds on the head of a request.
    pub head_limits: HeadLimits,
    /// The pages that may open connections.
    pub origins: Origins,
    /// The paths at which connections are opened; 404 at others.
    pub paths: Paths,
    /// What is answered to ordinary requests.
    pub routes: Routes,
    /// Bytes of the body of a request that the virtual machine is asked about; 413 beyond.
    pub max_body_size: usize,
    /// Bytes of all such bodies at once, which one of the largest always may have; 503 beyond.
    pub max_bodies_size: usize,
    /// Topics that a connection may subscribe to.
    pub max_subscriptions: usize,
    /// Whether a connection whose queue is full closes with 1008 when it misses a frame for
    /// many; else that is counted only.
    pub close_slow: bool,
    /// Whether the virtual machine is asked before a connection is let in.
    pub asks: bool,
    /// Time for the answer.
    pub accept_timeout: Duration,
    /// For a client: where it connects. None for a server.
    pub dial: Option<Arc<Dial>>,
    /// The caller's own, 0 to 15; [`crate::Engine::label_of`] gives it back.
    pub tag: u8,
    /// A server without a listener, and the paths whose WebSockets are its own. Where there is one, the headers of
    /// connections are kept for [`crate::Engine::conn_stats`].
    pub nested: Option<(Paths, u64)>,
}

impl ServerConfig {
    /// The server behind that gets a request for a WebSocket: that of its path, unless connections of this server are opened there.
    pub(crate) fn passes(&self, request: &Request) -> Option<ProxyRoute<'_>> {
        let route = self.routes.proxy(request.path())?;
        (!self.paths.has(request.path())).then_some(route)
    }

    /// The defaults, for this address.
    pub fn new(address: impl Into<Address>, mode: Mode) -> Self {
        ServerConfig {
            address: address.into(),
            reuse_port: false,
            backlog: 1024,
            mode,
            active: Active::True,
            limits: Limits::default(),
            inbox_size: 1 << 20,
            send_queue_size: 1 << 20,
            send_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
            attach_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(60),
            ping_interval: Duration::from_secs(30),
            pong_timeout: Duration::from_secs(20),
            message_rate: None,
            control_frames: false,
            max_age: NEVER,
            max_connections: usize::MAX,
            max_descriptor: usize::MAX,
            proxy_protocol: false,
            trusted_proxies: Networks::new(),
            http2_cleartext: false,
            tls: None,
            max_connections_per_address: usize::MAX,
            connection_rate: None,
            subprotocols: Vec::new(),
            deflate: None,
            head_limits: HeadLimits::default(),
            origins: Origins::default(),
            paths: Paths::default(),
            routes: Routes::default(),
            max_body_size: 1 << 20,
            max_bodies_size: 64 << 20,
            max_subscriptions: 1024,
            close_slow: false,
            asks: false,
            accept_timeout: Duration::from_secs(5),
            dial: None,
            tag: 0,
            nested: None,
        }
    }

    /// What its connections live by unless told otherwise.
    pub(crate) fn rules(&self) -> Rules {
        Rules {
            limits: self.limits,
            times: Times {
                idle: ticks(self.idle_timeout),
                ping: ticks(self.ping_interval),
                pong: ticks(self.pong_timeout),
                age: ticks(self.max_age),
            },
        }
    }

    /// Whether there is a listening socket.
    pub(crate) fn listens(&self) -> bool {
        self.dial.is_none() && !matches!(self.address, Address::Nowhere)
    }

    /// Which end of its connections it is.
    pub fn role(&self) -> Role {
        match self.dial {
            Some(_) => Role::Client,
            None => Role::Server,
        }
    }
}
