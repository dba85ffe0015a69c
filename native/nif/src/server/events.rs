//! Events as terms.

use rustler::sys::ErlNifTerm;
use rustler::types::atom::Atom;
use sockeye_engine::batch::{CloseInfo, Event, OpenInfo};
use sockeye_engine::{Peer, PeerInfo, TlsFacts};
use sockeye_json::{Error as JsonError, ErrorKind};
use sockeye_protocol::handshake::Headers;

use crate::atoms;
use crate::json::decode::{self, JsonOptions};
use crate::json::values::DecodeContext;
use crate::terms::owned::OwnedTerm;
use crate::terms::{Builder, map};

/// How a server's text frames become terms.
#[derive(Debug)]
pub(crate) struct EventFormat {
    /// None: text stays text.
    pub(crate) json: Option<JsonOptions>,
    pub(crate) deliver_invalid: bool,
}

/// A text frame of a JSON server that is not JSON, where that ends the connection.
pub(crate) struct Invalid(pub(crate) Box<str>);

impl EventFormat {
    /// The event, as the handler sees it.
    pub(crate) fn term(
        &self,
        context: &mut DecodeContext<'_>,
        event: Event<'_>,
    ) -> Result<ErlNifTerm, Invalid> {
        let b = context.b;
        Ok(match event {
            Event::Text(bytes) => match &self.json {
                None => b.tuple([b.atom(atoms::text()), b.binary(bytes)]),
                Some(options) => match decode::decode(context, text(bytes), options) {
                    Ok(term) => b.tuple([b.atom(atoms::json()), term]),
                    Err(e) if self.deliver_invalid => invalid(b, bytes, &e),
                    Err(e) => return Err(Invalid(explain(&e))),
                },
            },
            Event::Binary(bytes) => b.tuple([b.atom(atoms::binary()), b.binary(bytes)]),
            Event::Ping(bytes) => b.tuple([b.atom(atoms::ping()), b.binary(bytes)]),
            Event::Pong(bytes) => b.tuple([b.atom(atoms::pong()), b.binary(bytes)]),
            Event::Open(info) => b.tuple([b.atom(atoms::open()), open_info(b, info)]),
            Event::Passive => b.atom(atoms::passive()),
            Event::Ending => b.atom(atoms::ending()),
            Event::Closed(ended) => b.tuple(closed(b, ended)),
        })
    }
}

fn closed(b: Builder, ended: &CloseInfo) -> [ErlNifTerm; 3] {
    let reason = b.binary(ended.reason.as_bytes());
    [
        b.atom(atoms::closed()),
        b.integer(ended.code.into()),
        reason,
    ]
}

/// The end of a connection, and whose it was: `{closed, Code, Reason, Peer, Path}`.
pub(crate) fn left(b: Builder, ended: &CloseInfo) -> ErlNifTerm {
    let [tag, code, reason] = closed(b, ended);
    let path = b.binary(ended.path.as_bytes());
    b.tuple([tag, code, reason, peer(b, &ended.peer), path])
}

/// The payload of a text event.
fn text(bytes: &[u8]) -> &str {
    // SAFETY: a session delivers a text message only after it has found it to be UTF-8; the
    // engine keeps the bytes as they are. Checking again was 4 % of a 1 KB echo.
    unsafe { std::str::from_utf8_unchecked(bytes) }
}

fn kind(error: &JsonError) -> Atom {
    match error.kind {
        ErrorKind::Syntax => atoms::syntax(),
        ErrorKind::Eof => atoms::eof(),
        ErrorKind::Depth => atoms::depth(),
        ErrorKind::NumberRange => atoms::number_range(),
        ErrorKind::Utf8 => atoms::utf8(),
        ErrorKind::TrailingData => atoms::trailing_data(),
        _ => atoms::too_large(),
    }
}

/// What a peer reads in its close frame: 123 bytes at most.
fn explain(error: &JsonError) -> Box<str> {
    format!("not JSON: {error}").into()
}

fn invalid(b: Builder, bytes: &[u8], error: &JsonError) -> ErlNifTerm {
    b.tuple([
        b.atom(atoms::invalid_json()),
        b.binary(bytes),
        why(b, error),
    ])
}

