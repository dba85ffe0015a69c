//! Events as terms.

use sockeye_engine::batch::{CloseInfo, Event, OpenInfo};
use sockeye_engine::host::Notice;
use sockeye_engine::{About, ConnId, Peer, PeerInfo, Question, TlsFacts, TracedFrame, Verdict};
use sockeye_json::{Error as JsonError, ErrorKind};
use sockeye_protocol::handshake::{Headers, Request};

use crate::atoms::Atom;
use crate::calls::Shape;
use crate::settings::EventFormat;
use crate::write::{EventWriter, Writer};

/// A text frame of a JSON server that is not JSON, where that ends the connection: what its peer reads.
pub struct Invalid(pub Box<str>);

impl EventFormat {
    /// The event, as the handler sees it.
    ///
    /// # Errors
    /// It ends the connection. Nothing has been written then.
    #[inline]
    pub fn event<W: EventWriter>(
        &self,
        w: &mut W,
        event: Event<'_>,
    ) -> Result<<W::Terms as Writer>::Term, Invalid> {
        let (tag, bytes) = match event {
            Event::Text(bytes) => match &self.json {
                None => (Atom::text, bytes),
                Some(options) => {
                    let mark = w.mark();
                    w.terms().tuple(2);
                    let tag = w.terms().atom(Atom::json);
                    return match w.json(bytes, options) {
                        Ok(term) => Ok(w.terms().end_tuple(&[tag, term])),
                        Err(e) => {
                            w.rewind(mark);
                            self.not_json(w, bytes, &e)
                        }
                    };
                }
            },
            Event::Binary(bytes) => (Atom::binary, bytes),
            Event::Ping(bytes) => (Atom::ping, bytes),
            Event::Pong(bytes) => (Atom::pong, bytes),
            Event::Open(info) => {
                w.terms().tuple(2);
                let parts = [w.terms().atom(Atom::open), open_info(w, info)];
                return Ok(w.terms().end_tuple(&parts));
            }
            Event::Passive => return Ok(w.terms().atom(Atom::passive)),
            Event::Ending => return Ok(w.terms().atom(Atom::ending)),
            Event::Closed(ended) => {
                let w = w.terms();
                w.tuple(3);
                let parts = closed(w, ended);
                return Ok(w.end_tuple(&parts));
            }
        };
        Ok(tagged(w.terms(), tag, bytes))
    }

    /// Of a message, what stands within its tuple; else the event.
    ///
    /// # Errors
    /// As [`EventFormat::event`].
    #[inline]
    pub fn bare<W: EventWriter>(&self, w: &mut W, event: Event<'_>) -> Result<Shape, Invalid> {
        match (event, &self.json) {
            (Event::Text(bytes), Some(options)) => match w.json(bytes, options) {
                Ok(_) => Ok(Shape::Json),
                Err(e) => self.not_json(w, bytes, &e).map(|_| Shape::Whole),
            },
            (Event::Text(bytes), None) => {
                w.terms().binary(bytes);
                Ok(Shape::Text)
            }
            (Event::Binary(bytes), _) => {
                w.terms().binary(bytes);
                Ok(Shape::Binary)
            }
            (event, _) => self.event(w, event).map(|_| Shape::Whole),
        }
    }

    #[cold]
    fn not_json<W: EventWriter>(
        &self,
        w: &mut W,
        text: &[u8],
        error: &JsonError,
    ) -> Result<<W::Terms as Writer>::Term, Invalid> {
        if self.deliver_invalid {
            Ok(invalid(w.terms(), text, error))
        } else {
            Err(Invalid(explain(error)))
        }
    }
}

#[inline]
fn tagged<W: Writer>(w: &mut W, tag: Atom, bytes: &[u8]) -> W::Term {
    w.tuple(2);
    let parts = [w.atom(tag), w.binary(bytes)];
    w.end_tuple(&parts)
}

fn closed<W: Writer>(w: &mut W, ended: &CloseInfo) -> [W::Term; 3] {
    [
        w.atom(Atom::closed),
        w.integer(ended.code.into()),
        w.binary(ended.reason.as_bytes()),
    ]
}

