//! The client's side of the handshake.

use std::fmt;

use tungstenite::handshake::derive_accept_key;

use crate::deflate;

use super::head::{HeadLimits, Headers, find_end, is_token, is_valid_header, write_header};

pub use tungstenite::handshake::client::generate_key;

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
    /// Host and, if it is not the default of the scheme, port, as in the URL.
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
pub struct Accepted {
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
    /// An option that can not stand in a request; the text says which.
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
    if options.host.is_empty() || !visible(options.host) {
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

/// Reads the answer to a request with `key` and the subprotocols `offered`: `None` while its head is incomplete, else what
/// was agreed and the length of the head. No compression was offered; see [`verify_with`].
pub fn verify(
    bytes: &[u8],
    key: &str,
    offered: &[String],
    limits: &HeadLimits,
) -> Result<Option<(Accepted, usize)>, HandshakeError> {
    verify_with(bytes, key, offered, None, limits)
}

/// The same where compression was offered.
pub fn verify_with(
    bytes: &[u8],
    key: &str,
    offered: &[String],
    deflate: Option<&deflate::Policy>,
    limits: &HeadLimits,
) -> Result<Option<(Accepted, usize)>, HandshakeError> {
    let end = find_end(bytes, limits).map_err(|error| match error {
        super::head::HeadError::Malformed => HandshakeError::Malformed,
        _ => HandshakeError::TooLarge,
    })?;
    let Some(end) = end else {
        return Ok(None);
    };
    let mut fields = vec![httparse::EMPTY_HEADER; limits.max_headers];
    let mut parsed = httparse::Response::new(&mut fields);
    parsed.parse(&bytes[..end]).map_err(|error| match error {
        httparse::Error::TooManyHeaders => HandshakeError::TooLarge,
        _ => HandshakeError::Malformed,
    })?;
    let (Some(status), Some(minor)) = (parsed.code, parsed.version) else {
        return Err(HandshakeError::Malformed);
    };
    let headers = Headers::copy(parsed.headers);
    if status != 101 {
        return Err(HandshakeError::Status { status, headers });
    }
    if minor != 1 {
        return Err(HandshakeError::Malformed);
    }
    let subprotocol = agreed(&headers, key, offered).map_err(HandshakeError::Invalid)?;
    let deflate = compression(&headers, deflate)
        .map_err(|why| HandshakeError::Invalid(Breach::Extension(why)))?;
    Ok(Some((
        Accepted {
            subprotocol,
            deflate,
            headers,
        },
        end,
    )))
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

/// Checks a 101, and gives the subprotocol that the server chose.
fn agreed(headers: &Headers, key: &str, offered: &[String]) -> Result<Option<String>, Breach> {
    let mut protocols = headers.list("upgrade");
    let websocket = |name: &[u8]| name.eq_ignore_ascii_case(b"websocket");
    if !protocols.next().is_some_and(websocket) || protocols.next().is_some() {
        return Err(Breach::Upgrade);
    }
    if !headers.has_token("connection", "upgrade") {
        return Err(Breach::Connection);
    }
    let accept = derive_accept_key(key.as_bytes());
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
