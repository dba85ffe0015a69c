//! How a scripted client opens its WebSocket: over a socket of its own, or a stream of HTTP/2.

use std::rc::Rc;

use sockeye_protocol::deflate::{self, Params, Policy};
use sockeye_protocol::handshake::HeadLimits;
use sockeye_protocol::handshake::client::{self, ClientOptions, generate_key};

use super::connector::Connector;
use super::http2::pool::Pool;
use super::socket::Socket;
use super::transport::Transport;

/// An open WebSocket: what carries it, what was read behind the handshake, and the compression that was agreed on.
pub(crate) struct Opened {
    pub(crate) transport: Transport,
    pub(crate) buffered: Vec<u8>,
    pub(crate) deflate: Option<Params>,
}

/// Opens a WebSocket at this path. None if there is none.
pub(crate) async fn open(
    connector: &Connector,
    number: usize,
    path: &str,
    deflate: Option<&Policy>,
) -> Option<Opened> {
    match connector {
        Connector::Tcp(endpoint) => {
            let ip = [10, 1, 0, (number % 3) as u8 + 1];
            let local = (ip, 20_000 + number as u16).into();
            let stream = endpoint.connect(local, false).await.ok()?;
            over_tcp(stream, path, deflate).await
        }
        Connector::Http2(pool) => over_http2(pool, path, deflate).await,
    }
}

async fn over_tcp(stream: Socket, path: &str, deflate: Option<&Policy>) -> Option<Opened> {
    let key = generate_key();
    let options = ClientOptions {
        host: "sim",
        path,
        subprotocols: &[],
        deflate,
        headers: &[],
    };
    let request = client::request(&options, &key).ok()?;
    stream.write_whole(&request).await.ok()?;
    let mut buffered = Vec::new();
    loop {
        let bytes = stream.read_some(4096).await.ok()?;
        if bytes.is_empty() {
            return None;
        }
        buffered.extend(bytes);
        let limits = HeadLimits::default();
        match client::verify_with(&buffered, &key, &[], deflate, &limits) {
            Ok(Some((accepted, len))) => {
                buffered.drain(..len);
                return Some(Opened {
                    transport: Transport::Tcp(stream),
                    buffered,
                    deflate: accepted.deflate,
                });
            }
            Ok(None) => {}
            Err(_) => return None,
        }
    }
}

async fn over_http2(pool: &Rc<Pool>, path: &str, deflate: Option<&Policy>) -> Option<Opened> {
    let offer = deflate.map(deflate::offer);
    let mut fields = vec![
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "sim"),
        (":path", path),
        ("sec-websocket-version", "13"),
    ];
    if let Some(offer) = &offer {
        fields.push(("sec-websocket-extensions", offer));
    }
    let stream = pool.open(&fields).await?;
    let head = stream.head().await?;
    let value = |name: &str| head.iter().find(|(known, _)| known == name);
    if value(":status")?.1 != b"200" {
        return None;
    }
    let agreed = value("sec-websocket-extensions").map(|(_, value)| value.as_slice());
    let deflate = match deflate {
        Some(policy) => deflate::verify(agreed, policy).ok()?,
        None => None,
    };
    Some(Opened {
        transport: Transport::Http2(stream),
        buffered: Vec::new(),
        deflate,
    })
}
