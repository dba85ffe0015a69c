//! The opening handshake over HTTP/1.1.

use std::io;

use sockeye_protocol::handshake::{Refusal, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::admission::gate::AcceptedUpgrade;
use crate::admission::{forwarded, gate, lingering};
use crate::model::refused::{Refused, RefusedFor};
use crate::net::peer::PeerInfo;
use crate::net::transport::Transport;
use crate::server::{Permit, Server};
use crate::shard::Shard;
use crate::shard::opened::Opened;
use crate::world::time::{self, Instant};

/// What came of the first request.
pub(crate) enum FirstRequest {
    /// A connection.
    Opened(Opened),
    /// No handshake, but there may be an answer: these bytes came behind the head.
    Http(Transport, PeerInfo, Box<Request>, Vec<u8>),
    /// A connection of HTTP/2: these bytes were read.
    Http2(Transport, PeerInfo, Vec<u8>),
}

/// Reads a request, of which the buffer holds the beginning, and answers it: also where it says no.
pub(crate) async fn shake_hands(
    shard: &Shard,
    server: &Server,
    permit: &mut Permit,
    mut stream: Transport,
    peer_info: PeerInfo,
    mut buffer: Vec<u8>,
    deadline: Instant,
) -> Result<FirstRequest, RefusedFor> {
    buffer.reserve(1024);
    let head = read_head(server, &mut stream, &mut buffer);
    let head = time::timeout_at(deadline, head);
    let (request, consumed) = match head.await?? {
        Ok(found) => found,
        Err(refusal) => {
            lingering::refuse(shard, stream, &refusal).await;
            return Err(RefusedFor::BadRequest);
        }
    };
    let is_ours = request.asks_for_websocket() && server.config.passes(&request).is_none();
    if !server.config.routes.is_empty() && !is_ours {
        let rest = buffer.split_off(consumed.min(buffer.len()));
        return Ok(FirstRequest::Http(
            stream,
            peer_info,
            Box::new(request),
            rest,
        ));
    }
    let (head, accepted) = match admit(server, permit, peer_info, request).await {
        Ok(admitted) => admitted,
        Err(refused) => {
            lingering::refuse(shard, stream, &refused.answer).await;
            return Err(refused.reason);
        }
    };
    stream.write_all(&head).await?;
    stream.flush().await?;
    let rest = buffer.split_off(consumed.min(buffer.len()));
    Ok(FirstRequest::Opened(accepted.open(stream, rest)))
}

/// Decides about a request that `carrier` has brought: the head of the 101, and what becomes of the request.
pub(crate) async fn admit(
    server: &Server,
    permit: &mut Permit,
    carrier: PeerInfo,
    request: Request,
) -> Result<(Vec<u8>, AcceptedUpgrade), Refused> {
    let peer_info = forwarded::sender(server, &carrier, &request).into_owned();
    let counted = permit.count_for(peer_info.peer.ip());
    counted.map_err(|refused| refused.to(request.method()))?;
    let admission = gate::decide(server, &carrier, &peer_info, &request).await?;
    Ok(admission.accept(peer_info, request))
}

/// Reads the head of a request: it and its length, or why it is none. The error is a client that has gone.
async fn read_head(
    server: &Server,
    stream: &mut Transport,
    buffer: &mut Vec<u8>,
) -> io::Result<Result<(Request, usize), Refusal>> {
    loop {
        match Request::parse(buffer, &server.config.head_limits) {
            Ok(Some(found)) => return Ok(Ok(found)),
            Ok(None) => {
                if stream.read_buf(buffer).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
}
