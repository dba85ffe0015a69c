//! JSON echo on tokio-tungstenite: a task for each connection, one flush for all frames that were ready together.
//!
//! `peer-tungstenite [READ_BUFFER_BYTES]`. Prints `READY PORT`; ends when its standard input does.

use std::error::Error;

use futures_util::{FutureExt, SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut config = WebSocketConfig::default();
    if let Some(bytes) = std::env::args().nth(1) {
        config = config.read_buffer_size(bytes.parse()?);
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("READY {}", listener.local_addr()?.port());
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            // The load closes its sockets without a close frame, and misses a reply by itself.
            let _ = serve(stream, config).await;
        });
    }
}

async fn serve(stream: TcpStream, config: WebSocketConfig) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut ws = tokio_tungstenite::accept_async_with_config(stream, Some(config)).await?;
    while let Some(first) = ws.next().await {
        let mut ready = Some(first);
        while let Some(message) = ready {
            if let Message::Text(text) = message? {
                let value: Value = serde_json::from_str(&text)?;
                ws.feed(Message::text(serde_json::to_string(&value)?))
                    .await?;
            }
            ready = ws.next().now_or_never().flatten();
        }
        ws.flush().await?;
    }
    Ok(())
}
