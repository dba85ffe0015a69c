//! URLs that a client connects to: `ws`, `wss` and `ws+unix`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::net::zone::is_zone;

/// The most bytes that a URL may have.
const MAX_URL: usize = 8 * 1024;

/// What a URL leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A host name or address, and a port.
    Inet(Host, u16),
    /// A Unix socket: a path, or a zero byte and an abstract name.
    Unix(Vec<u8>),
}

/// The host of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name, in lower case.
    Name(String),
    /// An address.
    Ip(IpAddr),
    /// An address on one of our networks: the name of its interface, or the number of that.
    Zoned(Ipv6Addr, String),
}

/// As others get to see it: a zone has a meaning on this machine only (RFC 6874, 4).
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            Host::Ip(IpAddr::V6(ip)) | Host::Zoned(ip, _) => write!(f, "[{ip}]"),
        }
    }
}

/// A parsed URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Whether TLS is spoken there.
    pub tls: bool,
    /// Where to connect.
    pub destination: Destination,
    /// Path and query, beginning with `/`.
    pub target: String,
    /// User and password, `user:password`, percent-decoded.
    pub credentials: Option<Vec<u8>>,
}

/// Why a text is no URL of a WebSocket; a phrase for people.
pub(crate) type BadUrl = &'static str;

impl Url {
    /// Reads `ws://[user:password@]host[:port][/path][?query]`, the same with `wss`, or
    /// `ws+unix:/path/of/socket[:/path[?query]]`. A fragment is refused, since it has no
    /// meaning for a WebSocket (RFC 6455, 3). An IPv6 address may have a zone, as in
    /// `[fe80::1%25eth0]` (RFC 6874).
    pub fn parse(text: &str) -> Result<Url, &'static str> {
        if text.len() > MAX_URL {
            return Err("longer than 8192 bytes");
        }
        if !text.bytes().all(|b| (0x21..=0x7e).contains(&b)) {
            return Err("only visible ASCII: percent-encode a path, write a host in Punycode");
        }
        if text.contains('#') {
            return Err("a fragment has no meaning here");
        }
        let (scheme, rest) = text.split_once(':').unwrap_or_default();
        match scheme.to_ascii_lowercase().as_str() {
            "ws" => Url::inet(rest, false),
            "wss" => Url::inet(rest, true),
            "ws+unix" => Url::unix(rest),
            _ => Err("expected a URL that begins with ws://, wss:// or ws+unix:"),
        }
    }

    fn inet(rest: &str, tls: bool) -> Result<Url, BadUrl> {
        let rest = rest.strip_prefix("//").ok_or("expected // and a host")?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (credentials, host_port) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(decode(user)?), host),
            None => (None, authority),
        };
        let (host, port) = host_and_port(host_port)?;
        Ok(Url {
            tls,
            destination: Destination::Inet(host, port.unwrap_or(if tls { 443 } else { 80 })),
            target: rooted(target),
            credentials,
        })
    }

    fn unix(rest: &str) -> Result<Url, BadUrl> {
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (path, target) = match rest.split_once(':') {
            Some((path, target)) if target.starts_with(['/', '?']) => (path, target),
            Some(_) => return Err("expected a path behind the name of the socket"),
            None => (rest, ""),
        };
        let mut name = decode(path)?;
        match name.first_mut() {
            Some(b'/') => {}
            Some(at) if *at == b'@' => *at = 0,
            _ => return Err("expected the whole path of a socket"),
        }
        Ok(Url {
            tls: false,
            destination: Destination::Unix(name),
            target: rooted(target),
            credentials: None,
        })
    }

    /// The value of the header `Host`: without the port where it is the scheme's own.
    pub fn authority(&self) -> String {
        match &self.destination {
            Destination::Inet(host, port) if *port == self.default_port() => host.to_string(),
            Destination::Inet(host, port) => format!("{host}:{port}"),
            Destination::Unix(_) => "localhost".into(),
        }
    }

    fn default_port(&self) -> u16 {
        if self.tls { 443 } else { 80 }
    }
}

