//! The client's side: the answer of any server, and requests made from any options.

use sockeye_protocol::handshake::{ClientOptions, HandshakeError, HeadLimits, Request, client};

use crate::Choices;
use crate::request::{cuts, limits};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// Bytes 0 and 1: limits, as for a request. Byte 2: odd for options of a request, separated by NUL; else the rest is an
/// answer.
pub fn check(data: &[u8]) {
    let mut choices = Choices(data);
    let limits = limits(&mut choices);
    match choices.byte() & 1 {
        0 => answer(choices.0, &limits),
        _ => options(choices.0),
    }
}

fn answer(bytes: &[u8], limits: &HeadLimits) {
    let offered = ["chat".to_owned(), "v2.chat".to_owned()];
    match client::verify(bytes, KEY, &offered, limits) {
        Ok(None) => {
            assert!(bytes.len() < limits.max_head_size, "waits beyond the limit");
            let prefix = bytes.len().min(7);
            assert_eq!(
                bytes[..prefix],
                b"HTTP/1."[..prefix],
                "waits for what is no answer"
            );
        }
        Ok(Some((accepted, end))) => {
            assert!(end <= bytes.len() && end <= limits.max_head_size);
            // Interim answers may come before it.
            assert!(bytes.starts_with(b"HTTP/1.1 1"));
            assert!(accepted.headers.iter().count() <= limits.max_headers);
            assert!(
                accepted
                    .subprotocol
                    .is_none_or(|chosen| offered.contains(&chosen))
            );
            for cut in cuts(end) {
                assert_eq!(
                    client::verify(&bytes[..cut], KEY, &offered, limits),
                    Ok(None),
                    "cut at {cut}"
                );
            }
        }
        Err(HandshakeError::Status { status, len, .. }) => {
            assert!(status >= 200 && len <= bytes.len().min(limits.max_head_size));
        }
        Err(HandshakeError::BadOption(what)) => panic!("an answer has no option {what}"),
        Err(_) => {}
    }
}

/// What is taken is one request that says just that; nothing in an option can add to it.
fn options(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let mut parts = text.split('\0');
    let host = parts.next().unwrap_or_default();
    let path = parts.next().unwrap_or_default();
    let subprotocols: Vec<String> = parts
        .next()
        .into_iter()
        .flat_map(|all| all.split('\x01'))
        .map(Into::into)
        .collect();
    let parts: Vec<&str> = parts.collect();
    let headers: Vec<(String, String)> = parts
        .chunks_exact(2)
        .take(50)
        .map(|pair| (pair[0].to_owned(), pair[1].to_owned()))
        .collect();
    let options = ClientOptions {
        host,
        path,
        subprotocols: &subprotocols,
        deflate: None,
        headers: &headers,
    };
    let bytes = match client::request(&options, KEY) {
        Ok(bytes) => bytes,
        Err(HandshakeError::BadOption(_)) => return,
        Err(error) => panic!("{error}"),
    };
    let limits = HeadLimits {
        max_head_size: usize::MAX,
        max_headers: 100,
    };
    // Some fields must not come twice, which is the caller's to know.
    let Ok(parsed) = Request::parse(&bytes, &limits) else {
        return;
    };
    let (request, end) = parsed.expect("a whole request");
    assert_eq!(end, bytes.len());
    assert_eq!((request.method(), request.target()), ("GET", path));
    let ours = 5 + usize::from(!subprotocols.is_empty());
    // Cookies are one field, whatever number of lines they came in.
    let cookies = headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("cookie"));
    let fields = ours + headers.len() - cookies.count().saturating_sub(1);
    assert_eq!(request.headers().iter().count(), fields);
    assert_eq!(request.header("host"), Some(host.as_bytes()));
}
