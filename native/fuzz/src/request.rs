//! The head of a request, and what the server says to it.

use sockeye_protocol::handshake::{
    BodyReader, HeadLimits, Refusal, Request, ServerPolicy, client, is_authority, server,
};

use crate::Choices;

/// The statuses that a malformed request or handshake can get.
const STATUSES: [u16; 7] = [400, 405, 414, 426, 431, 501, 505];

/// Byte 0: the limit of the head in units of 32 bytes, 0 for the default; byte 1: of the header count, 0 likewise. The
/// rest arrives.
pub fn check(data: &[u8]) {
    let mut choices = Choices(data);
    let limits = limits(&mut choices);
    let bytes = choices.0;
    let (request, end) = match Request::parse(bytes, &limits) {
        Ok(Some(found)) => found,
        Ok(None) => {
            assert!(
                bytes.len() < limits.max_head_size + ahead(bytes),
                "waits beyond the limit"
            );
            return;
        }
        Err(refusal) => return refused(&refusal),
    };
    assert!(
        end <= limits.max_head_size + ahead(bytes) && end <= bytes.len(),
        "beyond the limit"
    );
    assert!(bytes[..end].ends_with(b"\r\n\r\n"), "no empty line");
    assert!(
        !bytes[..end]
            .windows(2)
            .any(|w| w[1] == b'\n' && w[0] != b'\r'),
        "bare LF"
    );
    assert!(!bytes[..end].contains(&0), "NUL");
    // The host of an absolute target is one that did not come as a header.
    let named = usize::from(bytes[..end].windows(3).any(|w| w == b"://"));
    assert!(
        request.headers().iter().count() <= limits.max_headers + named,
        "too many headers"
    );
    for (name, value) in request.headers().iter() {
        assert!(
            !name.is_empty() && name.is_ascii() && !name.contains([' ', ':', '\t']),
            "name {name:?}"
        );
        assert!(
            !value.iter().any(|&b| b != b'\t' && (b < b' ' || b == 0x7f)),
            "value {value:?}"
        );
    }
    assert!(request.headers().count("host") <= 1 && request.path().is_ascii());
    assert!(request.header("host").is_none_or(is_authority));
    assert!(request.headers().count("cookie") <= 1);
    body(&request, &bytes[end..], &limits);
    // However it arrives, the verdict comes with its last byte and is the same.
    for cut in cuts(end) {
        assert_eq!(
            Request::parse(&bytes[..cut], &limits),
            Ok(None),
            "cut at {cut}"
        );
    }
    assert_eq!(
        Request::parse(&bytes[..end], &limits),
        Ok(Some((request.clone(), end)))
    );
    let offered: Vec<String> = request
        .headers()
        .list("sec-websocket-protocol")
        .filter_map(|name| String::from_utf8(name.to_vec()).ok())
        .collect();
    // It may come to have more fields.
    #[allow(clippy::needless_update)]
    let policy = ServerPolicy {
        subprotocols: &offered[..offered.len().min(3)],
        ..ServerPolicy::default()
    };
    match server::upgrade(&request, &policy) {
        Err(refusal) => refused(&refusal),
        Ok(upgrade) => {
            assert_eq!(request.method(), "GET");
            assert!(request.is_http_11() && !request.has_body());
            let key = request.header("sec-websocket-key").expect("a key");
            let key = str::from_utf8(key).expect("base64");
            let response = upgrade.response(&[]);
            let agreed = client::verify(&response, key, &offered, &HeadLimits::default());
            let (accepted, length) = agreed.expect("our own answer").expect("all of it");
            assert_eq!(
                (accepted.subprotocol, length),
                (upgrade.subprotocol, response.len())
            );
        }
    }
}

/// One empty line before a request does not count.
fn ahead(bytes: &[u8]) -> usize {
    if bytes.starts_with(b"\r\n") { 2 } else { 0 }
}

/// However the body arrives, its content and its end are the same.
fn body(request: &Request, bytes: &[u8], limits: &HeadLimits) {
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut reader = BodyReader::new(request, limits);
        let (mut content, mut taken) = (Vec::new(), 0);
        for piece in pieces {
            let mut rest = piece;
            while !rest.is_empty() && !reader.is_done() {
                let found = reader.read(rest)?;
                assert!(found.taken > 0, "no progress");
                content.extend_from_slice(&rest[found.content]);
                taken += found.taken;
                rest = &rest[found.taken..];
            }
        }
        Ok::<_, sockeye_protocol::handshake::BodyError>((content, taken, reader.is_done()))
    };
    assert_eq!(
        read(&mut bytes.chunks(bytes.len().max(1))),
        read(&mut bytes.chunks(1))
    );
}

pub(crate) fn limits(choices: &mut Choices<'_>) -> HeadLimits {
    let mut limits = HeadLimits::default();
    match choices.byte() {
        0 => {}
        size => limits.max_head_size = usize::from(size) * 32,
    }
    match choices.byte() {
        0 => {}
        count => limits.max_headers = count.into(),
    }
    limits
}

/// All places in a short head, some of a long one.
pub(crate) fn cuts(end: usize) -> impl Iterator<Item = usize> {
    (0..end).step_by(end / 256 + 1)
}

/// An answer that a client can read, with a status that is documented.
fn refused(refusal: &Refusal) {
    assert!(
        STATUSES.contains(&refusal.status),
        "status {}",
        refusal.status
    );
    let bytes = refusal.response();
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(&bytes).expect("a response");
    assert!(refusal.body.len() > 10, "no sentence");
    let content = if refusal.to_head {
        0
    } else {
        refusal.body.len()
    };
    assert_eq!(parsed, httparse::Status::Complete(bytes.len() - content));
    assert_eq!(response.code, Some(refusal.status));
    assert!(refusal.body.is_ascii(), "text of the request in the answer");
}
