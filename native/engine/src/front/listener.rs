//! Accepting connections and spreading them over the shards.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;

use crate::front;
use crate::front::Arrival;
use crate::front::bind::{Bindings, Bound};
use crate::net::peer::{Peer, PeerInfo};
use crate::net::transport::Transport;
use crate::server::{Permit, Server, bump};
use crate::shard::Shard;
use crate::shard::op::Control;
use crate::vm::host::Notice;

/// How long accepting rests when the operating system has no more to give.
const REST: Duration = Duration::from_millis(100);

/// The log is told again of the same trouble after so long.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// A listening socket on its way to the shard that accepts.
pub(crate) struct Listening {
    pub(crate) server: Arc<Server>,
    pub(crate) bound: Bound,
}

/// Counts a socket as gone when it goes.
pub(crate) struct Token(pub(crate) Arc<Server>);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.unlistened();
    }
}

pub(crate) fn start(shard: &Rc<Shard>, listening: Listening) {
    let token = Token(listening.server.clone());
    if listening.server.is_stopping() {
        return;
    }
    let accept = accept(shard.clone(), listening, token);
    let task = shard.spawn_for(&accept.server, accept.run);
    accept.server.listens(task);
}

struct Accept<F> {
    server: Arc<Server>,
    run: F,
}

fn accept(
    shard: Rc<Shard>,
    Listening { server, bound }: Listening,
    token: Token,
) -> Accept<impl Future<Output = ()>> {
    let run = {
        let server = server.clone();
        async move {
            // Dropped last: the port is free before the server hears of it.
            let _token = token;
            match Listener::new(bound) {
                Ok(listener) => accept_all(&shard, &server, listener).await,
                Err(e) => server.host.event(Notice::AcceptFailed(e.to_string())),
            }
        }
    };
    Accept { server, run }
}

/// Somewhere to accept connections.
enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix {
        /// Removed before the socket closes: nobody can take the name for a dead server's then.
        _file: crate::front::bind::unix::File,
        listener: UnixListener,
        local: Peer,
    },
}

impl Listener {
    fn new(bound: Bound) -> io::Result<Self> {
        Ok(match bound.socket {
            Bindings::Tcp(socket) => Listener::Tcp(TcpListener::from_std(socket)?),
            #[cfg(unix)]
            Bindings::Unix(file, socket) => Listener::Unix {
                _file: file,
                listener: UnixListener::from_std(socket)?,
                local: bound.place,
            },
        })
    }

    async fn accept(&self) -> io::Result<(Transport, PeerInfo)> {
        match self {
            Listener::Tcp(listener) => {
                let (socket, peer) = listener.accept().await?;
                let local = socket.local_addr();
                let local = local.map_err(|_| io::ErrorKind::ConnectionAborted)?;
                let peer_info = PeerInfo::new(Peer::from(peer), Peer::from(local));
                Ok((Transport::Tcp(socket), peer_info))
            }
            #[cfg(unix)]
            Listener::Unix {
                listener, local, ..
            } => {
                let (socket, peer) = listener.accept().await?;
                let peer_info = PeerInfo::new(Peer::from(peer), local.clone());
                Ok((Transport::Unix(socket), peer_info))
            }
        }
    }
}

async fn accept_all(shard: &Rc<Shard>, server: &Arc<Server>, listener: Listener) {
    let mut next = shard.handle.index;
    let mut failures = Told::default();
    let mut refusals = Told::default();
    loop {
        if server.is_overloaded() {
            bump(&server.counters.accept_pauses, 1);
            while server.is_overloaded() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        match listener.accept().await {
            Ok((transport, peer_info)) => {
                // A flood of newcomers must not keep the shard from its other work.
                shard.schedule();
                let most = server.config.max_descriptor;
                if transport.descriptor().is_some_and(|number| number >= most) {
                    bump(&server.counters.no_descriptor, 1);
                    bump(&server.counters.rejected, 1);
                    if refusals.are_news() {
                        server.host.event(Notice::NoDescriptor(most));
                    }
                    front::refuse(transport);
                    continue;
                }
                let Some(permit) = server.permit() else {
                    bump(&server.counters.rejected, 1);
                    front::refuse(transport);
                    continue;
                };
                next = (next + 1) % shard.all.len();
                if next == shard.handle.index {
                    front::start_here(shard, permit, transport, peer_info);
                } else {
                    hand_over(shard, next, permit, transport, peer_info);
                }
            }
            Err(e) if is_peers_fault(&e) => {}
            Err(e) => {
                bump(&server.counters.accept_errors, 1);
                if failures.are_news() {
                    server.host.event(Notice::AcceptFailed(e.to_string()));
                }
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// When the log was told of something last.
#[derive(Default)]
struct Told(Option<Instant>);

impl Told {
    fn are_news(&mut self) -> bool {
        let news = self.0.is_none_or(|at| at.elapsed() >= TELL_AGAIN);
        if news {
            self.0 = Some(Instant::now());
        }
        news
    }
}

fn hand_over(shard: &Rc<Shard>, to: usize, permit: Permit, transport: Transport, peer_info: PeerInfo) {
    if let (Ok(transport), Some(handle)) = (transport.detach(), shard.all.get(to)) {
        let arrival = Arrival {
            permit,
            transport,
            peer_info,
        };
        handle.control(Control::Run(Box::new(move |shard| {
            front::start(shard, arrival);
        })));
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
