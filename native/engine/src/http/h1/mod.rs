//! HTTP/1: the requests of a connection, one after the other.
//!
//! One parser reads all heads, that of the first and those after it: `protocol::handshake`. It
//! also says where bodies end, so nothing that could be read in two ways gets any further.

mod connection;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use hyper::body::{Body as HttpBody, Bytes};
use hyper::header::{self, HeaderMap};
use hyper::{Response, StatusCode};
use sockeye_protocol::handshake::Request;

use super::body::Body;
use super::proxy::Client;
use super::service::{Service, Upgraded};
use super::{date, is_bodiless, push_field};
use crate::admission::lingering;
use crate::model::refused::RefusedFor;
use crate::net::peer::PeerInfo;
use crate::net::transport::Transport;
use crate::server::Server;
use crate::shard::Shard;
use crate::shard::opened::Opened;
use crate::world::time;

use connection::Connection;

/// What a first piece of content may have to leave together with its head.
const TOGETHER: usize = 16 * 1024;

/// Serves the requests of a connection: the first, and those behind it, of which these bytes have
/// been read. Some if one of them opened a WebSocket.
pub(crate) async fn serve(
    shard: &Rc<Shard>,
    server: &Arc<Server>,
    transport: Transport,
    peer_info: PeerInfo,
    first: Request,
    buffer: Vec<u8>,
) -> Option<Opened> {
    let config = &server.config;
    let limits = &config.head_limits;
    let service = Service::new(shard.clone(), server.clone(), peer_info);
    let connection = Connection::new(transport, buffer, &first, limits, config.send_timeout);
    let mut request = first;
    loop {
        let mut form = ResponseForm {
            is_head: request.method() == "HEAD",
            is_old: !request.is_http_11(),
            goes_on: request.keeps_alive(),
        };
        let content = connection.content(&request, limits);
        let answering = server.count_answer();
        let response = service.respond(request, content, &connection).await;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            form.goes_on = true;
            drop(answering);
            connection.write(&head(&response, &form)).await.ok()?;
            connection.flush().await.ok()?;
            let upgraded = service.upgraded()?;
            let (transport, rest) = connection.into_parts()?;
            return match upgraded {
                Upgraded::Accepted(accepted) => Some(accepted.open(transport, rest)),
                Upgraded::Passed(passed) => {
                    passed.run(transport, &rest).await;
                    None
                }
            };
        }
        // While a server behind still reads the content, nobody else can.
        let readable = match response.body() {
            Body::Passed(_) => connection.is_read(),
            _ => connection.is_readable(),
        };
        let has_end = !form.is_old || form.is_head || response.body().len().is_some();
        form.goes_on &= readable && has_end && !closes(&response);
        answer(&connection, response, &form).await.ok()?;
        drop(answering);
        if !form.goes_on {
            break;
        }
        let next = async {
            connection.skip().await?;
            connection.head(limits).await
        };
        // Also how long a connection may be idle between two requests.
        match time::timeout(config.handshake_timeout, next).await {
            Ok(Some(Ok(next))) => request = next,
            Ok(Some(Err(refusal))) => {
                server.note_refused(RefusedFor::BadRequest);
                let (transport, _) = connection.into_parts()?;
                lingering::refuse(shard, transport, &refusal).await;
                return None;
            }
            Ok(None) | Err(_) => break,
        }
    }
    let (transport, _) = connection.into_parts()?;
    lingering::close(shard, transport).await;
    None
}

/// What decides the form of an answer.
struct ResponseForm {
    is_head: bool,
    is_old: bool,
    /// Another request may follow.
    goes_on: bool,
}

async fn answer(
    connection: &Connection,
    response: Response<Body>,
    form: &ResponseForm,
) -> io::Result<()> {
    let mut out = head(&response, form);
    let is_chunked = is_chunked(&response, form);
    let mut body = response.into_body();
    if form.is_head {
        body = Body::empty();
    }
    if body.len().is_none_or(|len| len > TOGETHER as u64) {
        connection.follow_peer();
    }
    let mut trailers = None;
    while let Some(frame) = next(connection, &mut body).await {
        match frame?.into_data() {
            Ok(data) if data.is_empty() => {}
            Ok(data) => piece(connection, &mut out, data, is_chunked).await?,
            Err(other) => trailers = other.into_trailers().ok(),
        }
        if body.is_live() {
            connection.flush().await?;
        }
    }
    if is_chunked {
        out.extend_from_slice(b"0\r\n");
        write_fields(&mut out, &trailers.unwrap_or_default());
        out.extend_from_slice(b"\r\n");
    }
    connection.write(&out).await?;
    connection.flush().await
}

