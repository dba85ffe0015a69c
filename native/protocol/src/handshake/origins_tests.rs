//! Which pages are let in.

use super::origins::{Origins, Site};
use super::{HeadLimits, Request};

fn request(host: &str, origin: Option<&str>) -> Request {
    let origin = origin.map_or(String::new(), |o| format!("Origin: {o}\r\n"));
    let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{origin}\r\n");
    let parsed = Request::parse(head.as_bytes(), &HeadLimits::default());
    parsed.unwrap().unwrap().0
}

fn allowed(rules: &[&str], host: &str, origin: Option<&str>) -> bool {
    let request = request(host, origin);
    let origins = Origins::new(rules.iter().copied()).unwrap();
    origins.allow(&request, &Site::of(&request))
}

fn table(rules: &[&str], good: &[&str], bad: &[&str]) {
    for origin in good {
        assert!(allowed(rules, "x", Some(origin)), "{rules:?} {origin}");
    }
    for origin in bad {
        assert!(!allowed(rules, "x", Some(origin)), "{rules:?} {origin}");
    }
}

#[test]
fn an_origin_is_scheme_host_and_port() {
    table(
        &["https://a.example", "http://b.example:8080"],
        &[
            "https://a.example",
            "HTTPS://A.Example",
            "https://a.example:443",
            "https://a.example:00443",
            "https://a.example:",
            "http://b.example:8080",
        ],
        &[
            "http://a.example",
            "https://a.example:8443",
            "https://a.example:80",
            "https://a.example:65979",
            "https://a.example.",
            "https://a.example.evil.net",
            "https://xa.example",
            "https://a.example/",
            "https://user@a.example",
            "https://a.example https://b.example",
            "http://b.example",
            "http://b.example:80",
            "null",
            "NULL",
            "a.example",
            "",
            "https://",
            "https://*",
            "https://a.example:*",
            "file://",
        ],
    );
}

#[test]
fn requests_without_an_origin() {
    assert!(allowed(&["https://a.example"], "x", None));
    assert!(allowed(&[], "x", None));
    assert!(!allowed(&[], "x", Some("https://a.example")));
}

#[test]
fn a_star_is_one_label_or_more() {
    table(
        &["https://*.example.com"],
        &[
            "https://a.example.com",
            "https://a.b.example.com:443",
            "https://a.b.c.example.com",
            "https://A.Example.COM",
        ],
        &[
            "https://example.com",
            "https://.example.com",
            "https://..example.com",
            "https://a..example.com",
            "https://badexample.com",
            "http://a.example.com",
            "https://a.example.com:444",
            "https://a.example.com.evil.net",
            "https://*.example.com",
        ],
    );
}

#[test]
fn a_star_is_any_port() {
    let ports = ["", ":", ":1", ":80", ":443", ":3000", ":65535"];
    for port in ports {
        for (rule, host) in [
            ("http://localhost:*", "http://localhost"),
            ("http://127.0.0.1:*", "http://127.0.0.1"),
            ("http://[::1]:*", "http://[::1]"),
            ("https://*.a.example:*", "https://b.c.a.example"),
        ] {
            let origin = format!("{host}{port}");
            assert!(allowed(&[rule], "x", Some(&origin)), "{rule} {origin}");
        }
    }
    table(
        &["http://localhost:*"],
        &[],
        &[
            "https://localhost",
            "http://localhost:65536",
            "http://localhost:*",
            "http://localhost.evil.net",
            "http://x.localhost",
            "http://localhost:80:80",
        ],
    );
}

#[test]
fn pages_without_an_origin_and_files() {
    table(
        &["null"],
        &["null"],
        &["http://null", "file://", "Null", "null null", "https://x"],
    );
    table(
        &["file://"],
        &["file://", "FILE://"],
        &[
            "null",
            "file:///",
            "file:///a",
            "file://x",
            "file://:80",
            "http://x",
        ],
    );
    // Pages that a program brings along.
    let own = [
        "app://.",
        "capacitor://localhost",
        "chrome-extension://abc",
        "x.y+z-1://a",
    ];
    table(
        &own,
        &own,
        &[
            "app://..",
            "app://",
            "capacitor://evil",
            "chrome-extension://abd",
        ],
    );
}

