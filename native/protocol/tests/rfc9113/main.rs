//! Heads of HTTP/2 (RFC 9113, RFC 8441): what is a request, what is refused, and what breaks the rules.

#![allow(clippy::unwrap_used, clippy::panic)]

use sockeye_protocol::handshake::http2::{RequestHead, head, trailers};
use sockeye_protocol::handshake::{HeadLimits, ServerPolicy, server};
use sockeye_protocol::hpack::{Decoder, HpackError};

/// Fields, literally.
fn block(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name.as_bytes(), value] {
            match u8::try_from(text.len()) {
                Ok(length) if length < 127 => block.push(length),
                _ => {
                    let mut rest = text.len() - 127;
                    block.push(127);
                    while rest > 127 {
                        block.push(0x80 | (rest & 127) as u8);
                        rest >>= 7;
                    }
                    block.push(rest as u8);
                }
            }
            block.extend_from_slice(text);
        }
    }
    block
}

fn read(fields: &[(&str, &[u8])]) -> RequestHead {
    head(
        &mut Decoder::default(),
        &block(fields),
        &HeadLimits::default(),
    )
    .unwrap()
}

const GET: [(&str, &[u8]); 4] = [
    (":method", b"GET"),
    (":scheme", b"http"),
    (":path", b"/a?b"),
    (":authority", b"a.example"),
];

const WEBSOCKET: [(&str, &[u8]); 6] = [
    (":method", b"CONNECT"),
    (":protocol", b"websocket"),
    (":scheme", b"https"),
    (":path", b"/ws"),
    (":authority", b"a.example"),
    ("sec-websocket-version", b"13"),
];

/// These fields, some of them with another value or none, and others behind them.
fn with<'a>(
    base: &[(&'a str, &'a [u8])],
    name: &'a str,
    value: Option<&'a [u8]>,
) -> Vec<(&'a str, &'a [u8])> {
    let known = base.iter().any(|(other, _)| *other == name);
    let kept = base.iter().filter_map(|&(other, was)| match other == name {
        true => Some((other, value?)),
        false => Some((other, was)),
    });
    let new = value.filter(|_| !known).map(|value| (name, value));
    kept.chain(new).collect()
}

fn status(fields: &[(&str, &[u8])]) -> Option<u16> {
    match read(fields) {
        RequestHead::Request { .. } => Some(200),
        RequestHead::Refused(refusal) => Some(refusal.status),
        RequestHead::Malformed => None,
    }
}

#[test]
fn a_request_is_one_of_http_1_1() {
    let more: [(&str, &[u8]); 5] = [
        ("cookie", b"a=b"),
        ("x-a", b""),
        ("cookie", b"c=d"),
        ("content-length", b"5"),
        ("te", b"trailers"),
    ];
    let RequestHead::Request {
        request,
        connects: false,
        content_length: Some(5),
    } = read(&[&GET[..], &more].concat())
    else {
        panic!("no request");
    };
    assert_eq!((request.method(), request.target()), ("GET", "/a?b"));
    assert_eq!((request.path(), request.query()), ("/a", "b"));
    let fields: Vec<_> = request.headers().iter().collect();
    assert_eq!(fields[0], ("host", &b"a.example"[..]));
    assert_eq!(request.header("cookie"), Some(&b"a=b; c=d"[..]));
    assert_eq!(request.headers().count("cookie"), 1);
    let RequestHead::Request {
        connects: true,
        content_length: None,
        ..
    } = read(&WEBSOCKET)
    else {
        panic!("no WebSocket");
    };
    // Only a header named host is left out where it says what is known.
    let same: [(&str, &[u8]); 2] = [("host", b"a.example"), ("x-host", b"a.example")];
    let RequestHead::Request { request, .. } = read(&[&GET[..], &same].concat()) else {
        panic!("no request");
    };
    assert_eq!(request.header("x-host"), Some(&b"a.example"[..]));
    assert_eq!(request.headers().count("host"), 1);
}

