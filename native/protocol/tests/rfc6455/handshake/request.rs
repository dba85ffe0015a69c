//! Heads of requests, whatever they ask for.

use super::*;

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

/// What a server behind this one is asked for, and for what files are looked up.
#[test]
fn targets_as_they_came() {
    for (line, path, raw, rest) in [
        (
            "GET /a%62/%2f?x=%61",
            "/ab/%2F",
            "/a%62/%2f",
            "/a%62/%2f?x=%61",
        ),
        ("GET /", "/", "/", "/"),
        ("GET http://example.com", "/", "/", "/"),
        ("GET http://example.com?q", "/", "/", "/?q"),
        ("GET http://example.com/%61?q", "/a", "/%61", "/%61?q"),
        ("OPTIONS *", "*", "*", "*"),
    ] {
        let request = parse(&head(&format!("{line} HTTP/1.1"), &[], &[])).unwrap();
        assert_eq!((request.path(), request.raw_path()), (path, raw), "{line}");
        assert_eq!(request.path_and_query(), rest, "{line}");
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
fn connection_fields_of_a_request() {
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

/// Who allows more headers than most do gets as many.
#[test]
fn more_headers_than_usual() {
    let many = if cfg!(miri) { 195 } else { 995 };
    let lines: Vec<String> = (0..many).map(|n| format!("X-{n}: {n}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let bytes = head(GET, &[], &lines);
    let count = bytes.windows(2).filter(|pair| pair == b"\r\n").count() - 2;
    for (max_headers, read) in [(count - 1, false), (count, true), (count + 1, true)] {
        let limits = HeadLimits {
            max_head_size: 1 << 20,
            max_headers,
        };
        match Request::parse(&bytes, &limits) {
            Ok(Some((request, _))) => {
                let last = (many - 1).to_string();
                let value = request.header(&format!("x-{last}"));
                assert!(read && value == Some(last.as_bytes()));
            }
            other => assert!(!read && other.unwrap_err().status == 431),
        }
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
