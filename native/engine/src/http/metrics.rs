//! The counters of a server in the text format of Prometheus.

use std::fmt::Write;

use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};

use super::body::Body;
use crate::server::Server;

pub(super) fn answer(server: &Server) -> Response<Body> {
    let mut response = super::plain(StatusCode::OK, "");
    *response.body_mut() = Body::Bytes(text(server).into());
    let content = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, content);
    response
}

fn text(server: &Server) -> String {
    let stats = server.stats();
    let mut out = String::with_capacity(4096);
    let mut put = |name: &str, kind: &str, help: &str, value: u64| {
        let name = format!("sockeye_{name}");
        // Writing to a string does not fail.
        let _ = write!(
            out,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"
        );
    };
    let connections = stats.connections as u64;
    put(
        "connections",
        "gauge",
        "Open WebSocket connections.",
        connections,
    );
    put(
        "connections_accepted_total",
        "counter",
        "WebSocket handshakes completed.",
        stats.accepted,
    );
    put(
        "connections_rejected_total",
        "counter",
        "Handshakes refused or given up.",
        stats.rejected,
    );
    put(
        "http_requests_total",
        "counter",
        "Ordinary HTTP requests.",
        stats.requests,
    );
    put(
        "http_requests_proxied_total",
        "counter",
        "Requests passed on to a web server behind.",
        stats.proxied,
    );
    put(
        "proxy_errors_total",
        "counter",
        "Requests passed on that were answered 502, 503 or 504, or whose answer broke off.",
        stats.proxy_errors,
    );
    put(
        "frames_received_total",
        "counter",
        "Messages received.",
        stats.frames_in,
    );
    put(
        "frames_sent_total",
        "counter",
        "Frames handed over for sending.",
        stats.frames_out,
    );
    put(
        "received_bytes_total",
        "counter",
        "Bytes read after the handshake.",
        stats.bytes_in,
    );
    put(
        "sent_bytes_total",
        "counter",
        "Bytes written after the handshake.",
        stats.bytes_out,
    );
    put(
        "frames_dropped_total",
        "counter",
        "Copies of broadcast frames that a full connection did not get.",
        stats.dropped,
    );
    put(
        "closes_unanswered_total",
        "counter",
        "Connections cut off since the client did not answer a Close frame in time.",
        stats.unanswered,
    );
    put(
        "connections_without_process_total",
        "counter",
        "Connections closed with 1011, and questions answered 503, for want of a process.",
        stats.no_process,
    );
    put(
        "connections_without_descriptor_total",
        "counter",
        "Connections refused to keep descriptors for the rest of the node.",
        stats.no_descriptor,
    );
    put(
        "accept_errors_total",
        "counter",
        "Failures of the system to accept a connection.",
        stats.accept_errors,
    );
    put(
        "accept_pauses_total",
        "counter",
        "Times that accepting has paused since handlers were too far behind.",
        stats.accept_pauses,
    );
    put(
        "sends_refused_total",
        "counter",
        "Sends to one connection that were refused since its queue was full.",
        stats.busy,
    );
    put(
        "connections_failed_total",
        "counter",
        "Connections that the server ended for a limit or a fault.",
        stats.failed,
    );
    put(
        "inbox_bytes",
        "gauge",
        "Bytes that wait for the handler processes of a pool.",
        server.inbox_bytes(),
    );
    put(
        "connections_unattached",
        "gauge",
        "Connections that wait for a process of their own.",
        server.unattached() as u64,
    );
    if let Some(bytes) = server.host.memory() {
        put(
            "memory_bytes",
            "gauge",
            "Bytes that the library holds, for all servers of the node.",
            bytes,
        );
    }
    out
}