#[test]
fn fields_of_the_request_line() {
    for (name, value, expected) in [
        (":method", None, None),
        (":method", Some(&b"POST"[..]), Some(200)),
        (":method", Some(b"BREW"), Some(200)),
        (":method", Some(b""), None),
        (":method", Some(b"G T"), None),
        (":method", Some(b"GET\r\n"), None),
        (":scheme", None, None),
        (":scheme", Some(b"https"), Some(200)),
        (":scheme", Some(b"HTTP"), Some(200)),
        (":scheme", Some(b"ftp"), Some(400)),
        (":scheme", Some(b"ws"), Some(400)),
        (":scheme", Some(b""), None),
        (":scheme", Some(b"http\r"), None),
        (":scheme", Some(b"http\n"), None),
        (":scheme", Some(b"http:"), None),
        (":scheme", Some(b" http"), None),
        (":path", None, None),
        (":path", Some(b""), None),
        (":path", Some(b"*"), None),
        (":path", Some(b"no/slash"), None),
        (":path", Some(b"http://a/"), None),
        (":path", Some(b"/a b"), None),
        (":path", Some(b"/\0"), None),
        (":path", Some(b"/\r\n"), None),
        (":path", Some(b"/\x7f"), None),
        (":path", Some(b"/\xff"), None),
        (":path", Some(b"/#f"), Some(400)),
        (":path", Some(b"/?q=<x>\"{}|\\^`"), Some(200)),
        (":authority", None, Some(400)),
        (":authority", Some(b""), Some(200)),
        (":authority", Some(b"a:80"), Some(200)),
        (":authority", Some(b"a:port"), Some(400)),
        (":authority", Some(b"a:99999"), Some(400)),
        (":authority", Some(b"user@a"), Some(400)),
        (":authority", Some(b"[zz]:1"), Some(400)),
        (":authority", Some(b"::1"), Some(400)),
        (":authority", Some(b"a/b"), Some(400)),
        (":authority", Some(b"a\0"), None),
        (":authority", Some(b"a b"), None),
        (":protocol", Some(b"websocket"), None),
        (":status", Some(b"200"), None),
        (":other", Some(b"x"), None),
        (":", Some(b"x"), None),
    ] {
        let fields = with(&GET, name, value);
        assert_eq!(status(&fields), expected, "{name} {value:?}");
    }
    let options = with(
        &with(&GET, ":method", Some(b"OPTIONS")),
        ":path",
        Some(b"*"),
    );
    assert_eq!(status(&options), Some(200));
    for (name, value) in GET {
        let twice = [&GET[..], &[(name, value)]].concat();
        assert_eq!(status(&twice), None, "{name} twice");
        let late = [
            with(&GET, name, None),
            vec![("x", &b"y"[..]), (name, value)],
        ]
        .concat();
        assert_eq!(status(&late), None, "{name} behind a header");
    }
}

#[test]
fn websockets() {
    for (name, value, expected) in [
        (":protocol", None, None),
        (":protocol", Some(&b"WebSocket"[..]), Some(200)),
        (":protocol", Some(b"other"), Some(501)),
        (":protocol", Some(b"websocket\r"), None),
        (":protocol", Some(b"web socket"), None),
        (":protocol", Some(b""), None),
        (":method", Some(b"GET"), None),
        (":method", Some(b"connect"), None),
        (":scheme", None, None),
        (":scheme", Some(b"ftp"), Some(400)),
        (":path", None, None),
        (":authority", None, Some(400)),
        ("content-length", Some(b"0"), Some(200)),
        ("content-length", Some(b"5"), Some(400)),
    ] {
        let fields = with(&WEBSOCKET, name, value);
        assert_eq!(status(&fields), expected, "{name} {value:?}");
    }
    // For a proxy.
    let proxy: [(&str, &[u8]); 2] = [(":method", b"CONNECT"), (":authority", b"a:80")];
    assert_eq!(status(&proxy), Some(501));
    // Neither for a proxy nor for us: RFC 9113, 8.5.
    for (name, value) in [(":scheme", &b"http"[..]), (":path", b"/")] {
        assert_eq!(status(&with(&proxy, name, Some(value))), None, "{name}");
    }
}

#[test]
fn the_version_of_a_websocket() {
    for (version, taken) in [
        (Some(&b"13"[..]), true),
        (Some(b"12"), false),
        (None, false),
    ] {
        let fields = with(&WEBSOCKET, "sec-websocket-version", version);
        let RequestHead::Request { request, .. } = read(&fields) else {
            panic!("{version:?}");
        };
        match server::connect(&request, &ServerPolicy::default()) {
            Ok(upgrade) => assert!(taken && upgrade.accept.is_empty()),
            Err(refusal) => {
                assert!(!taken && refusal.status == 400);
                let answer = String::from_utf8(refusal.response()).unwrap();
                assert!(answer.contains("\r\nSec-WebSocket-Version: 13\r\n"));
            }
        }
    }
}