#[test]
fn addresses_have_one_spelling() {
    table(
        &["http://[0:0:0:0:0:0:0:1]:8080", "http://[::ffff:1.2.3.4]"],
        &["http://[::1]:8080", "http://[::ffff:102:304]:80"],
        &[
            "http://[::1]",
            "http://[::2]:8080",
            "http://1.2.3.4",
            "http://[::1",
        ],
    );
}

#[test]
fn the_same_host_is_what_the_request_names() {
    for (host, origin) in [
        ("a.example", "http://a.example"),
        ("a.example", "https://a.example"),
        ("a.example:443", "https://a.example"),
        ("a.example:0443", "https://a.example"),
        ("a.example:", "https://a.example"),
        ("A.example:8080", "http://a.EXAMPLE:8080"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("[0:0::1]", "http://[::1]"),
    ] {
        assert!(
            allowed(&["same_host"], host, Some(origin)),
            "{host} {origin}"
        );
    }
    for (host, origin) in [
        ("a.example", "http://b.example"),
        ("a.example:8080", "http://a.example"),
        ("a.example", "http://a.example:8080"),
        ("a.example:443", "http://a.example"),
        ("", "http://"),
        ("", "file://"),
        ("a.example", "null"),
    ] {
        assert!(
            !allowed(&["same_host"], host, Some(origin)),
            "{host} {origin}"
        );
    }
}

#[test]
fn the_scheme_counts_where_it_is_known() {
    for (is_secure, host, origin, expected) in [
        (Some(true), "a", "https://a", true),
        (Some(true), "a:443", "https://a", true),
        (Some(true), "a:8443", "https://a:8443", true),
        (Some(true), "a", "http://a", false),
        (Some(true), "a:80", "http://a", false),
        (Some(true), "a", "app://a", false),
        (Some(false), "a", "http://a", true),
        (Some(false), "a", "https://a", false),
        (None, "a", "http://a", true),
        (None, "a", "https://a", true),
        (None, "a", "app://a", true),
    ] {
        let request = request("inner:1", Some(origin));
        let site = Site {
            host: Some(host.as_bytes()),
            is_secure,
        };
        let origins = Origins::new(["same_host"]).unwrap();
        let allowed = origins.allow(&request, &site);
        assert_eq!(allowed, expected, "{is_secure:?} {host} {origin}");
    }
}

#[test]
fn invalid_rules_are_named() {
    for rule in [
        "",
        "a.example",
        "any",
        "Null",
        "https://a*.example",
        "https://a.*.example",
        "https://*.*.example",
        "https://a.example/",
        "https://a.example/x",
        "https://a.example?x",
        "https://user@a.example",
        "*",
        "*://a.example",
        "https://*",
        "https://*:*",
        "https://*.",
        "https://*.:*",
        "https://*.[::1]",
        "https://*.0.0.1",
        "https://.a.example",
        "https://a..example",
        "https://a.example:65536",
        "https://a.example:8*",
        "https://a.example:443:*",
        "https://a.example:-1",
        "https://a.example:+1",
        "https://a b",
        "https://[::1",
        "https://[::zz]",
        "https://[1.2.3.4]",
        "https://[::1]x",
        "https://[::1]443",
        "https://[fe80::1%25eth0]",
        "https://bücher.example",
        "https:a.example",
        "https:/a.example",
        "https://",
        "1https://a.example",
        "://a.example",
        "file:///",
        "file://:*",
        "file:///x",
    ] {
        assert_eq!(Origins::new(["null", rule]), Err(rule));
    }
}