/// The end of a connection, and whose it was, as one binary: `{closed, Code, Reason, Who}`.
pub fn left<W: Writer>(w: &mut W, ended: &CloseInfo) -> W::Term {
    w.tuple(4);
    let [tag, code, reason] = closed(w, ended);
    let parts = [tag, code, reason, w.binary(&ended.who)];
    w.end_tuple(&parts)
}

/// A frame that somebody watches: `{sockeye_frame, Id, {Incoming, Head, Size, Time, Payload, Suppressed}}`, or `{sockeye_untraced, Id}`.
pub fn traced<W: Writer>(w: &mut W, id: u64, frame: Option<&TracedFrame<'_>>) -> W::Term {
    let Some(frame) = frame else {
        w.tuple(2);
        let parts = [w.atom(Atom::sockeye_untraced), w.integer(id)];
        return w.end_tuple(&parts);
    };
    w.tuple(3);
    let parts = [w.atom(Atom::sockeye_frame), w.integer(id), {
        w.tuple(6);
        let facts = [
            w.boolean(frame.incoming),
            w.integer(frame.head.into()),
            w.integer(frame.size),
            w.integer(frame.time),
            w.binary(frame.payload),
            w.integer(frame.suppressed),
        ];
        w.end_tuple(&facts)
    }];
    w.end_tuple(&parts)
}

/// The client of an answer in pieces has gone: `{sockeye_stream_gone, Token}`.
pub fn stream_gone<W: Writer>(w: &mut W, token: u64) -> W::Term {
    w.tuple(2);
    let parts = [w.atom(Atom::sockeye_stream_gone), w.integer(token)];
    w.end_tuple(&parts)
}

/// `{invalid, 1007, Why}`
pub fn refused<W: Writer>(w: &mut W, why: &Invalid) -> W::Term {
    w.tuple(3);
    let parts = [
        w.atom(Atom::invalid),
        w.integer(1007),
        w.binary(why.0.as_bytes()),
    ];
    w.end_tuple(&parts)
}

fn kind(error: &JsonError) -> Atom {
    match error.kind {
        ErrorKind::Syntax => Atom::syntax,
        ErrorKind::Eof => Atom::eof,
        ErrorKind::Depth => Atom::depth,
        ErrorKind::NumberRange => Atom::number_range,
        ErrorKind::Utf8 => Atom::utf8,
        ErrorKind::TrailingData => Atom::trailing_data,
        _ => Atom::too_large,
    }
}

/// What a peer reads in its close frame: 123 bytes at most.
fn explain(error: &JsonError) -> Box<str> {
    match error.kind {
        ErrorKind::Syntax => error.to_string().into(),
        _ => format!("not JSON: {error}").into(),
    }
}

fn invalid<W: Writer>(w: &mut W, bytes: &[u8], error: &JsonError) -> W::Term {
    w.tuple(3);
    let parts = [w.atom(Atom::invalid_json), w.binary(bytes), why(w, error)];
    w.end_tuple(&parts)
}

/// `{Kind, Offset}`
pub fn why<W: Writer>(w: &mut W, error: &JsonError) -> W::Term {
    w.tuple(2);
    let parts = [w.atom(kind(error)), w.integer(error.offset as u64)];
    w.end_tuple(&parts)
}

/// `{Ip, Port}` or `{local, Path}`, as `inet` has them.
pub fn peer<W: Writer>(w: &mut W, peer: &Peer) -> W::Term {
    w.tuple(2);
    let parts = match peer {
        Peer::Inet(address, port) => [ip(w, *address), w.integer((*port).into())],
        Peer::Unix(path) => [w.atom(Atom::local), w.binary(path)],
    };
    w.end_tuple(&parts)
}

/// Pairs of [`peer_info`].
pub const PEER_PAIRS: u32 = 4;

/// What a connection knows of both ends, as pairs of a map that has begun.
pub fn peer_info<W: Writer>(w: &mut W, info: &PeerInfo) -> [(W::Term, W::Term); 4] {
    let (major, minor) = info.http_version;
    [
        (w.atom(Atom::peer), peer(w, &info.peer)),
        (w.atom(Atom::local), peer(w, &info.local)),
        (w.atom(Atom::tls), tls(w, info.tls.as_deref())),
        (w.atom(Atom::http_version), {
            w.tuple(2);
            let parts = [w.integer(major.into()), w.integer(minor.into())];
            w.end_tuple(&parts)
        }),
    ]
}

