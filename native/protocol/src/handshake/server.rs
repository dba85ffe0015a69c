//! The server's side of the handshake.

use tungstenite::handshake::derive_accept_key;

use super::head::{is_token, write_header, write_headers};
use super::refusal::{Refusal, RefusalReason};
use super::request::Request;
use crate::deflate;

/// Headers of the 101 that the handshake itself decides.
const RESERVED: [&str; 7] = [
    "connection",
    "upgrade",
    "content-length",
    "transfer-encoding",
    "sec-websocket-accept",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
];

/// What a server agrees to.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerPolicy<'a> {
    /// The subprotocols it speaks. The first one that the client offers, in the client's order, is taken; a client that
    /// offers none of them is accepted without one.
    pub subprotocols: &'a [String],
    /// What it wants of permessage-deflate; `None`: nothing is ever compressed.
    pub deflate: Option<&'a deflate::Policy>,
}

/// A request that may become a WebSocket connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// The value of `Sec-WebSocket-Accept`.
    pub accept: String,
    /// The subprotocol that both sides speak.
    pub subprotocol: Option<String>,
    /// What was agreed on for compression.
    pub deflate: Option<deflate::Params>,
    /// The value of `Sec-WebSocket-Extensions` in the answer.
    pub extensions: Option<String>,
}

impl Upgrade {
    /// The 101 to send. Extra headers that are not [`super::is_valid_header`], and those that the handshake decides, are
    /// left out.
    pub fn response(&self, extra: &[(String, String)]) -> Vec<u8> {
        let mut out = Vec::with_capacity(192);
        out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
        write_header(&mut out, "Upgrade", "websocket");
        write_header(&mut out, "Connection", "Upgrade");
        write_header(&mut out, "Sec-WebSocket-Accept", &self.accept);
        if let Some(subprotocol) = &self.subprotocol {
            write_header(&mut out, "Sec-WebSocket-Protocol", subprotocol);
        }
        if let Some(extensions) = &self.extensions {
            write_header(&mut out, "Sec-WebSocket-Extensions", extensions);
        }
        write_headers(&mut out, extra, &RESERVED);
        out.extend_from_slice(b"\r\n");
        out
    }
}

/// Decides whether a request opens a WebSocket connection.
///
/// A refusal has status 405 (not GET), 426 (no WebSocket asked for, which HTTP/1.0 cannot, or a version other than RFC
/// 6455's) or 400 (a malformed handshake, or a body). Its text says which.
pub fn upgrade(request: &Request, policy: &ServerPolicy<'_>) -> Result<Upgrade, Refusal> {
    decide(request, policy).map_err(|refusal| refusal.to(request.method()))
}

fn decide(request: &Request, policy: &ServerPolicy<'_>) -> Result<Upgrade, Refusal> {
    if request.method() != "GET" {
        let text = "A WebSocket connection is opened with GET.\n";
        let refusal = Refusal::new(405, text).with_header("Allow", "GET");
        return Err(refusal.because(RefusalReason::Method));
    }
    let is_draft_76 = |name: &str| {
        request.header(name).is_some() && request.header("sec-websocket-key").is_none()
    };
    if is_draft_76("sec-websocket-key1") || is_draft_76("sec-websocket-key2") {
        let refusal = version_required("The WebSocket draft 76 is obsolete and insecure.");
        return Err(refusal.because(RefusalReason::Draft76));
    }
    if !request.header_has_token("upgrade", "websocket") {
        let refusal = upgrade_required("This is a WebSocket server (RFC 6455).");
        return Err(refusal.because(RefusalReason::NotWebSocket));
    }
    if !request.is_http_11() {
        let refusal = upgrade_required("A WebSocket connection needs HTTP/1.1.");
        return Err(refusal.because(RefusalReason::HttpVersion));
    }
    match request.header("sec-websocket-version") {
        Some(b"13") => {}
        Some(_) => {
            return Err(version_required(
                "This WebSocket version is not spoken here.",
            ));
        }
        None => {
            return Err(version_required(
                "The header Sec-WebSocket-Version is missing.",
            ));
        }
    }
    if !request.header_has_token("connection", "upgrade") {
        let refusal = Refusal::new(400, "The header Connection must name Upgrade.\n");
        return Err(refusal.because(RefusalReason::Connection));
    }
    if request.has_body() {
        let refusal = Refusal::new(400, "A WebSocket request has no body.\n");
        return Err(refusal.because(RefusalReason::Body));
    }
    let key = request
        .header("sec-websocket-key")
        .filter(|key| is_key(key));
    let key = key.ok_or_else(|| {
        let text = "The header Sec-WebSocket-Key must hold 16 bytes in base64.\n";
        Refusal::new(400, text).because(RefusalReason::Key)
    })?;
    let (deflate, extensions) = extend(request, policy).unzip();
    Ok(Upgrade {
        accept: derive_accept_key(key),
        subprotocol: choose(request, policy)?,
        deflate,
        extensions,
    })
}

/// Decides whether a request of HTTP/2 opens a WebSocket connection on its stream (RFC 8441). That it is a `CONNECT` to
/// the protocol `websocket` is the caller's to see. There is no key, so [`Upgrade::accept`] is empty.
///
/// A refusal has status 400: another version than RFC 6455's, or a malformed header.
pub fn connect(request: &Request, policy: &ServerPolicy<'_>) -> Result<Upgrade, Refusal> {
    if request.header("sec-websocket-version") != Some(b"13") {
        let text = "A WebSocket client sends Sec-WebSocket-Version: 13 (RFC 6455, RFC 8441).\n";
        let refusal = Refusal::new(400, text).with_header("Sec-WebSocket-Version", "13");
        return Err(refusal.because(RefusalReason::Version));
    }
    let (deflate, extensions) = extend(request, policy).unzip();
    Ok(Upgrade {
        accept: String::new(),
        subprotocol: choose(request, policy)?,
        deflate,
        extensions,
    })
}

/// What is agreed on for compression, and how the client is told.
pub fn extend(request: &Request, policy: &ServerPolicy<'_>) -> Option<(deflate::Params, String)> {
    let offers = request.headers().all("sec-websocket-extensions");
    deflate::accept(offers, policy.deflate?)
}

fn choose(request: &Request, policy: &ServerPolicy<'_>) -> Result<Option<String>, Refusal> {
    let mut chosen = None;
    for offer in request.headers().list("sec-websocket-protocol") {
        if !is_token(offer) {
            let refusal = Refusal::new(400, "A subprotocol is not a token.\n");
            return Err(refusal.because(RefusalReason::Subprotocol));
        }
        if chosen.is_none() {
            chosen = policy.subprotocols.iter().find(|s| s.as_bytes() == offer);
        }
    }
    Ok(chosen.cloned())
}

/// Whether it is the base64 of 16 bytes.
fn is_key(key: &[u8]) -> bool {
    let letter = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    match key.strip_suffix(b"==") {
        Some(letters) => letters.len() == 22 && letters.iter().all(letter),
        None => false,
    }
}

fn upgrade_required(text: &str) -> Refusal {
    Refusal::new(426, format!("{text}\n")).with_header("Upgrade", "websocket")
}

fn version_required(text: &str) -> Refusal {
    let advice = "Use a client of RFC 6455, which sends Sec-WebSocket-Version: 13.";
    upgrade_required(&format!("{text} {advice}"))
        .with_header("Sec-WebSocket-Version", "13")
        .because(RefusalReason::Version)
}
