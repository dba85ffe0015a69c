//! tokio-tungstenite: a task for each connection, one flush for all frames that were ready together.
//!
//! `peer-tungstenite [READ_BUFFER_BYTES] [json|raw|topic|pings]`. `json` (the default) parses the text with serde_json and sends
//! the value back, `raw` sends the text back, `topic` sends what comes on the path /publish to all other connections.
//! `pings` sends a ping every BENCH_PING_MS.
//! Prints `READY PORT`; ends when its standard input does.

use std::error::Error;
use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
type Topic = broadcast::Sender<Utf8Bytes>;

#[derive(Clone)]
enum Mode {
    Json,
    Raw,
    Topic(Topic),
    Pings(Duration),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut config = WebSocketConfig::default();
    if let Some(bytes) = std::env::args().nth(1) {
        config = config.read_buffer_size(bytes.parse()?);
    }
    let mode = match std::env::args().nth(2).as_deref() {
        None | Some("json") => Mode::Json,
        Some("raw") => Mode::Raw,
        Some("topic") => Mode::Topic(broadcast::channel(1024).0),
        Some("pings") => {
            let millis = std::env::var("BENCH_PING_MS").unwrap_or("10000".into());
            Mode::Pings(Duration::from_millis(millis.parse()?))
        }
        Some(other) => return Err(format!("no such mode: {other}").into()),
    };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("READY {}", listener.local_addr()?.port());
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    loop {
        let (stream, _) = listener.accept().await?;
        let mode = mode.clone();
        tokio::spawn(async move {
            // The load closes its sockets without a close frame, and misses a reply by itself.
            let _ = serve(stream, config, mode).await;
        });
    }
}

async fn serve(stream: TcpStream, config: WebSocketConfig, mode: Mode) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut publisher = false;
    #[allow(clippy::result_large_err)]
    let path = |request: &Request, response: Response| {
        publisher = request.uri().path() == "/publish";
        Ok(response)
    };
    let ws = tokio_tungstenite::accept_hdr_async_with_config(stream, path, Some(config)).await?;
    match mode {
        Mode::Topic(topic) if publisher => publish(ws, topic).await,
        Mode::Topic(topic) => subscribe(ws, topic).await,
        Mode::Json => {
            echo(ws, |text| {
                let value: Value = serde_json::from_str(&text)?;
                Ok(serde_json::to_string(&value)?.into())
            })
            .await
        }
        Mode::Raw => echo(ws, Ok).await,
        Mode::Pings(interval) => ping(ws, interval).await,
    }
}

async fn echo(
    mut ws: WebSocketStream<TcpStream>,
    answer: impl Fn(Utf8Bytes) -> Result<Utf8Bytes>,
) -> Result<()> {
    while let Some(first) = ws.next().await {
        let mut ready = Some(first);
        while let Some(message) = ready {
            if let Message::Text(text) = message? {
                ws.feed(Message::Text(answer(text)?)).await?;
            }
            ready = ws.next().now_or_never().flatten();
        }
        ws.flush().await?;
    }
    Ok(())
}

async fn ping(mut ws: WebSocketStream<TcpStream>, interval: Duration) -> Result<()> {
    let mut next = tokio::time::interval(interval);
    next.tick().await;
    loop {
        tokio::select! {
            _ = next.tick() => ws.send(Message::Ping(Default::default())).await?,
            incoming = ws.next() => match incoming {
                Some(message) => drop(message?),
                None => return Ok(()),
            },
        }
    }
}

async fn publish(mut ws: WebSocketStream<TcpStream>, topic: Topic) -> Result<()> {
    while let Some(message) = ws.next().await {
        if let Message::Text(text) = message? {
            // No subscriber is no error.
            let _ = topic.send(text);
        }
    }
    Ok(())
}

async fn subscribe(mut ws: WebSocketStream<TcpStream>, topic: Topic) -> Result<()> {
    let mut messages = topic.subscribe();
    // The task must not keep the channel's other end.
    drop(topic);
    loop {
        tokio::select! {
            message = messages.recv() => {
                ws.feed(Message::Text(message?)).await?;
                while let Ok(message) = messages.try_recv() {
                    ws.feed(Message::Text(message)).await?;
                }
                ws.flush().await?;
            }
            incoming = ws.next() => match incoming {
                Some(message) => drop(message?),
                None => return Ok(()),
            },
        }
    }
}
