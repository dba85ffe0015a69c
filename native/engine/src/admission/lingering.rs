//! The lingering close of a connection that is refused: the client is told why, and gets time to read it.

use std::time::Duration;

use sockeye_protocol::handshake::Refusal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::net::transport::Transport;
use crate::shard::Shard;
use crate::world::time;

/// How long a refused client may take to read the answer.
pub(crate) const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// Answers with a refusal.
pub(crate) async fn refuse(shard: &Shard, mut stream: Transport, refusal: &Refusal) {
    let answer = refusal.response();
    let written = time::timeout(LINGER_TIMEOUT, stream.write_all(&answer)).await;
    if matches!(written, Ok(Ok(()))) {
        close(shard, stream).await;
    }
}

/// Ends a connection so that the client gets what was written to it.
pub(crate) async fn close(shard: &Shard, mut stream: Transport) {
    let closing = async {
        stream.shutdown().await?;
        // Closing while the client still sends would take the answer from it.
        // Not a part of every handshake, which may come to this.
        let mut rest = vec![0; 1024];
        while stream.read(&mut rest).await? > 0 {
            // One that never stops sending must not keep the shard from its other work.
            shard.schedule();
        }
        std::io::Result::Ok(())
    };
    let _ = time::timeout(LINGER_TIMEOUT, closing).await;
}
