//! How a client of a script comes to a WebSocket: over a socket, or a stream of HTTP/2.

use std::rc::Rc;

use sockeye_protocol::deflate::{self, Params, Policy};
use sockeye_protocol::handshake::HeadLimits;
use sockeye_protocol::handshake::client::{self, ClientOptions, generate_key};

use crate::book::Shared;
use crate::door::{Door, Socket};
use crate::http2::Pool;
use crate::plan::Plan;
use crate::wire::Wire;

/// Where it goes.
#[derive(Clone)]
pub(crate) enum Way {
    /// A socket of its own.
    Tcp(Door),
    /// Connections of HTTP/2, and the stream that it gets there.
    Http2(Rc<Pool>),
}

/// Connections of HTTP/2, and who has streams there.
pub(crate) fn pools(plan: &Plan, book: &Shared, at: impl Fn(bool) -> Door) -> Vec<Rc<Pool>> {
    let all = plan.carriers.iter().enumerate();
    all.map(|(number, carrier)| {
        let places = plan.clients.iter().enumerate();
        let places = places.filter(|(_, client)| client.carrier == Some(number));
        let places: Vec<_> = places.map(|(place, _)| place).collect();
        let askers = plan.askers.iter();
        let askers = askers.filter(|asker| asker.carrier == Some(number));
        let users = places.len() + askers.count();
        Pool::start(
            number,
            *carrier,
            plan.fair,
            book,
            (places, users),
            at(carrier.behind),
        )
    })
    .collect()
}

pub(crate) fn way(carrier: Option<usize>, pools: &[Rc<Pool>], door: Door) -> Way {
    let pool = carrier.and_then(|number| pools.get(number));
    pool.map_or(Way::Tcp(door), |pool| Way::Http2(pool.clone()))
}

/// A WebSocket: what carries it, what was read behind the handshake, and what was agreed on.
pub(crate) struct Opened {
    pub(crate) wire: Wire,
    pub(crate) ahead: Vec<u8>,
    pub(crate) deflate: Option<Params>,
}

/// Opens a WebSocket at this path. None if there is none.
pub(crate) async fn open(
    way: &Way,
    number: usize,
    path: &str,
    deflate: Option<&Policy>,
) -> Option<Opened> {
    match way {
        Way::Tcp(door) => {
            let ip = [10, 1, 0, (number % 3) as u8 + 1];
            let local = (ip, 20_000 + number as u16).into();
            let stream = door.connect(local, false).await.ok()?;
            over_tcp(stream, path, deflate).await
        }
        Way::Http2(pool) => over_http2(pool, path, deflate).await,
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
    let mut ahead = Vec::new();
    loop {
        let bytes = stream.read_some(4096).await.ok()?;
        if bytes.is_empty() {
            return None;
        }
        ahead.extend(bytes);
        let limits = HeadLimits::default();
        match client::verify_with(&ahead, &key, &[], deflate, &limits) {
            Ok(Some((accepted, len))) => {
                ahead.drain(..len);
                return Some(Opened {
                    wire: Wire::Tcp(stream),
                    ahead,
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
        wire: Wire::Http2(stream),
        ahead: Vec::new(),
        deflate,
    })
}
