//! The client's side of the handshake.

use std::fmt;

use tungstenite::handshake::derive_accept_key;

use crate::deflate;

use super::authority::names_a_host;
use super::head::{
    HeadError, HeadLimits, Headers, find_end, is_token, is_valid_header, write_header,
};

pub use tungstenite::handshake::client::generate_key;

/// Interim answers (100, 102, 103 and any other 1xx but 101) that may come before the one that counts. Their heads and its own
/// together are within the limits of one.
pub const MAX_INTERIM: usize = 16;

/// Headers that the handshake itself writes.
const RESERVED: [&str; 8] = [
    "host",
    "connection",
    "upgrade",
    "content-length",
    "transfer-encoding",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-extensions",
];

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub struct ClientOptions<'a> {
    /// The value of the header `Host`: host and, if it is not the default of the scheme, port, mostly as in the URL.
    pub host: &'a str,
    /// Path and query, beginning with `/`.
    pub path: &'a str,
    /// Subprotocols, the preferred one first.
    pub subprotocols: &'a [String],
    /// Compression to offer, if any.
    pub deflate: Option<&'a deflate::Policy>,
    /// Further headers.
    pub headers: &'a [(String, String)],
}

/// What the server agreed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedHandshake {
    /// The subprotocol that it chose.
    pub subprotocol: Option<String>,
    /// What was agreed on for compression.
    pub deflate: Option<deflate::Params>,
    /// All headers of its answer.
    pub headers: Headers,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeError {
    /// An option that cannot stand in a request; the text says which.
    BadOption(&'static str),
    /// The answer is not HTTP/1.1.
    Malformed,
    /// The head of the answer goes beyond the limits.
    TooLarge,
    /// The server answered something else than 101. A body may follow.
    Status {
        /// The HTTP status.
        status: u16,
        /// The headers of the answer.
        headers: Headers,
        /// Where its head ends, and the body begins.
        len: usize,
    },
    /// A 101 that breaks the rules of the handshake.
    Invalid(Breach),
}

/// What is wrong with a 101.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Breach {
    /// No `Upgrade: websocket`, or something beside it.
    Upgrade,
    /// No `Connection: Upgrade`.
    Connection,
    /// `Sec-WebSocket-Accept` is missing, or not the one for the key.
    Accept,
    /// A subprotocol that was not offered, or more than one.
    Subprotocol,
    /// An extension that was not offered, or not as it was offered; the text says how.
    Extension(&'static str),
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Breach::Upgrade => "not Upgrade: websocket",
            Breach::Connection => "no Connection: Upgrade",
            Breach::Accept => "wrong Sec-WebSocket-Accept",
            Breach::Subprotocol => "a subprotocol that was not offered",
            Breach::Extension(why) => why,
        })
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandshakeError::BadOption(what) => write!(f, "bad option: {what}"),
            HandshakeError::Malformed => f.write_str("the answer is not HTTP/1.1"),
            HandshakeError::TooLarge => f.write_str("the head of the answer is too large"),
            HandshakeError::Status { status, .. } => write!(f, "the server answered {status}"),
            HandshakeError::Invalid(why) => write!(f, "invalid handshake: {why}"),
        }
    }
}

impl std::error::Error for HandshakeError {}