fn optional<W: Writer>(w: &mut W, bytes: Option<&[u8]>) -> W::Term {
    match bytes {
        Some(bytes) => w.binary(bytes),
        None => w.atom(Atom::undefined),
    }
}

fn tls<W: Writer>(w: &mut W, facts: Option<&TlsFacts>) -> W::Term {
    let Some(facts) = facts else {
        return w.atom(Atom::undefined);
    };
    let spoken = match facts.version {
        (1, 2) => Atom::tlsv1_2,
        _ => Atom::tlsv1_3,
    };
    w.map(5);
    let pairs = [
        (w.atom(Atom::version), w.atom(spoken)),
        (w.atom(Atom::cipher), w.binary(facts.cipher.as_bytes())),
        (
            w.atom(Atom::sni),
            optional(w, facts.sni.as_deref().map(str::as_bytes)),
        ),
        (w.atom(Atom::alpn), optional(w, facts.alpn.as_deref())),
        (
            w.atom(Atom::peer_cert),
            optional(w, facts.peer_cert.as_deref()),
        ),
    ];
    w.end_map(&pairs)
}

/// `{accept, Ticket, Head}` or `{rejected, Answer}`.
pub fn verdict<W: Writer>(w: &mut W, verdict: &Verdict) -> W::Term {
    match verdict {
        Verdict::Accepted { ticket, head } => {
            w.tuple(3);
            let parts = [w.atom(Atom::accept), w.integer(*ticket), w.binary(head)];
            w.end_tuple(&parts)
        }
        Verdict::Refused(answer) => {
            w.tuple(2);
            let parts = [w.atom(Atom::rejected), w.binary(answer)];
            w.end_tuple(&parts)
        }
    }
}

/// An address, as `inet` has it.
pub fn ip<W: Writer>(w: &mut W, ip: std::net::IpAddr) -> W::Term {
    let mut parts = Vec::with_capacity(8);
    match ip {
        std::net::IpAddr::V4(v4) => {
            w.tuple(4);
            parts.extend(v4.octets().map(|n| w.integer(n.into())));
        }
        std::net::IpAddr::V6(v6) => {
            w.tuple(8);
            parts.extend(v6.segments().map(|n| w.integer(n.into())));
        }
    }
    w.end_tuple(&parts)
}

/// A binary, or `undefined`.
pub fn subprotocol<W: Writer>(w: &mut W, subprotocol: Option<&str>) -> W::Term {
    optional(w, subprotocol.map(str::as_bytes))
}

fn open_info<W: EventWriter>(w: &mut W, info: &OpenInfo) -> <W::Terms as Writer>::Term {
    let request = &info.request;
    let kept = info.accept_state.as_ref();
    let terms = w.terms();
    terms.map(PEER_PAIRS + 5 + u32::from(kept.is_some()));
    let mut pairs = peer_info(terms, &info.peer_info).to_vec();
    pairs.extend([
        (
            terms.atom(Atom::path),
            terms.binary(request.path().as_bytes()),
        ),
        (
            terms.atom(Atom::query),
            terms.binary(request.query().as_bytes()),
        ),
        (
            terms.atom(Atom::subprotocol),
            subprotocol(terms, info.subprotocol.as_deref()),
        ),
        (
            terms.atom(Atom::deflate),
            terms.boolean(info.deflate.is_some()),
        ),
        (terms.atom(Atom::headers), headers(terms, request.headers())),
    ]);
    if let Some(state) = kept {
        pairs.push((w.terms().atom(Atom::state), w.kept(state)));
    }
    w.terms().end_map(&pairs)
}

/// Names, which are in lower case, and values, in their order.
pub fn headers<W: Writer>(w: &mut W, headers: &Headers) -> W::Term {
    w.list(headers.iter().count() as u32);
    let mut elements = Vec::new();
    for (name, value) in headers.iter() {
        w.tuple(2);
        let parts = [w.binary(name.as_bytes()), w.binary(value)];
        elements.push(w.end_tuple(&parts));
    }
    w.end_list(&elements)
}

