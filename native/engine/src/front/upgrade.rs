//! The opening handshake over HTTP/1.1.

use std::time::Duration;

use sockeye_protocol::handshake::{Refusal, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::front::visitor::Visitor;
use crate::front::{Opened, gate, proxy};
use crate::server::{Seat, Server};
use crate::shard::Shard;
use crate::transport::Transport;

/// How long a refused client may take to read the answer.
pub(crate) const FAREWELL: Duration = Duration::from_secs(1);

/// What came of the first request.
pub(crate) enum Outcome {
    /// A connection.
    Opened(Opened),
    /// No handshake, but there may be an answer: these bytes came behind the head.
    Http(Transport, Visitor, Box<Request>, Vec<u8>),
    /// A connection of HTTP/2: these bytes were read.
    Http2(Transport, Visitor, Vec<u8>),
    /// Nothing, and the client knows why if it could be told.
    Refused,
}

/// Reads a request, of which the buffer holds the beginning, and answers it. None if the client has gone or was too slow.
pub(crate) async fn shake_hands(
    shard: &Shard,
    server: &Server,
    seat: &mut Seat,
    mut stream: Transport,
    visitor: Visitor,
    mut buffer: Vec<u8>,
    deadline: Instant,
) -> Option<Outcome> {
    buffer.reserve(1024);
    let head = read_head(server, &mut stream, &mut buffer);
    let head = tokio::time::timeout_at(deadline, head);
    let (request, consumed) = match head.await.ok()?? {
        Ok(found) => found,
        Err(refusal) => {
            say_no(shard, stream, &refusal).await;
            return Some(Outcome::Refused);
        }
    };
    if !server.config.routes.is_empty() && !request.asks_for_websocket() {
        let rest = buffer.split_off(consumed.min(buffer.len()));
        return Some(Outcome::Http(stream, visitor, Box::new(request), rest));
    }
    let carrier = visitor;
    let visitor = proxy::sender(server, &carrier, &request).into_owned();
    if let Err(refusal) = seat.count_for(visitor.peer.ip()) {
        say_no(shard, stream, &refusal.to(request.method())).await;
        return Some(Outcome::Refused);
    }
    let admission = match gate::decide(server, &carrier, &visitor, &request).await {
        Ok(admission) => admission,
        Err(refusal) => {
            say_no(shard, stream, &refusal).await;
            return Some(Outcome::Refused);
        }
    };
    let (head, accepted) = admission.accept(visitor, request);
    stream.write_all(&head).await.ok()?;
    stream.flush().await.ok()?;
    Some(Outcome::Opened(Opened {
        transport: stream,
        info: accepted.info,
        options: accepted.options,
        rest: buffer.split_off(consumed.min(buffer.len())),
    }))
}

/// Reads the head of a request: it and its length, or why it is none. `None` if the client has
/// gone.
async fn read_head(
    server: &Server,
    stream: &mut Transport,
    buffer: &mut Vec<u8>,
) -> Option<Result<(Request, usize), Refusal>> {
    loop {
        match Request::parse(buffer, &server.config.head_limits) {
            Ok(Some(found)) => return Some(Ok(found)),
            Ok(None) => {
                if stream.read_buf(buffer).await.ok()? == 0 {
                    return None;
                }
            }
            Err(refusal) => return Some(Err(refusal)),
        }
    }
}

pub(crate) async fn say_no(shard: &Shard, mut stream: Transport, refusal: &Refusal) {
    let answer = refusal.response();
    let written = tokio::time::timeout(FAREWELL, stream.write_all(&answer)).await;
    if matches!(written, Ok(Ok(()))) {
        hang_up(shard, stream).await;
    }
}

/// Ends a connection so that the client gets what was written to it.
pub(crate) async fn hang_up(shard: &Shard, mut stream: Transport) {
    let farewell = async {
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