/// `{Kind, Offset}`
pub(crate) fn why(b: Builder, error: &JsonError) -> ErlNifTerm {
    b.tuple([b.atom(kind(error)), b.integer(error.offset as u64)])
}

/// `{Ip, Port}` or `{local, Path}`, as `inet` has them.
pub(crate) fn peer(b: Builder, peer: &Peer) -> ErlNifTerm {
    match peer {
        Peer::Inet(address, port) => b.tuple([ip(b, *address), b.integer((*port).into())]),
        Peer::Unix(path) => b.tuple([b.atom(atoms::local()), b.binary(path)]),
    }
}

/// What a connection knows of both ends, as pairs of a map.
pub(crate) fn peer_info(b: Builder, peer_info: &PeerInfo) -> [(ErlNifTerm, ErlNifTerm); 4] {
    let (major, minor) = peer_info.http_version;
    let version = [major, minor].map(|n| b.integer(n.into()));
    [
        (b.atom(atoms::peer()), peer(b, &peer_info.peer)),
        (b.atom(atoms::local()), peer(b, &peer_info.local)),
        (b.atom(atoms::tls()), tls(b, peer_info.tls.as_deref())),
        (b.atom(atoms::http_version()), b.tuple(version)),
    ]
}

fn tls(b: Builder, facts: Option<&TlsFacts>) -> ErlNifTerm {
    let Some(facts) = facts else {
        return b.atom(atoms::undefined());
    };
    let optional = |bytes: Option<&[u8]>| match bytes {
        Some(bytes) => b.binary(bytes),
        None => b.atom(atoms::undefined()),
    };
    let version = match facts.version {
        (1, 2) => atoms::tlsv1_2(),
        _ => atoms::tlsv1_3(),
    };
    map(
        b,
        &[
            (b.atom(atoms::version()), b.atom(version)),
            (b.atom(atoms::cipher()), b.binary(facts.cipher.as_bytes())),
            (
                b.atom(atoms::sni()),
                optional(facts.sni.as_deref().map(str::as_bytes)),
            ),
            (b.atom(atoms::alpn()), optional(facts.alpn.as_deref())),
            (
                b.atom(atoms::peer_cert()),
                optional(facts.peer_cert.as_deref()),
            ),
        ],
    )
}

pub(crate) fn ip(b: Builder, ip: std::net::IpAddr) -> ErlNifTerm {
    match ip {
        std::net::IpAddr::V4(v4) => b.tuple(v4.octets().map(|n| b.integer(n.into()))),
        std::net::IpAddr::V6(v6) => b.tuple(v6.segments().map(|n| b.integer(n.into()))),
    }
}

pub(crate) fn subprotocol(b: Builder, subprotocol: Option<&str>) -> ErlNifTerm {
    match subprotocol {
        Some(name) => b.binary(name.as_bytes()),
        None => b.atom(atoms::undefined()),
    }
}

fn open_info(b: Builder, info: &OpenInfo) -> ErlNifTerm {
    let request = &info.request;
    let mut pairs = peer_info(b, &info.peer_info).to_vec();
    pairs.extend([
        (b.atom(atoms::path()), b.binary(request.path().as_bytes())),
        (b.atom(atoms::query()), b.binary(request.query().as_bytes())),
        (
            b.atom(atoms::subprotocol()),
            subprotocol(b, info.subprotocol.as_deref()),
        ),
        (b.atom(atoms::deflate()), b.boolean(info.deflate.is_some())),
        (b.atom(atoms::headers()), headers(b, request.headers())),
    ]);
    let kept = info
        .accept_state
        .as_ref()
        .and_then(|l| l.0.downcast_ref::<OwnedTerm>());
    if let Some(state) = kept {
        pairs.push((b.atom(atoms::state()), state.copy(b)));
    }
    map(b, &pairs)
}

/// Names, which are in lower case, and values, in their order.
pub(crate) fn headers(b: Builder, headers: &Headers) -> ErlNifTerm {
    let pairs = headers.iter();
    let pairs = pairs.map(|(name, value)| b.tuple([b.binary(name.as_bytes()), b.binary(value)]));
    b.list(&pairs.collect::<Vec<_>>())
}