/// The request to send. `key` comes from [`generate_key`], a new one for each connection.
///
/// The only error is [`HandshakeError::BadOption`].
pub fn request(options: &ClientOptions<'_>, key: &str) -> Result<Vec<u8>, HandshakeError> {
    let visible = |text: &str| text.bytes().all(|b| (0x21..=0x7e).contains(&b));
    if !names_a_host(options.host.as_bytes()) {
        return Err(HandshakeError::BadOption("host"));
    }
    if !options.path.starts_with('/') || !visible(options.path) || options.path.contains('#') {
        return Err(HandshakeError::BadOption("path"));
    }
    if !options.subprotocols.iter().all(|s| is_token(s.as_bytes())) {
        return Err(HandshakeError::BadOption("subprotocols"));
    }
    let mut out = Vec::with_capacity(256);
    for part in ["GET ", options.path, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    write_header(&mut out, "Host", options.host);
    write_header(&mut out, "Upgrade", "websocket");
    write_header(&mut out, "Connection", "Upgrade");
    write_header(&mut out, "Sec-WebSocket-Key", key);
    write_header(&mut out, "Sec-WebSocket-Version", "13");
    if !options.subprotocols.is_empty() {
        let offer = options.subprotocols.join(", ");
        write_header(&mut out, "Sec-WebSocket-Protocol", &offer);
    }
    if let Some(policy) = options.deflate {
        write_header(
            &mut out,
            "Sec-WebSocket-Extensions",
            &deflate::offer(policy),
        );
    }
    for (name, value) in options.headers {
        let taken = RESERVED.iter().any(|r| r.eq_ignore_ascii_case(name))
            || name.eq_ignore_ascii_case("sec-websocket-protocol");
        if taken || !is_valid_header(name, value) {
            return Err(HandshakeError::BadOption("headers"));
        }
        write_header(&mut out, name, value);
    }
    out.extend_from_slice(b"\r\n");
    Ok(out)
}

/// Reads the answer to a request with `key` and the subprotocols `offered`: `None` while its head is incomplete and may still
/// be one of HTTP/1, else what was agreed and the length of the head. Interim answers (RFC 9110, 15.2), of which there may be
/// [`MAX_INTERIM`], are passed over; the length is that of all heads. No compression was offered; see [`verify_with`].
pub fn verify(
    bytes: &[u8],
    key: &str,
    offered: &[String],
    limits: &HeadLimits,
) -> Result<Option<(AcceptedHandshake, usize)>, HandshakeError> {
    verify_with(bytes, key, offered, None, limits)
}

/// The same where compression was offered.
pub fn verify_with(
    bytes: &[u8],
    key: &str,
    offered: &[String],
    deflate: Option<&deflate::Policy>,
    limits: &HeadLimits,
) -> Result<Option<(AcceptedHandshake, usize)>, HandshakeError> {
    let mut end = 0;
    for _ in 0..=MAX_INTERIM {
        let rest = bytes.get(end..).unwrap_or_default();
        if !begins_as_answer(rest) {
            return Err(HandshakeError::Malformed);
        }
        let left = HeadLimits {
            max_head_size: limits.max_head_size.saturating_sub(end),
            ..*limits
        };
        let Some(len) = find_end(rest, &left).map_err(unreadable)? else {
            return Ok(None);
        };
        let (status, headers) = read(rest.get(..len).unwrap_or_default(), limits)?;
        end += len;
        match status {
            101 => {
                let accepted = agree(headers, key, offered, deflate)?;
                return Ok(Some((accepted, end)));
            }
            100..200 => {}
            _ => {
                return Err(HandshakeError::Status {
                    status,
                    headers,
                    len: end,
                });
            }
        }
    }
    Err(HandshakeError::TooLarge)
}

/// Whether so far these may be the bytes of an answer. A server of another protocol greets with a line and waits, without an
/// empty line behind it.
fn begins_as_answer(bytes: &[u8]) -> bool {
    b"HTTP/1."
        .iter()
        .zip(bytes)
        .all(|(expected, byte)| expected == byte)
}

fn unreadable(error: HeadError) -> HandshakeError {
    match error {
        HeadError::Malformed => HandshakeError::Malformed,
        _ => HandshakeError::TooLarge,
    }
}

/// The status and the headers of a whole head.
fn read(head: &[u8], limits: &HeadLimits) -> Result<(u16, Headers), HandshakeError> {
    let mut fields = vec![httparse::EMPTY_HEADER; limits.max_headers];
    let mut parsed = httparse::Response::new(&mut fields);
    parsed.parse(head).map_err(|error| match error {
        httparse::Error::TooManyHeaders => HandshakeError::TooLarge,
        _ => HandshakeError::Malformed,
    })?;
    match (parsed.code, parsed.version) {
        // HTTP/1.0 has no interim answers, and nothing is below them.
        (Some(100..200), Some(0)) | (Some(..100), _) => Err(HandshakeError::Malformed),
        (Some(status), Some(_)) => Ok((status, Headers::copy(parsed.headers))),
        _ => Err(HandshakeError::Malformed),
    }
}

/// Checks a 101.
fn agree(
    headers: Headers,
    key: &str,
    offered: &[String],
    deflate: Option<&deflate::Policy>,
) -> Result<AcceptedHandshake, HandshakeError> {
    let subprotocol = agreed(&headers, key, offered).map_err(HandshakeError::Invalid)?;
    let deflate = compression(&headers, deflate)
        .map_err(|why| HandshakeError::Invalid(Breach::Extension(why)))?;
    Ok(AcceptedHandshake {
        subprotocol,
        deflate,
        headers,
    })
}

fn compression(
    headers: &Headers,
    policy: Option<&deflate::Policy>,
) -> Result<Option<deflate::Params>, &'static str> {
    match policy {
        Some(policy) => deflate::verify(headers.all("sec-websocket-extensions"), policy),
        None if headers.list("sec-websocket-extensions").next().is_none() => Ok(None),
        None => Err("an extension that was not offered"),
    }
}

/// What a server answers to a request with `key`.
pub fn accept_key(key: &str) -> String {
    derive_accept_key(key.as_bytes())
}

/// The subprotocol that the server chose, in a 101 that is one for us.
fn agreed(headers: &Headers, key: &str, offered: &[String]) -> Result<Option<String>, Breach> {
    let mut protocols = headers.list("upgrade");
    let websocket = |name: &[u8]| name.eq_ignore_ascii_case(b"websocket");
    if !protocols.next().is_some_and(websocket) || protocols.next().is_some() {
        return Err(Breach::Upgrade);
    }
    if !headers.has_token("connection", "upgrade") {
        return Err(Breach::Connection);
    }
    let accept = accept_key(key);
    let mut accepts = headers.all("sec-websocket-accept");
    if accepts.next() != Some(accept.as_bytes()) || accepts.next().is_some() {
        return Err(Breach::Accept);
    }
    let mut choices = headers.all("sec-websocket-protocol");
    let Some(choice) = choices.next() else {
        return Ok(None);
    };
    if choices.next().is_some() {
        return Err(Breach::Subprotocol);
    }
    let chosen = offered.iter().find(|offer| offer.as_bytes() == choice);
    chosen.cloned().map(Some).ok_or(Breach::Subprotocol)
}
