//! What is an upgrade, and what is answered to what is none.

use super::*;

#[test]
fn the_example_of_the_rfc() {
    let upgrade = upgrade(&head(GET, &[], &[])).unwrap();
    assert_eq!(
        (upgrade.accept.as_str(), &upgrade.subprotocol),
        (ACCEPT, &None)
    );
    let extra = [
        ("Server".to_string(), "sockeye".to_string()),
        ("X-Bad".to_string(), "a\r\nX-Smuggled: 1".to_string()),
        ("Content-Length".to_string(), "5".to_string()),
    ];
    let response = String::from_utf8(upgrade.response(&extra)).unwrap();
    assert_eq!(
        response,
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {ACCEPT}\r\nServer: sockeye\r\n\r\n"
        )
    );
}

#[test]
fn requests_that_are_not_upgrades() {
    let cases: [(u16, &str, &[&str], &[&str]); 21] = [
        (405, "POST / HTTP/1.1", &[], &[]),
        (405, "get / HTTP/1.1", &[], &[]),
        (426, GET, &["Upgrade"], &[]),
        (426, GET, &["Upgrade"], &["Upgrade: h2c"]),
        (426, GET, &["Upgrade"], &["Upgrade: websockets"]),
        (426, "GET / HTTP/1.0", &[], &[]),
        (505, "GET / HTTP/2.0", &[], &[]),
        (400, GET, &["Connection"], &[]),
        (400, GET, &["Connection"], &["Connection: close"]),
        (426, GET, &["Sec-WebSocket-Version"], &[]),
        (
            426,
            GET,
            &["Sec-WebSocket-Version"],
            &["Sec-WebSocket-Version: 8"],
        ),
        (
            426,
            GET,
            &["Sec-WebSocket-Version"],
            &["Sec-WebSocket-Version: 13, 8"],
        ),
        (400, GET, &["Sec-WebSocket-Key"], &[]),
        (400, GET, &["Sec-WebSocket-Key"], &["Sec-WebSocket-Key: "]),
        (
            400,
            GET,
            &["Sec-WebSocket-Key"],
            &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ="],
        ),
        (
            400,
            GET,
            &["Sec-WebSocket-Key"],
            &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSE="],
        ),
        (
            400,
            GET,
            &["Sec-WebSocket-Key"],
            &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j*Q=="],
        ),
        (400, GET, &[], &["Content-Length: 3"]),
        (400, GET, &[], &["Transfer-Encoding: chunked"]),
        (400, GET, &[], &["Sec-WebSocket-Protocol: a b"]),
        (400, GET, &[], &["Sec-WebSocket-Protocol: json, {x}"]),
    ];
    for (status, line, without, with) in cases {
        let refusal = upgrade(&head(line, without, with)).unwrap_err();
        assert_eq!(refusal.status, status, "{line} {without:?} {with:?}");
        let response = String::from_utf8(refusal.response()).unwrap();
        let (answer, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")));
        assert!(answer.contains(&format!("\r\nContent-Length: {}\r\n", body.len())));
        assert_eq!(status == 426, answer.contains("\r\nUpgrade: websocket"));
        assert!(answer.contains(if status == 426 {
            "\r\nConnection: upgrade, close"
        } else {
            "\r\nConnection: close"
        }));
        assert_eq!(status == 405, answer.contains("\r\nAllow: GET"));
    }
}

#[test]
fn old_drafts_are_told_of_the_rfc() {
    let draft_76 = head(
        GET,
        &["Sec-WebSocket", "Upgrade"],
        &[
            "Upgrade: WebSocket",
            "Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5",
            "Sec-WebSocket-Key2: 12998 5 Y3 1  .P00",
        ],
    );
    let one_key = |line| head(GET, &["Sec-WebSocket-Key", "Upgrade"], &[line]);
    for bytes in [
        one_key("Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5"),
        one_key("Sec-WebSocket-Key2: 12998 5 Y3 1  .P00"),
    ] {
        let body = upgrade(&bytes).unwrap_err().body;
        assert!(String::from_utf8(body).unwrap().contains("draft 76"));
    }
    let draft_75 = head(GET, &["Sec-WebSocket"], &[]);
    let version_8 = head(
        GET,
        &["Sec-WebSocket-Version"],
        &["Sec-WebSocket-Version: 8"],
    );
    for bytes in [draft_76, draft_75, version_8] {
        let refusal = upgrade(&bytes).unwrap_err();
        let response = String::from_utf8(refusal.response()).unwrap();
        assert_eq!(refusal.status, 426);
        assert!(
            response.contains("\r\nSec-WebSocket-Version: 13\r\n"),
            "{response}"
        );
        assert!(response.contains("RFC 6455"), "{response}");
    }
}

#[test]
fn versions() {
    for (version, status) in [
        ("HTTP/1.1", None),
        ("HTTP/1.2", None),
        ("HTTP/1.9", None),
        ("HTTP/1.10", Some(400)),
        ("HTTP/1.", Some(505)),
        ("HTTP/1.x", Some(505)),
        ("HTTP/x.1", Some(505)),
        ("HTTP/0.9", Some(505)),
        ("HTTP/2.0", Some(505)),
        ("HTTP/3", Some(505)),
        ("http/1.1", Some(400)),
        ("HTTP/1.1 ", Some(400)),
    ] {
        let got = parse(&head(&format!("GET / {version}"), &[], &[]));
        assert_eq!(got.as_ref().err().map(|r| r.status), status, "{version}");
        assert!(got.is_err() || got.is_ok_and(|r| r.is_http_11()));
    }
}

#[test]
fn nothing_is_connected_to() {
    for target in ["example.com:80", "/", "http://example.com/"] {
        let got = parse(&head(&format!("CONNECT {target} HTTP/1.1"), &[], &[]));
        assert_eq!(got.unwrap_err().status, 501, "{target}");
    }
}

#[test]
fn the_first_offer_that_is_spoken_is_chosen() {
    for (offers, want) in [
        (
            &["Sec-WebSocket-Protocol: soap, mqtt, json"][..],
            Some("mqtt"),
        ),
        (
            &[
                "Sec-WebSocket-Protocol: soap",
                "Sec-WebSocket-Protocol: json,mqtt",
            ],
            Some("json"),
        ),
        (&["Sec-WebSocket-Protocol: JSON"], None),
        (&["Sec-WebSocket-Protocol: soap"], None),
        (&[], None),
    ] {
        let upgrade = upgrade(&head(GET, &[], offers)).unwrap();
        assert_eq!(upgrade.subprotocol.as_deref(), want, "{offers:?}");
        let response = String::from_utf8(upgrade.response(&[])).unwrap();
        let line = want.map(|name| format!("\r\nSec-WebSocket-Protocol: {name}\r\n"));
        match line {
            Some(line) => assert!(response.contains(&line)),
            None => assert!(!response.contains("Protocol:")),
        }
    }
}

#[test]
fn upgrade_means_nothing_in_http_1_0() {
    for (line, lines, asks) in [
        (GET, &[][..], true),
        ("POST / HTTP/1.1", &[], true),
        ("GET / HTTP/1.2", &[], true),
        ("GET / HTTP/1.0", &[], false),
        ("GET / HTTP/1.0", &["Connection: keep-alive"], false),
    ] {
        let request = parse(&head(line, &[], lines)).unwrap();
        assert_eq!(request.asks_for_websocket(), asks, "{line}");
    }
    let ordinary = parse(&head(GET, &["Upgrade"], &[])).unwrap();
    assert!(!ordinary.asks_for_websocket());
    let refusal = upgrade(&head("GET / HTTP/1.0", &[], &[])).unwrap_err();
    assert_eq!(
        (refusal.status, refusal.why),
        (426, RefusalReason::HttpVersion)
    );
}

#[test]
fn an_answer_to_head_has_no_content() {
    for (line, lines, status) in [
        ("HEAD / HTTP/1.1", &[][..], 405),
        ("HEAD / HTTP/1.1", &["Host: b"], 400),
        ("HEAD /# HTTP/1.1", &[], 400),
        ("HEAD / HTTP/3.0", &[], 505),
    ] {
        let refusal = upgrade(&head(line, &[], lines)).unwrap_err();
        assert_eq!((refusal.status, refusal.to_head), (status, true), "{line}");
        let as_get = Refusal {
            to_head: false,
            ..refusal.clone()
        };
        let (with, without) = (as_get.response(), refusal.response());
        let content = with.strip_prefix(&without[..]).unwrap();
        assert_eq!(content, refusal.body);
        let length = format!("\r\nContent-Length: {}\r\n", content.len());
        assert!(str::from_utf8(&without).unwrap().contains(&length));
        assert!(content.len() > 1 && content.ends_with(b".\n"), "{line}");
    }
    let long = format!("HEAD /{} HTTP/1.1\r\n", "a".repeat(20_000));
    let refusal = Request::parse(long.as_bytes(), &HeadLimits::default()).unwrap_err();
    assert_eq!((refusal.status, refusal.to_head), (414, true));
    for other in ["GET / HTTP/1.1", "HEADER / HTTP/1.1", "head / HTTP/1.1"] {
        let refusal = upgrade(&head(other, &["Host"], &[])).unwrap_err();
        assert!(!refusal.to_head, "{other}");
    }
}
