//! Ordinary requests on the port of a server.
//!
//! The first head has been read by our own parser, strictly. What is no handshake goes on to
//! hyper, with the bytes that were read; later requests on the same connection may still open a
//! WebSocket, and are decided about where all are (`front::gate`).

mod body;
mod files;
pub(crate) mod h2;
mod io;
mod metrics;
mod paths;
mod routes;
mod service;
mod tunnel;
mod types;

use std::convert::Infallible;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use sockeye_protocol::handshake::Refusal;

pub(crate) use body::Body;
pub use routes::{Routes, Target};
pub(crate) use service::Service;

use crate::front::visitor::Visitor;
use crate::front::{Opened, upgrade};
use crate::server::Server;
use crate::shard::Shard;
use crate::transport::Transport;

/// The least that hyper takes as a bound on a head.
const LEAST_HEAD: usize = 8192;

/// Serves the requests of a connection, of which these bytes have been read. Some if one of them
/// opened a WebSocket.
pub(crate) async fn serve(
    shard: &Shard,
    server: &Arc<Server>,
    transport: Transport,
    visitor: Visitor,
    before: Vec<u8>,
) -> Option<Opened> {
    let config = &server.config;
    let service = Rc::new(Service::new(server.clone(), visitor));
    let handler = service_fn({
        let service = service.clone();
        move |request| {
            let service = service.clone();
            Box::pin(async move { Ok::<_, Infallible>(service.respond(request).await) })
        }
    });
    let wire = io::Wire::new(transport, before, config.send_timeout);
    let mut connection = http1::Builder::new()
        .timer(io::Clock)
        // Who has said all it has to say still gets its answer.
        .half_close(true)
        // Also how long a connection may be idle between two requests.
        .header_read_timeout(config.handshake_timeout)
        .max_buf_size(config.head_limits.max_head_size.max(LEAST_HEAD))
        .max_headers(config.head_limits.max_headers)
        .serve_connection(wire, handler);
    let served = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    let parts = connection.into_parts();
    let transport = parts.io.into_transport();
    if served.is_err() {
        return None;
    }
    match service.opened() {
        Some(accepted) => Some(Opened {
            transport,
            info: accepted.info,
            options: accepted.options,
            rest: parts.read_buf.to_vec(),
        }),
        None => {
            upgrade::hang_up(shard, transport).await;
            None
        }
    }
}

/// An answer of plain text.
fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::Bytes(text.into()));
    *response.status_mut() = status;
    if !text.is_empty() {
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, plain);
    }
    response
}

/// An answer as hyper writes it. What says where it ends is hyper's own.
pub(crate) fn response(refusal: Refusal) -> Response<Body> {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::new(Body::Bytes(refusal.body.into()));
    *response.status_mut() = status;
    let out = response.headers_mut();
    for (name, value) in &refusal.headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_bytes(value.as_bytes());
        let (Ok(name), Ok(value)) = (name, value) else {
            continue;
        };
        let framing = [
            header::CONNECTION,
            header::CONTENT_LENGTH,
            header::TRANSFER_ENCODING,
        ];
        if !framing.contains(&name) {
            out.append(name, value);
        }
    }
    if out.contains_key(header::UPGRADE) {
        out.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if !bodiless && !out.contains_key(header::CONTENT_TYPE) {
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        out.insert(header::CONTENT_TYPE, plain);
    }
    response
}