/// A host and the port behind it, if there is one.
pub(crate) fn host_and_port(text: &str) -> Result<(Host, Option<u16>), BadUrl> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (ip, rest) = rest.split_once(']').ok_or("[ without ]")?;
            let (ip, zone) = match ip.split_once('%') {
                Some((ip, name)) => (ip, Some(zone(name)?)),
                None => (ip, None),
            };
            let ip: Ipv6Addr = ip.parse().map_err(|_| "not an IPv6 address")?;
            let host = match zone {
                Some(zone) => Host::Zoned(ip, zone),
                None => Host::Ip(ip.into()),
            };
            let port = match rest.strip_prefix(':') {
                Some(port) => Some(port),
                None if rest.is_empty() => None,
                None => return Err("expected a port behind ]"),
            };
            (host, port)
        }
        None => {
            let (host, port) = match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            };
            (name(host)?, port)
        }
    };
    let port = match port {
        // "host:" stands for the port of the scheme.
        None | Some("") => None,
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => match port.parse() {
            Ok(0) | Err(_) => return Err("the port is not in 1..65535"),
            Ok(port) => Some(port),
        },
        Some(_) => return Err("the port is not a number"),
    };
    Ok((host, port))
}

/// What follows the percent sign: that is encoded itself.
fn zone(text: &str) -> Result<String, BadUrl> {
    const FORM: BadUrl = "expected %25 and the name of an interface behind the address";
    let name = text.strip_prefix("25").ok_or(FORM)?;
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~%".contains(&b);
    let name = String::from_utf8(decode(name)?).map_err(|_| FORM)?;
    let valid = text.bytes().all(unreserved) && is_zone(&name);
    valid.then_some(name).ok_or(FORM)
}

fn name(host: &str) -> Result<Host, BadUrl> {
    if host.is_empty() {
        return Err("no host");
    }
    if let Ok(ip) = host.parse() {
        return Ok(Host::Ip(ip));
    }
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if host.len() > 253 || !host.bytes().all(fits) {
        return Err("not a host name");
    }
    Ok(Host::Name(host.to_ascii_lowercase()))
}

fn rooted(target: &str) -> String {
    if target.starts_with('/') {
        target.into()
    } else {
        format!("/{target}")
    }
}