/// Writes what is there already, and a piece of content.
async fn piece(
    connection: &Connection,
    out: &mut Vec<u8>,
    data: Bytes,
    is_chunked: bool,
) -> io::Result<()> {
    if is_chunked {
        out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
    }
    if data.len() <= TOGETHER {
        out.extend_from_slice(&data);
    } else {
        connection.write(out).await?;
        out.clear();
        connection.write(&data).await?;
    }
    if is_chunked {
        out.extend_from_slice(b"\r\n");
    }
    connection.write(out).await?;
    out.clear();
    Ok(())
}

/// The next part of an answer. While somebody else is waited for who has it, the client must not have gone.
async fn next(
    connection: &Connection,
    body: &mut Body,
) -> Option<io::Result<hyper::body::Frame<Bytes>>> {
    poll_fn(|cx| {
        let poll = Pin::new(&mut *body).poll_frame(cx);
        if poll.is_pending() && body.is_live() && connection.poll_gone(cx).is_ready() {
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
        }
        poll
    })
    .await
}

/// Whether its length is known only when it has ended, and can be told then.
fn is_chunked(response: &Response<Body>, form: &ResponseForm) -> bool {
    let has_content = !form.is_head && !is_bodiless(response.status());
    has_content && !form.is_old && response.body().len().is_none()
}

fn closes(response: &Response<Body>) -> bool {
    let named = response.headers().get_all(header::CONNECTION).iter();
    named
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"))
}

/// The head of an answer. What says where it ends, and what follows it, is decided here.
fn head(response: &Response<Body>, form: &ResponseForm) -> Vec<u8> {
    let status = response.status();
    let headers = response.headers();
    let length = response.body().len();
    let mut out = Vec::with_capacity(256 + TOGETHER.min(length.unwrap_or_default() as usize));
    let mut write = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
    let version: &[u8] = if form.is_old {
        b"HTTP/1.0 "
    } else {
        b"HTTP/1.1 "
    };
    let reason = status.canonical_reason().unwrap_or_default();
    let reason = [status.as_str().as_bytes(), b" ", reason.as_bytes(), b"\r\n"].concat();
    write(&[version, &reason]);
    let upgrades = headers.contains_key(header::UPGRADE);
    let connection: &[u8] = match (form.goes_on, upgrades) {
        (false, true) => b"upgrade, close",
        (false, false) => b"close",
        (true, true) => b"upgrade",
        (true, false) if form.is_old => b"keep-alive",
        (true, false) => b"",
    };
    if !connection.is_empty() {
        write(&[b"connection: ", connection, b"\r\n"]);
    }
    // A length of 0 tells where an answer without content ends that has no rule for itself.
    let bodiless = is_bodiless(status) && status != StatusCode::RESET_CONTENT;
    let told = headers.get(header::CONTENT_LENGTH);
    if let Some(length) = told.filter(|_| form.is_head || status == StatusCode::NOT_MODIFIED) {
        write(&[b"content-length: ", length.as_bytes(), b"\r\n"]);
    } else if let Some(length) = length.filter(|_| !bodiless) {
        write(&[b"content-length: ", length.to_string().as_bytes(), b"\r\n"]);
    } else if is_chunked(response, form) {
        write(&[b"transfer-encoding: chunked\r\n"]);
    }
    let now = date(time::system_now()).filter(|_| !status.is_informational());
    if let Some(now) = now.filter(|_| !headers.contains_key(header::DATE)) {
        write(&[b"date: ", now.as_bytes(), b"\r\n"]);
    }
    write_fields(&mut out, headers);
    out.extend_from_slice(b"\r\n");
    out
}

/// All fields but those that say where something ends.
fn write_fields(out: &mut Vec<u8>, headers: &HeaderMap) {
    let framing = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
    ];
    for (name, value) in headers.iter().filter(|(name, _)| !framing.contains(name)) {
        push_field(out, name, value);
    }
}
