//! The opening handshake of both sides.

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
fn unusual_but_valid_requests() {
    let cases: [(&[&str], &[&str]); 5] = [
        (&["Upgrade"], &["uPGRADE: WebSocket"]),
        (&["Connection"], &["Connection: keep-alive, Upgrade"]),
        (
            &["Connection"],
            &["Connection: keep-alive", "Connection:\tupgrade \t"],
        ),
        (&["Upgrade"], &["Upgrade: h2c, websocket"]),
        (
            &[],
            &[
                "Content-Length: 0",
                "Sec-WebSocket-Extensions: permessage-deflate",
                "X-Empty:",
            ],
        ),
    ];
    for (without, with) in cases {
        assert_eq!(
            upgrade(&head(GET, without, with)).unwrap().accept,
            ACCEPT,
            "{with:?}"
        );
    }
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
fn heads_that_could_be_smuggled() {
    let cases: [(u16, &str, &[&str], &[&str]); 23] = [
        (400, GET, &["Host"], &[]),
        (400, GET, &["Host"], &["Host: a, b"]),
        (400, GET, &["Host"], &["Host: a b"]),
        (400, GET, &["Host"], &["Host: user@a"]),
        (400, GET, &["Host"], &["Host: a/b"]),
        (400, "GET * HTTP/1.1", &[], &[]),
        (400, GET, &[], &["Host: other"]),
        (
            400,
            GET,
            &[],
            &["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="],
        ),
        (400, GET, &[], &["Sec-WebSocket-Version: 13"]),
        (400, GET, &[], &["Content-Length: 0", "Content-Length: 0"]),
        (
            400,
            GET,
            &[],
            &["Content-Length: 0", "Transfer-Encoding: chunked"],
        ),
        (400, GET, &[], &["Content-Length: +3"]),
        (400, GET, &[], &["Content-Length:"]),
        (400, GET, &[], &["X-Folded: a", "  b"]),
        (400, GET, &[], &["X-Space : a"]),
        (400, GET, &[], &["X-Nul: a\0b"]),
        (400, GET, &[], &["X-Lf: a\nX-Other: b"]),
        (400, GET, &[], &["no colon"]),
        (400, GET, &[], &[": no name"]),
        (400, "GET /a b HTTP/1.1", &[], &[]),
        (400, "GET chat HTTP/1.1", &[], &[]),
        (400, "GET /#top HTTP/1.1", &[], &[]),
        (400, "GET /\u{e9} HTTP/1.1", &[], &[]),
    ];
    for (status, line, without, with) in cases {
        let bytes = head(line, without, with);
        let refusal = Request::parse(&bytes, &HeadLimits::default()).unwrap_err();
        assert_eq!(refusal.status, status, "{line} {without:?} {with:?}");
    }
}

#[test]
fn garbage_is_refused_before_it_ends() {
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"GET / HTTP/1.1\n",
        b"\r\n\r\n",
        b"\n",
        b"\r\n\n",
        b"\x81\x85\0\0",
    ] {
        let refusal = Request::parse(bytes, &HeadLimits::default()).unwrap_err();
        assert_eq!(refusal.status, 400, "{bytes:?}");
    }
}

#[test]
fn targets() {
    for (target, path, query) in [
        ("/", "/", ""),
        ("/a/b?c=d?e", "/a/b", "c=d?e"),
        ("/?", "/", ""),
        ("?x", "", ""),
        ("http://example.com", "/", ""),
        ("http://example.com?q", "/", "q"),
        ("https://example.com:80/a%20b?q=/", "/a%20b", "q=/"),
        ("HTTP://example.com/", "/", ""),
        ("ws://example.com/", "", ""),
        ("bad://example.com/", "", ""),
        ("://example.com/", "", ""),
        ("http:/example.com/", "", ""),
        ("http://", "", ""),
        ("http:///", "", ""),
        ("http://:80/", "", ""),
        ("http://user@example.com/", "", ""),
        ("http://example.com:port/", "", ""),
        ("http://[fe80::1%25eth0]/", "", ""),
        ("http://example.com/#f", "", ""),
        ("/redirect?to=http://x/y", "/redirect", "to=http://x/y"),
    ] {
        let bytes = head(&format!("GET {target} HTTP/1.1"), &[], &[]);
        match parse(&bytes) {
            Ok(request) => {
                assert_eq!((request.path(), request.query()), (path, query), "{target}");
                assert_eq!((request.target(), request.method()), (target, "GET"));
            }
            Err(refusal) => assert_eq!((refusal.status, path), (400, ""), "{target}"),
        }
    }
}