/// `{sockeye_event, Kind, #{Key => Value}}`
pub fn notice<W: Writer>(w: &mut W, notice: &Notice) -> W::Term {
    use Detail::{Conn, Count, Text};
    match notice {
        Notice::AcceptFailed(why) => happened(w, Atom::accept_error, &[(Atom::reason, Text(why))]),
        Notice::NoDescriptor(most) => happened(
            w,
            Atom::no_descriptor,
            &[(Atom::max_descriptor, Count(*most))],
        ),
        Notice::NoOwner(conn) => happened(w, Atom::no_owner, &[(Atom::sockeye_conn, Conn(*conn))]),
        Notice::UpstreamFailed { upstream, reason } => happened(
            w,
            Atom::upstream_failed,
            &[
                (Atom::upstream, Text(upstream)),
                (Atom::reason, Text(reason)),
            ],
        ),
        Notice::UpstreamAnswers(upstream) => happened(
            w,
            Atom::upstream_answers,
            &[(Atom::upstream, Text(upstream))],
        ),
    }
}

/// The same of a panic, for the process of the engine.
pub fn panicked<W: Writer>(w: &mut W, message: &str) -> W::Term {
    happened(w, Atom::panic, &[(Atom::message, Detail::Text(message))])
}

enum Detail<'a> {
    Text(&'a str),
    Count(usize),
    Conn(ConnId),
}

fn happened<W: Writer>(w: &mut W, kind: Atom, details: &[(Atom, Detail<'_>)]) -> W::Term {
    w.tuple(3);
    let tag = w.atom(Atom::sockeye_event);
    let kind = w.atom(kind);
    w.map(details.len() as u32);
    let mut pairs = Vec::with_capacity(details.len());
    for (key, detail) in details {
        let key = w.atom(*key);
        let value = match detail {
            Detail::Text(text) => w.binary(text.as_bytes()),
            Detail::Count(count) => w.integer(*count as u64),
            Detail::Conn(conn) => w.conn(*conn),
        };
        pairs.push((key, value));
    }
    let details = w.end_map(&pairs);
    w.end_tuple(&[tag, kind, details])
}

/// `{sockeye_ask, Token, accept | Route, Request}`
pub fn question<W: Writer>(w: &mut W, token: u64, question: &Question<'_>) -> W::Term {
    w.tuple(4);
    let parts = [
        w.atom(Atom::sockeye_ask),
        w.integer(token),
        match question.about {
            About::Upgrade => w.atom(Atom::accept),
            About::Route(index) => w.integer(index as u64),
        },
        request(w, question),
    ];
    w.end_tuple(&parts)
}

fn request<W: Writer>(w: &mut W, question: &Question<'_>) -> W::Term {
    let has_body = question.about != About::Upgrade;
    w.map(PEER_PAIRS + REQUEST_PAIRS + u32::from(has_body));
    let mut pairs = peer_info(w, question.peer_info).to_vec();
    pairs.extend(request_pairs(w, question.request));
    if has_body {
        pairs.push((w.atom(Atom::body), w.binary(question.body)));
    }
    w.end_map(&pairs)
}

/// Pairs of [`request_pairs`].
pub const REQUEST_PAIRS: u32 = 5;

/// What a request says of itself, as pairs of a map that has begun.
pub fn request_pairs<W: Writer>(w: &mut W, request: &Request) -> [(W::Term, W::Term); 5] {
    [
        (w.atom(Atom::method), w.binary(request.method().as_bytes())),
        (w.atom(Atom::path), w.binary(request.path().as_bytes())),
        (w.atom(Atom::query), w.binary(request.query().as_bytes())),
        (w.atom(Atom::headers), headers(w, request.headers())),
        (w.atom(Atom::subprotocols), {
            let offers = || request.headers().list("sec-websocket-protocol");
            w.list(offers().count() as u32);
            let offers: Vec<_> = offers().map(|offer| w.binary(offer)).collect();
            w.end_list(&offers)
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_reads_once_that_its_text_is_not_json() {
        for (kind, said) in [
            (ErrorKind::Syntax, "not JSON at byte 7"),
            (
                ErrorKind::Eof,
                "not JSON: the text ends inside a value at byte 7",
            ),
        ] {
            assert_eq!(&*explain(&JsonError { kind, offset: 7 }), said);
        }
    }
}
