//! The PROXY protocol, and who is trusted to speak it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;
use sockeye_protocol::networks::{Networks, forwarded};
use sockeye_protocol::proxy::{Malformed, ProxyHeader, parse};

fn proxied(source: &str, destination: &str) -> ProxyHeader {
    ProxyHeader::Proxied {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    }
}

#[test]
fn lines() {
    let four = proxied("192.168.0.1:56324", "10.0.0.11:443");
    let six = proxied("[2001:db8::1]:1", "[::1]:65535");
    let good: [(&str, ProxyHeader); 6] = [
        ("PROXY TCP4 192.168.0.1 10.0.0.11 56324 443\r\n", four),
        ("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", six),
        (
            "PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n",
            proxied("0.0.0.0:0", "255.255.255.255:65535"),
        ),
        ("PROXY UNKNOWN\r\n", ProxyHeader::Local),
        (
            "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
            ProxyHeader::Local,
        ),
        ("PROXY UNKNOWN \r\n", ProxyHeader::Local),
    ];
    for (line, header) in good {
        let whole = format!("{line}GET / HTTP/1.1\r\n");
        assert_eq!(
            parse(whole.as_bytes()),
            Ok(Some((header, line.len()))),
            "{line}"
        );
        for cut in 0..line.len() {
            assert_eq!(parse(&line.as_bytes()[..cut]), Ok(None), "{line} {cut}");
        }
    }
}

#[test]
fn bad_lines() {
    let bad = [
        "GET / HTTP/1.1\r\n",
        "PROXX",
        "PROXY TCP4\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n",
        "PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8  2\r\n",
        "PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n",
        "PROXY TCP4 01.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
        "PROXY UNKNOWN\n",
        "PROXY UNKNOWN\u{e9}\n",
    ];
    for line in bad {
        assert_eq!(parse(line.as_bytes()), Err(Malformed), "{line:?}");
    }
}

#[test]
fn the_longest_line() {
    for (len, fits) in [(106, true), (107, true), (108, false)] {
        let line = format!("PROXY UNKNOWN {}\r\n", "x".repeat(len - 16));
        assert_eq!(line.len(), len);
        let parsed = parse(line.as_bytes());
        assert_eq!(
            parsed,
            if fits {
                Ok(Some((ProxyHeader::Local, len)))
            } else {
                Err(Malformed)
            }
        );
    }
    // Without an end, it is not waited for any longer.
    let endless = format!("PROXY UNKNOWN {}", "x".repeat(200));
    assert_eq!(parse(&endless.as_bytes()[..106]), Ok(None));
    assert_eq!(parse(&endless.as_bytes()[..107]), Err(Malformed));
}

fn binary(command: u8, family: u8, extra: &[u8]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([command, family]);
    bytes.extend((extra.len() as u16).to_be_bytes());
    bytes.extend(extra);
    bytes
}

fn block(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::new();
    for address in [source.ip(), destination.ip()] {
        match address {
            IpAddr::V4(v4) => bytes.extend(v4.octets()),
            IpAddr::V6(v6) => bytes.extend(v6.octets()),
        }
    }
    bytes.extend(source.port().to_be_bytes());
    bytes.extend(destination.port().to_be_bytes());
    bytes
}

#[test]
fn binary_headers() {
    let four: [SocketAddr; 2] = ["1.2.3.4:5".parse().unwrap(), "6.7.8.9:10".parse().unwrap()];
    let six: [SocketAddr; 2] = ["[1::2]:3".parse().unwrap(), "[4::5]:6".parse().unwrap()];
    let known = |[source, destination]: [SocketAddr; 2]| ProxyHeader::Proxied {
        source,
        destination,
    };
    let with_extra = [block(four[0], four[1]), vec![3, 0, 1, 7]].concat();
    let good = [
        (binary(0x21, 0x11, &block(four[0], four[1])), known(four)),
        (binary(0x21, 0x21, &block(six[0], six[1])), known(six)),
        (binary(0x21, 0x11, &with_extra), known(four)),
        (binary(0x20, 0x00, &[]), ProxyHeader::Local),
        (
            binary(0x20, 0x11, &block(four[0], four[1])),
            ProxyHeader::Local,
        ),
        (
            binary(0x20, 0x21, &block(six[0], six[1])),
            ProxyHeader::Local,
        ),
        (binary(0x21, 0x00, &[1, 2, 3]), ProxyHeader::Local),
        (
            binary(0x21, 0x12, &block(four[0], four[1])),
            ProxyHeader::Local,
        ),
        (binary(0x21, 0x31, &[0; 216]), ProxyHeader::Local),
        (binary(0x20, 0x00, &[0; 4096]), ProxyHeader::Local),
    ];
    for (bytes, header) in good {
        let whole = [&bytes[..], b"\x16\x03"].concat();
        assert_eq!(parse(&whole), Ok(Some((header, bytes.len()))));
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), Ok(None), "{cut}");
        }
    }
    let bad = [
        binary(0x11, 0x11, &block(four[0], four[1])),
        binary(0x22, 0x11, &block(four[0], four[1])),
        binary(0x21, 0x13, &block(four[0], four[1])),
        binary(0x21, 0x41, &block(four[0], four[1])),
        binary(0x21, 0x11, &[0; 11]),
        binary(0x21, 0x21, &[0; 35]),
        binary(0x20, 0x00, &[0; 4097]),
        b"\r\n\r\n\0\r\nQUIX".to_vec(),
        b"\x16\x03\x01".to_vec(),
    ];
    for bytes in bad {
        assert_eq!(parse(&bytes), Err(Malformed), "{bytes:?}");
    }
}