#[test]
fn an_authority_in_the_target_is_the_host() {
    for (target, host) in [
        ("/", "a.example"),
        ("http://b.example:80/x", "b.example:80"),
        ("http://[::1]?x", "[::1]"),
    ] {
        let lines = ["Host: a.example", "X-Last: 1"];
        let bytes = head(&format!("GET {target} HTTP/1.1"), &["Host"], &lines);
        let request = parse(&bytes).unwrap();
        assert_eq!(request.header("host"), Some(host.as_bytes()), "{target}");
        assert_eq!(request.headers().count("host"), 1, "{target}");
    }
    // What is there must be one all the same.
    for lines in [&[][..], &["Host: a", "Host: a"], &["Host: ::1"]] {
        let bytes = head("GET http://a/ HTTP/1.1", &["Host"], lines);
        assert_eq!(parse(&bytes).unwrap_err().status, 400, "{lines:?}");
    }
    // A client of HTTP/1.0 has not to send one.
    let old = parse(b"GET http://a/ HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(old.header("host"), Some(&b"a"[..]));
}

#[test]
fn one_empty_line_is_passed_over() {
    let bytes = [&b"\r\n"[..], &head(GET, &[], &[])].concat();
    assert!(upgrade(&bytes).is_ok());
    for cut in 0..bytes.len() {
        let part = Request::parse(&bytes[..cut], &HeadLimits::default());
        assert_eq!(part, Ok(None), "cut at {cut}");
    }
    let twice = [&b"\r\n"[..], &bytes].concat();
    let refusal = Request::parse(&twice, &HeadLimits::default()).unwrap_err();
    assert_eq!(refusal.status, 400);
}

#[test]
fn versions() {
    for (version, status) in [
        ("HTTP/1.1", None),
        ("HTTP/1.2", None),
        ("HTTP/1.9", None),
        ("HTTP/1.10", Some(400)),
        ("HTTP/1.", Some(505)),
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
fn transfer_codings() {
    for (lines, status) in [
        (&["Transfer-Encoding: chunked"][..], None),
        (&["Transfer-Encoding: Chunked"], None),
        (&["Transfer-Encoding: , chunked ,"], None),
        (&["Transfer-Encoding: cow, chunked"], Some(501)),
        (&["Transfer-Encoding: gzip, chunked"], Some(501)),
        (&["Transfer-Encoding: gzip,deflate,chunked"], Some(501)),
        (&["Transfer-Encoding: chunked, chunked"], Some(400)),
        (&["Transfer-Encoding: chunked, gzip, chunked"], Some(400)),
        (&["Transfer-Encoding: chunked, gzip"], Some(400)),
        (&["Transfer-Encoding: gzip"], Some(400)),
        (&["Transfer-Encoding: identity"], Some(400)),
        (&["Transfer-Encoding: chunked;x=y"], Some(400)),
        (&["Transfer-Encoding: xchunked"], Some(400)),
        (&["Transfer-Encoding: \"chunked\""], Some(400)),
        (&["Transfer-Encoding:"], Some(400)),
        (
            &["Transfer-Encoding: gzip", "Transfer-Encoding: chunked"],
            Some(400),
        ),
        (
            &["Transfer-Encoding: chunked", "Content-Length: 0"],
            Some(400),
        ),
        (&["Content-Length: 18446744073709551615"], None),
        (&["Content-Length: 18446744073709551616"], Some(400)),
        (&["Content-Length: 1,1"], Some(400)),
    ] {
        let got = parse(&head("POST / HTTP/1.1", &[], lines));
        assert_eq!(got.err().map(|r| r.status), status, "{lines:?}");
    }
    let old = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(parse(old).unwrap_err().status, 400);
}

#[test]
fn nothing_is_connected_to() {
    for target in ["example.com:80", "/", "http://example.com/"] {
        let got = parse(&head(&format!("CONNECT {target} HTTP/1.1"), &[], &[]));
        assert_eq!(got.unwrap_err().status, 501, "{target}");
    }
}

#[test]
fn what_a_request_says_of_its_connection() {
    for (line, lines, keeps) in [
        (GET, &[][..], true),
        (GET, &["Connection: close"], false),
        (GET, &["Connection: x, Close"], false),
        ("GET / HTTP/1.0", &[], false),
        ("GET / HTTP/1.0", &["Connection: Keep-Alive"], true),
        ("GET / HTTP/1.0", &["Connection: keep-alive, close"], false),
    ] {
        let request = parse(&head(line, &["Connection"], lines)).unwrap();
        assert_eq!(request.keeps_alive(), keeps, "{line} {lines:?}");
    }
    for (line, lines, expects) in [
        (GET, &["Expect: 100-continue"][..], false),
        (GET, &["Expect: 100-Continue", "Content-Length: 1"], true),
        (GET, &["Expect: 200", "Content-Length: 1"], false),
        (
            "GET / HTTP/1.0",
            &["Expect: 100-continue", "Content-Length: 1"],
            false,
        ),
    ] {
        let request = parse(&head(line, &[], lines)).unwrap();
        assert_eq!(request.expects_continue(), expects, "{line} {lines:?}");
    }
}

#[test]
fn limits_just_below_at_and_above() {
    let bytes = head(GET, &[], &[]);
    let limits = |max_head_size, max_headers| HeadLimits {
        max_head_size,
        max_headers,
    };
    let status = |limits: HeadLimits| match Request::parse(&bytes, &limits) {
        Ok(request) => request.map(|(_, consumed)| consumed).unwrap() as u16,
        Err(refusal) => refusal.status,
    };
    let whole = bytes.len() as u16;
    assert_eq!(status(limits(bytes.len() + 1, 6)), whole);
    assert_eq!(status(limits(bytes.len(), 5)), whole);
    assert_eq!(status(limits(bytes.len() - 1, 5)), 431);
    assert_eq!(status(limits(bytes.len(), 4)), 431);
    assert_eq!(status(limits(GET.len(), 5)), 414);
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

#[test]
fn cookies_are_one_field() {
    let cookies = |lines: &[&str]| {
        let request = parse(&head(GET, &[], lines)).unwrap();
        let fields: Vec<_> = request.headers().iter().map(|(name, _)| name).collect();
        let fields = fields.join(" ");
        let all: Vec<_> = request
            .headers()
            .all("cookie")
            .map(<[u8]>::to_vec)
            .collect();
        (all, fields)
    };
    let usual = "host upgrade connection sec-websocket-version sec-websocket-key";
    let one = |value: &str| vec![value.as_bytes().to_vec()];
    for (lines, value, fields) in [
        (&["Cookie: a=1"][..], "a=1", "cookie"),
        (&["Cookie: a=1; b=2"], "a=1; b=2", "cookie"),
        (&["Cookie: a=1", "cookie:b=2"], "a=1; b=2", "cookie"),
        (
            &[
                "X: y",
                "Cookie: a=1",
                "Y: z",
                "COOKIE: b=2 ",
                "Z: z",
                "Cookie: c=3; d",
            ],
            "a=1; b=2; c=3; d",
            "x cookie y z",
        ),
    ] {
        let want = (one(value), format!("{usual} {fields}"));
        assert_eq!(cookies(lines), want, "{lines:?}");
    }
    assert_eq!(cookies(&["X: y", "X: z"]), (vec![], format!("{usual} x x")));
}

#[test]
fn headers_are_found_in_any_case() {
    let bytes = head(
        GET,
        &[],
        &["X-Thing:  one ", "x-thing: two", "Cookie: caf\u{e9}"],
    );
    let request = parse(&bytes).unwrap();
    assert_eq!(request.header("x-THING"), Some(&b"one"[..]));
    assert_eq!(
        request.headers().all("X-Thing").collect::<Vec<_>>(),
        [b"one", b"two"]
    );
    assert_eq!(request.header("cookie"), Some("caf\u{e9}".as_bytes()));
    assert_eq!(
        request.headers().iter().next(),
        Some(("host", &b"example.com"[..]))
    );
    assert_eq!(request.header("absent"), None);
}

fn options<'a>(subprotocols: &'a [String], headers: &'a [(String, String)]) -> ClientOptions<'a> {
    ClientOptions {
        host: "example.com:8080",
        path: "/feed?x=1",
        subprotocols,
        deflate: None,
        headers,
    }
}

#[test]
fn a_client_and_a_server_agree() {
    let offered = ["soap".to_string(), "json".to_string()];
    let headers = [("Origin".to_string(), "https://example.com".to_string())];
    let key = client::generate_key();
    assert_ne!(key, client::generate_key());
    let bytes = client::request(&options(&offered, &headers), &key).unwrap();
    let request = parse(&bytes).unwrap();
    assert_eq!((request.path(), request.query()), ("/feed", "x=1"));
    assert_eq!(request.header("host"), Some(&b"example.com:8080"[..]));
    assert_eq!(request.header("origin"), Some(&b"https://example.com"[..]));
    let mut response = upgrade(&bytes).unwrap().response(&[]);
    let length = response.len();
    response.extend_from_slice(b"\x81\x02hi");
    for cut in 0..length {
        let early = client::verify(&response[..cut], &key, &offered, &HeadLimits::default());
        assert_eq!(early, Ok(None), "cut at {cut}");
    }
    let verdict = client::verify(&response, &key, &offered, &HeadLimits::default());
    let (accepted, consumed) = verdict.unwrap().unwrap();
    assert_eq!(accepted.subprotocol.as_deref(), Some("json"));
    assert_eq!(consumed, length);
}

#[test]
fn a_client_checks_the_answer() {
    let upgrade = "Upgrade: websocket\r\n";
    let connection = "Connection: Upgrade\r\n";
    let accept = format!("Sec-WebSocket-Accept: {ACCEPT}\r\n");
    let verify = |status: &str, parts: &[&str]| {
        let response = format!("HTTP/1.1 {status}\r\n{}\r\n", parts.concat());
        client::verify(
            response.as_bytes(),
            KEY,
            &["json".to_string()],
            &HeadLimits::default(),
        )
    };
    let is_invalid = |parts: &[&str]| {
        matches!(
            verify("101 Switching Protocols", parts),
            Err(HandshakeError::Invalid(_))
        )
    };
    assert!(
        verify("101 x", &[upgrade, connection, &accept])
            .unwrap()
            .is_some()
    );
    assert!(is_invalid(&[connection, &accept]));
    for (more, invalid) in [
        ("h2c, websocket", true),
        ("websocket, h2c", true),
        ("websocket, websocket", true),
        ("websocket/13", true),
        ("WebSocket", false),
        (", websocket,", false),
    ] {
        let line = format!("Upgrade: {more}\r\n");
        assert_eq!(is_invalid(&[&line, connection, &accept]), invalid, "{more}");
    }
    assert!(is_invalid(&[upgrade, upgrade, connection, &accept]));
    assert!(is_invalid(&[upgrade, &accept]));
    assert!(is_invalid(&[upgrade, connection]));
    assert!(is_invalid(&[
        upgrade,
        connection,
        "Sec-WebSocket-Accept: AAAA\r\n"
    ]));
    assert!(is_invalid(&[upgrade, connection, &accept, &accept]));
    let usual = [upgrade, connection, &accept];
    let with = |line: &'static str| is_invalid(&[&usual[..], &[line]].concat());
    assert!(with("Sec-WebSocket-Protocol: soap\r\n"));
    assert!(with("Sec-WebSocket-Protocol: \r\n"));
    assert!(with("Sec-WebSocket-Extensions: permessage-deflate\r\n"));
    assert!(!with("Sec-WebSocket-Protocol: json\r\n"));
    let refused = verify("403 Forbidden", &["X-Why: policy\r\n"]).unwrap_err();
    assert!(
        matches!(&refused, HandshakeError::Status { status: 403, headers, len: 41 }
        if headers.first("x-why") == Some(b"policy"))
    );
    let old = client::verify(b"HTTP/1.0 101 x\r\n\r\n", KEY, &[], &HeadLimits::default());
    assert_eq!(old, Err(HandshakeError::Malformed));
    let noise = client::verify(b"SSH-2.0-OpenSSH\r\n\r\n", KEY, &[], &HeadLimits::default());
    assert_eq!(noise, Err(HandshakeError::Malformed));
}

/// Any number of answers that are not the last, and what the client makes of all.
#[test]
fn interim_answers_are_passed_over() {
    let switch = format!(
        "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    );
    let limits = HeadLimits::default();
    let verify = |text: &str| client::verify(text.as_bytes(), KEY, &[], &limits);
    for before in [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 102 Processing\r\nX: y\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nLink: </b>\r\n\r\n",
        "HTTP/1.1 199\r\n\r\n",
        // It has no content, whatever it says.
        "HTTP/1.1 100 x\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 100 x\r\n\r\nHTTP/1.1 103 x\r\n\r\nHTTP/1.1 103 x\r\n\r\n",
    ] {
        let all = format!("{before}{switch}");
        for cut in 0..all.len() {
            assert_eq!(verify(&all[..cut]), Ok(None), "{before}, cut at {cut}");
        }
        let (accepted, len) = verify(&format!("{all}\u{1}more")).unwrap().unwrap();
        assert_eq!(len, all.len());
        assert_eq!(accepted.headers.iter().count(), 3);
        let refusal = verify(&format!("{before}HTTP/1.1 404 x\r\nX: y\r\n\r\nbody"));
        let Err(HandshakeError::Status { status, len, .. }) = refusal else {
            panic!("{refusal:?}");
        };
        assert_eq!((status, len), (404, before.len() + 24));
    }
    for bad in [
        "HTTP/1.0 100 x\r\n\r\n",
        "HTTP/1.1 100 x\r\n\r\nbody",
        "HTTP/1.1 100 x\n\n",
        "HTTP/1.1 099 x\r\n\r\n",
        "HTTP/1.1 000 x\r\n\r\n",
    ] {
        let got = verify(&format!("{bad}{switch}"));
        assert_eq!(got, Err(HandshakeError::Malformed), "{bad:?}");
    }
    // A 101 is no interim answer, whatever it lacks.
    let got = verify(&format!("HTTP/1.1 101 x\r\n\r\n{switch}"));
    assert!(matches!(got, Err(HandshakeError::Invalid(_))));
}

#[test]
fn interim_answers_are_bounded() {
    let switch = format!(
        "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    );
    let verify = |text: &str, limits| client::verify(text.as_bytes(), KEY, &[], &limits);
    let most = client::MAX_INTERIM;
    for (count, allowed) in [(most - 1, true), (most, true), (most + 1, false)] {
        let all = "HTTP/1.1 103 x\r\n\r\n".repeat(count) + &switch;
        let got = verify(&all, HeadLimits::default());
        match allowed {
            true => assert_eq!(got.unwrap().unwrap().1, all.len()),
            false => assert_eq!(got, Err(HandshakeError::TooLarge)),
        }
    }
    // One too many is refused before anything follows it.
    let endless = "HTTP/1.1 103 x\r\n\r\n".repeat(most + 1);
    let got = verify(&endless, HeadLimits::default());
    assert_eq!(got, Err(HandshakeError::TooLarge));
    let all = "HTTP/1.1 103 x\r\n\r\n".repeat(3) + &switch;
    for (limit, allowed) in [
        (all.len() - 1, false),
        (all.len(), true),
        (all.len() + 1, true),
        (18, false),
        (17, false),
    ] {
        let limits = HeadLimits {
            max_head_size: limit,
            ..HeadLimits::default()
        };
        assert_eq!(verify(&all, limits).is_ok(), allowed, "{limit}");
    }
}

#[test]
fn a_client_sends_nothing_unsafe() {
    let bad = |options: ClientOptions<'_>| client::request(&options, KEY).is_err();
    let ok = options(&[], &[]);
    assert!(!bad(ok));
    assert!(bad(ClientOptions {
        host: "a\r\nX: y",
        ..ok
    }));
    for host in [
        "",
        ":80",
        "a b",
        "a/b",
        "u@a",
        "a:port",
        "a,b",
        "::1",
        "[fe80::1%25eth0]",
    ] {
        assert!(bad(ClientOptions { host, ..ok }), "{host}");
    }
    for host in ["a", "A.example:8080", "[::1]:1", "a_b", "a:"] {
        assert!(!bad(ClientOptions { host, ..ok }), "{host}");
    }
    assert!(bad(ClientOptions { path: "/a b", ..ok }));
    assert!(bad(ClientOptions { path: "feed", ..ok }));
    assert!(bad(ClientOptions {
        subprotocols: &["a,b".to_string()],
        ..ok
    }));
    for (name, value) in [
        ("X", "a\nb"),
        ("X Y", "a"),
        ("Host", "b"),
        ("Sec-WebSocket-Key", KEY),
    ] {
        let headers = [(name.to_string(), value.to_string())];
        assert!(
            bad(ClientOptions {
                headers: &headers,
                ..ok
            }),
            "{name}"
        );
    }
}

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
