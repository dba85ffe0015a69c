//! Accepting connections and spreading them over the shards.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

#[cfg(unix)]
use tokio::net::UnixListener;

use crate::accept;
use crate::accept::AcceptedSocket;
use crate::accept::bind::{BoundListener, BoundSocket};
use crate::model::log_interval::LogInterval;
use crate::net::peer::{Peer, PeerInfo};
use crate::net::transport::Transport;
use crate::server::{Server, bump};
use crate::shard::Shard;
use crate::shard::op::Control;
use crate::vm::host::Notice;
use crate::world::net::TcpListener;
use crate::world::time;

/// How long accepting rests when the operating system has no more to give.
const REST: Duration = Duration::from_millis(100);

/// Counts a socket as gone when it goes.
struct ListeningGuard(Arc<Server>);

impl Drop for ListeningGuard {
    fn drop(&mut self) {
        self.0.unlistened();
    }
}

/// Accepts connections on this socket, in a task of its own.
pub(crate) fn start(shard: &Rc<Shard>, server: Arc<Server>, bound: BoundListener) {
    let guard = ListeningGuard(server.clone());
    if server.is_stopping() {
        return;
    }
    let work = {
        let (shard, server) = (shard.clone(), server.clone());
        async move {
            // Dropped last: the port is free before the server hears of it.
            let _guard = guard;
            match Listener::new(bound) {
                Ok(listener) => accept_all(&shard, &server, listener).await,
                Err(e) => server.host.event(Notice::AcceptFailed(e.to_string())),
            }
        }
    };
    server.listens(shard.spawn_for(&server, work));
}

/// Somewhere to accept connections.
enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix {
        /// Removed before the socket closes: nobody can take the name for a dead server's then.
        _file: crate::accept::bind::unix::SocketFile,
        listener: UnixListener,
        local: Peer,
    },
}

impl Listener {
    fn new(bound: BoundListener) -> io::Result<Self> {
        Ok(match bound.socket {
            BoundSocket::Tcp(socket) => Listener::Tcp(TcpListener::from_std(socket)?),
            #[cfg(unix)]
            BoundSocket::Unix(file, socket) => Listener::Unix {
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
    let failures = LogInterval::default();
    loop {
        if server.is_overloaded() {
            bump(&server.counters.accept_pauses, 1);
            while server.is_overloaded() {
                time::sleep(Duration::from_millis(5)).await;
            }
        }
        match listener.accept().await {
            Ok((transport, peer_info)) => {
                // A flood of new sockets must not keep the shard from its other work.
                shard.schedule();
                let socket = match accept::let_in(server, transport, peer_info, None) {
                    Ok(socket) => socket,
                    Err(transport) => {
                        accept::refuse(transport);
                        continue;
                    }
                };
                next = (next + 1) % shard.all.len();
                if next == shard.handle.index {
                    accept::start_here(shard, socket);
                } else {
                    hand_over(shard, next, socket);
                }
            }
            Err(e) if is_peers_fault(&e) => {}
            Err(e) => {
                bump(&server.counters.accept_errors, 1);
                if failures.is_due() {
                    server.host.event(Notice::AcceptFailed(e.to_string()));
                }
                time::sleep(REST).await;
            }
        }
    }
}

fn hand_over(shard: &Rc<Shard>, to: usize, socket: AcceptedSocket<Transport>) {
    let AcceptedSocket {
        permit,
        transport,
        peer_info,
        read,
    } = socket;
    if let (Ok(transport), Some(handle)) = (transport.detach(), shard.all.get(to)) {
        let socket = AcceptedSocket {
            permit,
            transport,
            peer_info,
            read,
        };
        handle.control(Control::Run(Box::new(|shard| accept::start(shard, socket))));
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