pub(crate) fn decode(text: &str) -> Result<Vec<u8>, BadUrl> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || (bytes.next()? as char).to_digit(16);
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err("% without two hexadecimal digits");
        };
        out.push((high * 16 + low) as u8);
    }
    if out.iter().any(|b| b.is_ascii_control()) {
        return Err("a control character");
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inet(text: &str) -> (bool, String, u16, String) {
        let url = Url::parse(text).unwrap();
        match url.destination {
            Destination::Inet(host, port) => (url.tls, host.to_string(), port, url.target),
            Destination::Unix(_) => panic!("{text}"),
        }
    }

    #[test]
    fn urls_of_the_rfc() {
        let all = |tls, host: &str, port, target: &str| (tls, host.into(), port, target.into());
        for (text, want) in [
            ("ws://a", all(false, "a", 80, "/")),
            ("wss://A.Example", all(true, "a.example", 443, "/")),
            ("WS://a:8080/x/y?q=1&r", all(false, "a", 8080, "/x/y?q=1&r")),
            ("ws://a?q", all(false, "a", 80, "/?q")),
            ("ws://a:/x", all(false, "a", 80, "/x")),
            ("ws://127.0.0.1:1/", all(false, "127.0.0.1", 1, "/")),
            ("wss://[::1]:65535/x", all(true, "[::1]", 65535, "/x")),
            ("ws://a/x@y:z", all(false, "a", 80, "/x@y:z")),
            (
                "ws://[FE80::1%25eth0]:81/",
                all(false, "[fe80::1]", 81, "/"),
            ),
        ] {
            assert_eq!(inet(text), want, "{text}");
        }
    }

    #[test]
    fn credentials_are_decoded_and_not_part_of_the_host() {
        let url = Url::parse("ws://me%40home:p%3Aw@host/x").unwrap();
        assert_eq!(url.credentials.as_deref(), Some(&b"me@home:p:w"[..]));
        assert_eq!(url.authority(), "host");
    }

    #[test]
    fn the_host_header_names_a_port_that_is_not_the_schemes() {
        for (text, want) in [
            ("ws://a:80", "a"),
            ("ws://a:443", "a:443"),
            ("wss://a:443", "a"),
            ("wss://[::1]:80", "[::1]:80"),
            ("ws+unix:/tmp/s", "localhost"),
        ] {
            assert_eq!(Url::parse(text).unwrap().authority(), want);
        }
    }

    #[test]
    fn zones() {
        for (text, zone) in [
            ("ws://[fe80::1%25eth0]:80/", "eth0"),
            ("wss://[fe80::1%25en1]", "en1"),
            ("ws://[fe80::1%252]/", "2"),
            ("ws://me:pw@[fe80::1%25eth0.7]/", "eth0.7"),
            ("ws://[fe80::1%25e%74h0]/", "eth0"),
            ("ws://[fe80::1%25a%3ab]/", "a:b"),
        ] {
            let url = Url::parse(text).unwrap();
            let Destination::Inet(Host::Zoned(ip, name), _) = &url.destination else {
                panic!("{text}");
            };
            assert_eq!((&*ip.to_string(), &**name), ("fe80::1", zone), "{text}");
            assert_eq!(url.authority(), "[fe80::1]", "{text}");
        }
        for text in [
            "ws://[fe80::1%eth0]/",
            "ws://[fe80::1%]/",
            "ws://[fe80::1%25]/",
            "ws://[fe80::1%25%25]/",
            "ws://[fe80::1%25a%2fb]/",
            "ws://[fe80::1%25a%00]/",
            "ws://[fe80::1%25a%ff]/",
            "ws://[fe80::1%25a:b]/",
            "ws://[fe80::1%25a%2]/",
            "ws://[fe80::1%25a%25b]/",
            "ws://[%25eth0]/",
            "ws://[1.2.3.4%25eth0]/",
            "ws://fe80::1%25eth0/",
            "ws://a%25eth0/",
        ] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn unix_sockets() {
        for (text, name, target) in [
            ("ws+unix:/run/s.sock", &b"/run/s.sock"[..], "/"),
            ("ws+unix:///run/s.sock:/x?y", b"/run/s.sock", "/x?y"),
            ("ws+unix:/run/a%3Ab:/", b"/run/a:b", "/"),
            ("ws+unix:@name:/x", b"\0name", "/x"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!(
                (url.destination, &*url.target),
                (Destination::Unix(name.into()), target)
            );
        }
    }

    #[test]
    fn invalid_urls() {
        for text in [
            "",
            "ws",
            "ws:",
            "ws:/",
            "ws://",
            "ws:///x",
            "http://a",
            "//a",
            "ws://a#b",
            "ws://a b",
            "ws://a:b",
            "ws://a:0",
            "ws://a:65536",
            "ws://[::1",
            "ws://[x]",
            "ws://[::1]x",
            "ws://\u{e9}",
            "ws://a\r\nb",
            "ws://%00@a",
            "ws://%zz@a",
            "ws://a/\u{e9}",
            "ws://a,b",
            "ws+unix:relative",
            "ws+unix:",
            "ws+unix:/s:x",
        ] {
            assert!(Url::parse(text).is_err(), "{text:?}");
        }
        assert!(Url::parse(&format!("ws://a/{}", "x".repeat(MAX_URL - 7))).is_ok());
        assert!(Url::parse(&format!("ws://a/{}", "x".repeat(MAX_URL - 6))).is_err());
    }
}
