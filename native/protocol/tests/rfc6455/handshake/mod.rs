//! The opening handshake of both sides.

mod client_side;
mod request;
mod server_side;

use proptest::prelude::*;
use sockeye_protocol::handshake::{
    ClientOptions, HandshakeError, HeadLimits, Refusal, RefusalReason, Request, ServerPolicy,
    Upgrade, client, server,
};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The handshake of RFC 6455 with some lines taken out and others put in.
fn head(line: &str, without: &[&str], with: &[&str]) -> Vec<u8> {
    let usual = [
        "Host: example.com",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let kept = usual
        .iter()
        .filter(|l| !without.iter().any(|w| l.starts_with(w)));
    let mut head = format!("{line}\r\n");
    for line in kept.chain(with) {
        head.push_str(line);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    head.into_bytes()
}

fn parse(bytes: &[u8]) -> Result<Request, Refusal> {
    let (request, consumed) = Request::parse(bytes, &HeadLimits::default())?.unwrap();
    assert_eq!(consumed, bytes.len());
    Ok(request)
}

fn upgrade(bytes: &[u8]) -> Result<Upgrade, Refusal> {
    let subprotocols = ["json".to_string(), "mqtt".to_string()];
    server::upgrade(
        &parse(bytes)?,
        &ServerPolicy {
            subprotocols: &subprotocols,
            ..ServerPolicy::default()
        },
    )
}

const GET: &str = "GET /chat?room=1 HTTP/1.1";

proptest! {
    /// A damaged head is a request, a refusal or incomplete, and never more.
    #[test]
    fn any_damage_is_survived(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
        let mut bytes = head(GET, &[], &["Sec-WebSocket-Protocol: json"]);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(Some((request, consumed))) = Request::parse(&bytes, &HeadLimits::default()) {
            prop_assert!(consumed <= bytes.len());
            prop_assert!(request.target().is_ascii());
            let _ = server::upgrade(&request, &ServerPolicy::default());
        }
        let _ = client::verify(&bytes, KEY, &[], &HeadLimits::default());
    }
}
