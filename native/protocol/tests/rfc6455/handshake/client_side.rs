//! What a client asks, and what it makes of the answer.

use super::*;

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

/// Servers of other protocols greet with a line and wait: nobody waits with them.
#[test]
fn input_that_is_not_http_is_refused_at_its_first_wrong_byte() {
    let limits = HeadLimits::default();
    let verify = |bytes: &[u8]| client::verify(bytes, KEY, &[], &limits);
    for (bytes, right) in [
        (&b"SSH-2.0-OpenSSH_9.2\r\n"[..], 0),
        (b"220 mail.example.com ESMTP\r\n", 0),
        (b"HTTP/2 200\r\n", 5),
        (b"HTTPS/1.1 200 OK\r\n", 4),
        (b"http/1.1 200 OK\r\n", 0),
        (b"HTTP/1.1 100 Continue\r\n\r\n* OK IMAP4rev1\r\n", 25),
    ] {
        assert_eq!(verify(&bytes[..right]), Ok(None), "{bytes:?}");
        for len in right + 1..=bytes.len() {
            let got = verify(&bytes[..len]);
            assert_eq!(got, Err(HandshakeError::Malformed), "{bytes:?}, {len}");
        }
    }
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
        for cut in (0..all.len()).step_by(if cfg!(miri) { 5 } else { 1 }) {
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

/// What a client tells of a server that it gives up.
#[test]
fn faults_of_an_answer_are_named() {
    let accept = format!("Sec-WebSocket-Accept: {ACCEPT}");
    let all = ["Upgrade: websocket", "Connection: Upgrade", &accept];
    let of = |line: &str, fields: &[&str]| {
        let lines = [&[line], fields, &["", ""]].concat().join("\r\n");
        let offered = ["json".to_string()];
        let verdict = client::verify(lines.as_bytes(), KEY, &offered, &HeadLimits::default());
        verdict
            .map(|found| found.is_some())
            .map_err(|error| error.to_string())
    };
    let wrong = |fields: &[&str]| of("HTTP/1.1 101 x", fields).unwrap_err();
    assert_eq!(of("HTTP/1.1 101 x", &all), Ok(true));
    assert_eq!(
        of("HTTP/1.1 403 x", &[]).unwrap_err(),
        "the server answered 403"
    );
    assert_eq!(
        of("ICY 200 OK", &[]).unwrap_err(),
        "the answer is not HTTP/1.1"
    );
    assert_eq!(
        of("HTTP/1.1 099 x", &[]).unwrap_err(),
        "the answer is not HTTP/1.1"
    );
    assert_eq!(
        wrong(&all[1..]),
        "invalid handshake: not Upgrade: websocket"
    );
    assert_eq!(
        wrong(&[all[0], all[2]]),
        "invalid handshake: no Connection: Upgrade"
    );
    assert_eq!(
        wrong(&all[..2]),
        "invalid handshake: wrong Sec-WebSocket-Accept"
    );
    let with = |more: &[&str]| wrong(&[&all, more].concat());
    let json = "Sec-WebSocket-Protocol: json";
    let not_offered = "invalid handshake: a subprotocol that was not offered";
    assert_eq!(with(&["Sec-WebSocket-Protocol: xml"]), not_offered);
    assert_eq!(with(&[json, json]), not_offered);
    let extension = with(&["Sec-WebSocket-Extensions: x"]);
    assert_eq!(
        extension,
        "invalid handshake: an extension that was not offered"
    );
    // As many lines as there may be.
    for (count, fits) in [(96, true), (97, true), (98, false)] {
        let fields = [&all[..], &vec!["X: y"; count]].concat();
        let verdict = of("HTTP/1.1 101 x", &fields);
        assert_eq!(verdict.is_ok(), fits, "{count}");
        assert!(fits || verdict == Err("the head of the answer is too large".into()));
    }
    let options = ClientOptions {
        host: "a b",
        ..options(&[], &[])
    };
    let error = client::request(&options, KEY).unwrap_err();
    assert!(error.to_string().starts_with("bad option: "), "{error}");
}