#[test]
fn every_byte_in_a_value_and_in_a_name() {
    for byte in 0..=255u8 {
        let value = [b'a', byte, b'b'];
        let good = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        let fields = with(&GET, "x", Some(&value));
        assert_eq!(status(&fields).is_some(), good, "value {byte}");
        let mut raw = block(&GET);
        raw.extend([0, 3, b'a', byte, b'b', 0]);
        let found = head(&mut Decoder::default(), &raw, &HeadLimits::default()).unwrap();
        let good = byte.is_ascii_lowercase()
            || byte.is_ascii_digit()
            || b"!#$%&'*+-.^_`|~".contains(&byte);
        assert_eq!(found != RequestHead::Malformed, good, "name {byte}");
    }
}

#[test]
fn headers() {
    for (name, value, expected) in [
        ("x", &b"a b"[..], Some(200)),
        ("x", b" a", None),
        ("x", b"a\t", None),
        ("", b"a", None),
        ("connection", b"close", None),
        ("proxy-connection", b"x", None),
        ("keep-alive", b"x", None),
        ("upgrade", b"websocket", None),
        ("transfer-encoding", b"chunked", None),
        ("te", b"gzip", None),
        ("te", b"trailers", Some(200)),
        ("content-length", b"-1", None),
        ("content-length", b"", None),
        ("content-length", b"0, 0", None),
        ("content-length", b"99999999999999999999", Some(400)),
        ("host", b"a.example", Some(200)),
        ("host", b"b.example", Some(400)),
    ] {
        let fields = [&GET[..], &[(name, value)]].concat();
        assert_eq!(status(&fields), expected, "{name}: {value:?}");
    }
    let alone = with(&with(&GET, ":authority", None), "host", Some(b"a.example"));
    assert_eq!(status(&alone), Some(200));
    let two: [(&str, &[u8]); 2] = [("content-length", b"0"), ("content-length", b"0")];
    assert_eq!(status(&[&GET[..], &two].concat()), None);
}

#[test]
fn limits_just_below_at_and_above() {
    let limits = HeadLimits {
        max_head_size: 400,
        max_headers: 3,
    };
    let read =
        |fields: &[(&str, &[u8])]| match head(&mut Decoder::default(), &block(fields), &limits) {
            Ok(RequestHead::Request { .. }) => Ok(200),
            Ok(RequestHead::Refused(refusal)) => Ok(refusal.status),
            Ok(RequestHead::Malformed) => Ok(0),
            Err(error) => Err(error),
        };
    let base: usize = GET.iter().map(|(n, v)| n.len() + v.len() + 32).sum();
    for (size, expected) in [
        (399, Ok(200)),
        (400, Ok(200)),
        (401, Ok(431)),
        (1599, Ok(431)),
        (1600, Ok(431)),
        (1601, Err(HpackError::TooLarge)),
    ] {
        let value = vec![b'y'; size - base - 33];
        assert_eq!(read(&with(&GET, "x", Some(&value))), expected, "{size}");
    }
    for (count, expected) in [(2, 200), (3, 200), (4, 431)] {
        let more = vec![("x", &b""[..]); count];
        assert_eq!(read(&[&GET[..], &more].concat()), Ok(expected), "{count}");
    }
    for (length, expected) in [(400, 431), (401, 414)] {
        let path = format!("/{}", "a".repeat(length - 1));
        assert_eq!(
            read(&with(&GET, ":path", Some(path.as_bytes()))),
            Ok(expected)
        );
    }
}

#[test]
fn trailers_are_fields_only() {
    let read = |fields: &[(&str, &[u8])]| {
        let limits = HeadLimits::default();
        trailers(&mut Decoder::default(), &block(fields), &limits).unwrap()
    };
    assert!(read(&[]));
    assert!(read(&[("x", b"y")]));
    assert!(!read(&[(":path", b"/")]));
    assert!(!read(&[("x", b"a\0")]));
    assert!(!read(&[("X", b"a")]));
}
