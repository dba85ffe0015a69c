//! WebSockets on streams (RFC 8441): connections of this server, and those passed to an upstream server.

use std::rc::Rc;

use hyper::Response;
use hyper::StatusCode;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::upgrade::OnUpgrade;
use sockeye_protocol::handshake::client::generate_key;
use sockeye_protocol::handshake::{Refusal, Request};

use super::connection::Http2Connection;
use super::requests::StreamClient;
use super::wanted::OpenTunnel;
use crate::admission::{forwarded, gate};
use crate::http::body::Body;
use crate::http::proxy::{self, Route, accept_key};
use crate::http::service::fields;
use crate::http::tunnel::Tunnel;
use crate::model::refused::{Refused, RefusedFor};
use crate::net::transport::Transport;
use crate::world::task;
use crate::world::time;

/// Opens a WebSocket on a stream.
pub(super) async fn connect(
    carrier: &Rc<Http2Connection>,
    stream: u32,
    upgraded: OnUpgrade,
    request: Request,
) -> Result<Response<Body>, Refused> {
    if let Some(route) = carrier.server.config.passes(&request) {
        return pass(carrier, stream, upgraded, route, &request).await;
    }
    let peer_info = forwarded::sender(&carrier.server, &carrier.peer_info, &request).into_owned();
    let admission = gate::decide(&carrier.server, &carrier.peer_info, &peer_info, &request).await?;
    let permit = carrier.permit(&peer_info)?;
    let is_nested = carrier.server.nested_at(request.path()).is_some();
    let (head, accepted) = admission.accept(peer_info, request);
    let mut answer = Response::new(Body::empty());
    for (name, value) in fields(&head) {
        let name = HeaderName::from_bytes(name);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value))
            && !OF_HTTP_1.contains(&name)
        {
            // More than the map holds are more than anybody may give.
            let _ = answer.headers_mut().try_append(name, value);
        }
    }
    *answer.status_mut() = StatusCode::OK;
    let open = OpenTunnel::new(carrier, stream, is_nested);
    let carrier = carrier.clone();
    task::spawn_local(async move {
        let server = carrier.server.clone();
        let limit = server.config.handshake_timeout;
        match time::timeout(limit, upgraded).await {
            Ok(Ok(upgraded)) => {
                let tunnel = Transport::boxed(Tunnel::new(upgraded, open));
                carrier
                    .shard
                    .adopt(permit, accepted.open(tunnel, Vec::new()));
            }
            _ => {
                server.note_refused(RefusedFor::Left);
                carrier.return_permit(permit);
            }
        }
    });
    Ok(answer)
}

/// Fields of a handshake that HTTP/2 does not have.
const OF_HTTP_1: [HeaderName; 3] = [
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_ACCEPT,
];

/// Asks a server behind for a WebSocket, in the form that HTTP/1.1 has for that.
async fn pass(
    carrier: &Rc<Http2Connection>,
    stream: u32,
    upgraded: OnUpgrade,
    route: Route<'_>,
    request: &Request,
) -> Result<Response<Body>, Refused> {
    let peer_info = forwarded::sender(&carrier.server, &carrier.peer_info, request);
    let permit = carrier.permit(&peer_info)?;
    let open = OpenTunnel::new(carrier, stream, false);
    let key = generate_key();
    let service = &carrier.service;
    let (mut answer, passed) =
        proxy::switch(service, route, request, Some(&key), &StreamClient).await;
    let Some(passed) = passed else {
        carrier.return_permit(permit);
        return Ok(answer);
    };
    let accept = answer.headers().get(header::SEC_WEBSOCKET_ACCEPT);
    if accept.is_none_or(|accept| accept.as_bytes() != accept_key(&key).as_bytes()) {
        carrier.return_permit(permit);
        let text = "The server behind this one sent a wrong answer to a handshake.\n";
        return Err(RefusedFor::Upstream.with(Refusal::new(502, text)));
    }
    for name in OF_HTTP_1 {
        answer.headers_mut().remove(name);
    }
    *answer.status_mut() = StatusCode::OK;
    let limit = carrier.server.config.handshake_timeout;
    carrier.shard.spawn_for(&carrier.server, async move {
        // It answers for the socket, as that of a connection does.
        let _permit = permit;
        if let Ok(Ok(upgraded)) = time::timeout(limit, upgraded).await {
            let client = Transport::boxed(Tunnel::new(upgraded, open));
            passed.run(client, &[]).await;
        }
    });
    Ok(answer)
}
