//! The name of a server, as RFC 3986 writes it: `Host`, `:authority`, and that of an absolute target.

use std::net::Ipv6Addr;

/// Whether it is a host and perhaps a port, without a user. The host may be empty.
pub fn is_authority(bytes: &[u8]) -> bool {
    let (host, port) = split(bytes);
    is_port(port) && is_host(host)
}

/// Whether it names a server: an authority whose host is not empty.
pub fn names_a_host(bytes: &[u8]) -> bool {
    !split(bytes).0.is_empty() && is_authority(bytes)
}

/// The host, and what follows it: a colon and a port, or nothing.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let host_end = match bytes.first() {
        Some(b'[') => bytes.iter().position(|&b| b == b']').map(|end| end + 1),
        _ => bytes.iter().position(|&b| b == b':'),
    };
    bytes.split_at(host_end.unwrap_or(bytes.len()))
}

fn is_port(port: &[u8]) -> bool {
    let Some((colon, digits)) = port.split_first() else {
        return true;
    };
    let number = || str::from_utf8(digits).ok()?.parse::<u16>().ok();
    let digits_only = digits.iter().all(u8::is_ascii_digit);
    *colon == b':' && digits_only && (digits.is_empty() || number().is_some())
}

fn is_host(host: &[u8]) -> bool {
    match host.strip_prefix(b"[") {
        Some(literal) => literal.strip_suffix(b"]").is_some_and(is_ip_literal),
        None => is_name(host),
    }
}

/// IPv6 without a zone, which means something to its own machine only, or an address of the future.
fn is_ip_literal(literal: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(literal) else {
        return false;
    };
    let of_the_future = || {
        let (version, address) = text.strip_prefix(['v', 'V'])?.split_once('.')?;
        let digits = !version.is_empty() && version.bytes().all(|b| b.is_ascii_hexdigit());
        let allowed = |b: u8| is_plain(b) || b == b':';
        (digits && !address.is_empty() && address.bytes().all(allowed)).then_some(())
    };
    text.parse::<Ipv6Addr>().is_ok() || of_the_future().is_some()
}

fn is_name(name: &[u8]) -> bool {
    let mut rest = name;
    while let Some((&byte, more)) = rest.split_first() {
        rest = match (byte, more) {
            (b'%', [high, low, after @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                after
            }
            _ if is_plain(byte) => more,
            _ => return false,
        };
    }
    true
}

/// What may stand in a name as it is. Not the comma, though RFC 3986 has it: some join two fields with it.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities() {
        for good in [
            "",
            "a",
            ":80",
            "localhost:",
            "localhost:0",
            "localhost:65535",
            "localhost:00080",
            "127.0.0.1:8080",
            "[::1]",
            "[::1]:80",
            "[::ffff:192.0.2.1]",
            "[v1.a:b]",
            "a.example.",
            "xn--bcher-kva.example",
            "a%20b",
            "a_b~!$&'()*+;=",
        ] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "localhost:port",
            "localhost:65536",
            "example.com:99999",
            "localhost:-1",
            "localhost:+1",
            "localhost:1:2",
            "localhost: 80",
            "::1",
            "[zz]",
            "[zz]:1",
            "[::1",
            "[]",
            "[::1]a",
            "[::1]80",
            "[fe80::1%eth0]",
            "[fe80::1%25eth0]",
            "[v.a]",
            "[v1.]",
            "[1.2.3.4]",
            "user@a",
            "user:pass@a",
            "a/b",
            "a b",
            "a,b",
            "a?b",
            "a#b",
            "a\\b",
            "<a>",
            "a%",
            "a%2",
            "a%zz",
            "a%2g",
            "a%g2",
            "ä",
            "a\0",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
        assert!(names_a_host(b"a:80") && !names_a_host(b"") && !names_a_host(b":80"));
    }
}
