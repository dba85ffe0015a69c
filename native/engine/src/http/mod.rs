//! Ordinary requests on the port of a server, over HTTP/1 and HTTP/2, and WebSockets that come
//! between or beside them: those are decided about where all are (`front::gate`).

mod body;
mod files;
pub(crate) mod h1;
pub(crate) mod h2;
mod metrics;
mod paths;
mod routes;
mod service;
mod tunnel;
mod types;

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use sockeye_protocol::handshake::Refusal;

pub(crate) use body::Body;
pub use routes::{Routes, Target};

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

/// An answer of ours, but for what says where it ends.
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
