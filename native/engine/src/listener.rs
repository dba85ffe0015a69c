//! Accepting connections and spreading them over the shards.

use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::ServerConfig;
use crate::front::visitor::{Peer, Visitor};
use crate::front::{self, Arrival};
use crate::host::Notice;
use crate::op::Control;
use crate::server::{Seat, Server, bump};
use crate::shard::Shard;

/// How long accepting rests when the operating system has no more to give.
const REST: Duration = Duration::from_millis(100);

/// A listening socket on its way to the shard that accepts.
pub(crate) struct Listening {
    pub(crate) server: Arc<Server>,
    pub(crate) socket: TcpListener,
}

/// Binds the server's address.
///
/// `SO_REUSEADDR`, so that a restart need not wait for old connections; not `SO_REUSEPORT`,
/// which would let two servers share a port without either being told.
pub(crate) fn bind(config: &ServerConfig) -> io::Result<TcpListener> {
    let address = config.address;
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(config.backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Counts a socket as gone when it goes.
pub(crate) struct Token(pub(crate) Arc<Server>);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.leave();
    }
}

pub(crate) fn start(shard: &Rc<Shard>, listening: Listening) {
    let token = Token(listening.server.clone());
    if listening.server.is_stopping() {
        return;
    }
    let accept = accept(shard.clone(), listening, token);
    shard.spawn_for(&accept.server, accept.run);
}

struct Accept<F> {
    server: Arc<Server>,
    run: F,
}

fn accept(
    shard: Rc<Shard>,
    Listening { server, socket }: Listening,
    token: Token,
) -> Accept<impl Future<Output = ()>> {
    let run = {
        let server = server.clone();
        async move {
            // Dropped last: the port is free before the server hears of it.
            let _token = token;
            match tokio::net::TcpListener::from_std(socket) {
                Ok(listener) => accept_all(&shard, &server, listener).await,
                Err(e) => server.host.event(Notice::AcceptFailed(e.to_string())),
            }
        }
    };
    Accept { server, run }
}

async fn accept_all(shard: &Rc<Shard>, server: &Arc<Server>, listener: tokio::net::TcpListener) {
    let mut next = shard.handle.index;
    let mut told: Option<Instant> = None;
    loop {
        while server.is_swamped() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        match listener.accept().await {
            Ok((stream, peer)) => {
                // A flood of newcomers must not keep the shard from its other work.
                shard.schedule();
                let Some(seat) = server.enter() else {
                    bump(&server.counters.rejected, 1);
                    front::refuse(&stream);
                    continue;
                };
                let Ok(local) = stream.local_addr() else {
                    continue;
                };
                let visitor = Visitor::new(Peer::from(peer), Peer::from(local));
                next = (next + 1) % shard.all.len();
                if next == shard.handle.index {
                    front::start_here(shard, seat, stream, visitor);
                } else {
                    hand_over(shard, next, seat, stream, visitor);
                }
            }
            Err(e) if is_peers_fault(&e) => {}
            Err(e) => {
                if told.is_none_or(|at| at.elapsed() >= Duration::from_secs(1)) {
                    told = Some(Instant::now());
                    server.host.event(Notice::AcceptFailed(e.to_string()));
                }
                tokio::time::sleep(REST).await;
            }
        }
    }
}

fn hand_over(
    shard: &Rc<Shard>,
    to: usize,
    seat: Seat,
    stream: tokio::net::TcpStream,
    visitor: Visitor,
) {
    if let (Ok(socket), Some(handle)) = (stream.into_std(), shard.all.get(to)) {
        handle.control(Control::Accepted(Arrival {
            seat,
            socket,
            visitor,
        }));
    }
}

/// A connection that ended before it was accepted says nothing about the next.
fn is_peers_fault(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
