//! The opening handshake over HTTP/1.1.

use std::time::Duration;

use sockeye_protocol::handshake::{HeadLimits, Refusal, Request, ServerPolicy, server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::batch::OpenInfo;
use crate::front::Opened;
use crate::front::visitor::Visitor;
use crate::options::ConnOptions;
use crate::server::Server;
use crate::shard::Shard;
use crate::transport::Transport;

/// How long a refused client may take to read the answer.
const FAREWELL: Duration = Duration::from_secs(1);

/// Reads a request and answers it. None if it did not become a connection.
pub(crate) async fn shake_hands(
    shard: &Shard,
    server: &Server,
    mut stream: Transport,
    visitor: Visitor,
) -> Option<Opened> {
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
    stream.flush().await.ok()?;
    let subprotocol = upgrade.subprotocol.map(String::into_boxed_str);
    let info = Box::new(OpenInfo {
        visitor,
        request,
        subprotocol,
        acceptor: 0,
    });
    Some(Opened {
        transport: stream,
        info,
        options: ConnOptions::default(),
        rest: buffer.split_off(consumed.min(buffer.len())),
    })
}

async fn say_no(shard: &Shard, mut stream: Transport, refusal: &Refusal) {
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
