//! The opening handshake, in a task of its own, so that its state does not stay with the
//! connection.

use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use sockeye_protocol::handshake::{HeadLimits, Refusal, Request, ServerPolicy, server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::batch::OpenInfo;
use crate::server::{Seat, Server, bump};
use crate::shard::Shard;

/// How long a refused client may take to read the answer.
const FAREWELL: Duration = Duration::from_secs(1);

/// Takes over a socket that another shard accepted.
pub(crate) fn start(shard: &Rc<Shard>, seat: Seat, stream: TcpStream, peer: SocketAddr) {
    if let Ok(stream) = tokio::net::TcpStream::from_std(stream) {
        start_here(shard, seat, stream, peer);
    }
}

/// Shakes hands, in a task of its own.
pub(crate) fn start_here(
    shard: &Rc<Shard>,
    seat: Seat,
    stream: tokio::net::TcpStream,
    peer: SocketAddr,
) {
    let server = seat.server.clone();
    if server.is_stopping() {
        return;
    }
    let work = {
        let (shard, server) = (shard.clone(), server.clone());
        async move {
            let limit = server.config.handshake_timeout;
            let shaken = shake_hands(&shard, &server, stream, peer);
            match tokio::time::timeout(limit, shaken).await {
                Ok(Some((stream, info, rest))) if !server.is_stopping() => {
                    shard.adopt(seat, stream, info, rest);
                }
                _ => bump(&server.counters.rejected, 1),
            }
        }
    };
    shard.spawn_for(&server, work);
}

/// Tells a client that there is no room, as far as that goes without waiting.
pub(crate) fn refuse(stream: &tokio::net::TcpStream) {
    let refusal = Refusal::new(503, "Too many connections.\n").with_header("Retry-After", "1");
    let _ = stream.try_write(&refusal.response());
}

type Shaken = (tokio::net::TcpStream, Box<OpenInfo>, Vec<u8>);

async fn shake_hands(
    shard: &Shard,
    server: &Server,
    mut stream: tokio::net::TcpStream,
    peer: SocketAddr,
) -> Option<Shaken> {
    // A reply is one small packet: waiting for more to send would only delay it.
    stream.set_nodelay(true).ok()?;
    let mut buffer = Vec::with_capacity(1024);
    let limits = HeadLimits::default();
    let (request, consumed) = loop {
        if stream.read_buf(&mut buffer).await.ok()? == 0 {
            return None;
        }
        match Request::parse(&buffer, &limits) {
            Ok(Some(found)) => break found,
            Ok(None) => {}
            Err(refusal) => {
                say_no(shard, stream, &refusal).await;
                return None;
            }
        }
    };
    let policy = ServerPolicy {
        subprotocols: &server.config.subprotocols,
    };
    let upgrade = match server::upgrade(&request, &policy) {
        Ok(upgrade) => upgrade,
        Err(refusal) => {
            say_no(shard, stream, &refusal).await;
            return None;
        }
    };
    stream.write_all(&upgrade.response(&[])).await.ok()?;
    let subprotocol = upgrade.subprotocol.map(String::into_boxed_str);
    let info = Box::new(OpenInfo {
        peer,
        request,
        subprotocol,
        acceptor: 0,
    });
    Some((stream, info, buffer.split_off(consumed.min(buffer.len()))))
}

async fn say_no(shard: &Shard, mut stream: tokio::net::TcpStream, refusal: &Refusal) {
    let farewell = async {
        stream.write_all(&refusal.response()).await?;
        stream.shutdown().await?;
        // Closing while the client still sends would take the answer from it.
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {
            // One that never stops sending must not keep the shard from its other work.
            shard.schedule();
        }
        std::io::Result::Ok(())
    };
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}