fn networks(list: &[(&str, u8)]) -> Networks {
    let mut networks = Networks::new();
    for (address, prefix) in list {
        assert!(networks.add(address.parse().unwrap(), *prefix));
    }
    networks
}

#[test]
fn prefixes() {
    let trusted = networks(&[
        ("10.1.0.0", 16),
        ("192.168.1.1", 32),
        ("fd00::", 8),
        ("::ffff:172.16.0.0", 108),
    ]);
    for inside in [
        "10.1.0.0",
        "10.1.255.255",
        "192.168.1.1",
        "fdff::1",
        "::ffff:10.1.2.3",
        "172.31.0.1",
    ] {
        assert!(trusted.contains(inside.parse().unwrap()), "{inside}");
    }
    for outside in [
        "10.0.255.255",
        "10.2.0.0",
        "192.168.1.0",
        "192.168.1.2",
        "fe00::1",
        "172.32.0.0",
        "::1",
    ] {
        assert!(!trusted.contains(outside.parse().unwrap()), "{outside}");
    }
    let all = networks(&[("0.0.0.0", 0)]);
    assert!(all.contains("255.255.255.255".parse().unwrap()));
    assert!(!all.contains("::1".parse().unwrap()));
    assert!(networks(&[("::", 0)]).contains("ff::".parse().unwrap()));
    let mut none = Networks::new();
    assert!(!none.add("1.2.3.4".parse().unwrap(), 33));
    assert!(!none.add("::".parse().unwrap(), 129));
    assert!(none.is_empty());
    assert!(!trusted.is_empty());
}

/// An IPv4 address in the clothes of an IPv6 address has 96 bits before it; a plain one has not.
#[test]
fn prefixes_of_addresses_of_both_kinds() {
    let mut networks = Networks::new();
    let mut add = |address: &str, prefix| networks.add(address.parse().unwrap(), prefix);
    for prefix in [33, 96, 104, 128] {
        assert!(!add("10.0.0.0", prefix), "{prefix}");
    }
    // All networks that are wider than all of IPv4.
    assert!(add("::ffff:10.0.0.0", 95) && add("::ffff:10.0.0.0", 0));
    assert!(!add("::ffff:10.0.0.0", 129));
    assert!(!networks.contains("10.0.0.1".parse().unwrap()));
    assert!(networks.add("::ffff:10.0.0.0".parse().unwrap(), 96));
    assert!(networks.contains("192.168.0.1".parse().unwrap()));
}

#[test]
fn the_last_stranger_is_the_client() {
    let trusted = networks(&[("10.0.0.0", 8)]);
    let cases = [
        ("1.2.3.4", Some("1.2.3.4")),
        ("6.6.6.6, 1.2.3.4", Some("1.2.3.4")),
        ("6.6.6.6, 1.2.3.4, 10.0.0.2, 10.0.0.3", Some("1.2.3.4")),
        ("10.0.0.2", Some("10.0.0.2")),
        ("10.0.0.1, 10.0.0.2", Some("10.0.0.1")),
        ("1.2.3.4:567, 10.0.0.2:1", Some("1.2.3.4")),
        ("2001:db8::1", Some("2001:db8::1")),
        ("[2001:db8::1]", Some("2001:db8::1")),
        ("[2001:db8::1]:80", Some("2001:db8::1")),
        ("::ffff:1.2.3.4", Some("1.2.3.4")),
        ("garbage, 1.2.3.4", Some("1.2.3.4")),
        ("1.2.3.4, unknown", None),
        ("1.2.3.4, [::1", None),
        ("1.2.3.4, [::1]x", None),
        ("", None),
    ];
    for (value, client) in cases {
        let entries = value.split(',').map(|entry| entry.trim().as_bytes());
        let found = forwarded(entries, &trusted);
        assert_eq!(
            found,
            client.map(|client| client.parse().unwrap()),
            "{value}"
        );
    }
}

proptest! {
    #[test]
    fn a_line_says_what_was_written(source: SocketAddr, port: u16) {
        let destination = SocketAddr::new(source.ip(), port);
        let (family, byte) = if source.is_ipv4() { ("TCP4", 0x11) } else { ("TCP6", 0x21) };
        let line = format!("PROXY {family} {} {} {} {port}\r\n", source.ip(), source.ip(), source.port());
        let plain = |address: SocketAddr| SocketAddr::new(address.ip(), address.port());
        let header = ProxyHeader::Proxied { source: plain(source), destination: plain(destination) };
        prop_assert_eq!(parse(line.as_bytes()), Ok(Some((header, line.len()))));
        let bytes = binary(0x21, byte, &block(source, destination));
        prop_assert_eq!(parse(&bytes), Ok(Some((header, bytes.len()))));
    }

    #[test]
    fn more_bytes_change_no_decision(bytes: Vec<u8>, start in 0usize..3, cut: prop::sample::Index) {
        let starts: [&[u8]; 3] = [b"", b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"];
        let whole = [starts[start], &bytes].concat();
        let cut = cut.index(whole.len() + 1);
        match parse(&whole[..cut]) {
            Ok(None) => {}
            decided => prop_assert_eq!(parse(&whole), decided),
        }
    }
}
