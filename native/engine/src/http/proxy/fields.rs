//! Header fields that are forwarded, of a request and of a response.

use std::fmt::Write;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use sockeye_protocol::handshake::{Headers, Request};

use crate::admission::forwarded;
use crate::net::peer::PeerInfo;
use crate::server::Server;

/// Fields that speak of one connection, and those that are written anew.
const OF_CONNECTION: [&str; 13] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "trailer",
    "content-length",
    "host",
    "expect",
];

/// What a field has to begin with to say who a client is; the others of that kind are here.
const FORWARDED: &str = "x-forwarded-";
const OF_CLIENTS: [&str; 6] = [
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "x-original-forwarded-for",
];

/// Fields of this connection's proxy, which are written anew.
const OWN: [&str; 4] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

/// Fields of trailers that decide about a message, or let somebody in.
const NOT_IN_TRAILERS: [HeaderName; 6] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::SET_COOKIE,
    header::CACHE_CONTROL,
];

/// Whether the server behind reads this path as this one does: it leads through no `.` or `..`, in whatever spelling, and has
/// nothing that some readers take for the end of it.
pub(super) fn is_plain(path: &str) -> bool {
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        let digits = match byte {
            b'\\' => return false,
            b'%' => [rest.next(), rest.next()],
            _ => continue,
        };
        match digits {
            [Some(b'0'), Some(b'0')] => return false,
            [Some(a), Some(b)] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {}
            _ => return false,
        }
    }
    // Behind a semicolon some servers see parameters of the segment.
    let lower = path.to_ascii_lowercase().replace("%2e", ".");
    let separated = lower
        .replace("%2f", "/")
        .replace("%5c", "/")
        .replace("%3b", ";");
    let mut names = separated
        .split('/')
        .map(|segment| segment.split(';').next().unwrap_or_default());
    !names.any(|name| name == "." || name == "..")
}

/// A name that all servers read alike: to some of them `_` is `-`.
fn is_common(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// The fields of a request for the server behind.
pub(super) fn of_request(server: &Server, carrier: &PeerInfo, request: &Request) -> HeaderMap {
    let headers = request.headers();
    let trusts =
        !server.config.trusted_proxies.is_empty() && forwarded::is_trusted(server, carrier);
    let named: Vec<&[u8]> = headers.list("connection").collect();
    let is_named = |name: &str| {
        named
            .iter()
            .any(|it| it.eq_ignore_ascii_case(name.as_bytes()))
    };
    let is_of_client = |name: &str| name.starts_with(FORWARDED) || OF_CLIENTS.contains(&name);
    let passes = |name: &str| {
        is_common(name)
            && !OF_CONNECTION.contains(&name)
            && !OWN.contains(&name)
            && !is_named(name)
            && (trusts || !is_of_client(name))
    };
    let mut out = HeaderMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| passes(name)) {
        put(&mut out, name, value);
    }
    if let Some(host) = headers.first("host") {
        put(&mut out, "host", host);
    }
    introduce(&mut out, server, carrier, request, trusts);
    out
}

fn put(out: &mut HeaderMap, name: &str, value: &[u8]) {
    let name = HeaderName::from_bytes(name.as_bytes());
    if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
        // More than the map holds are more than anybody may give.
        let _ = out.try_append(name, value);
    }
}

/// Says who the client is, and what it asked for. What a proxy that we trust has said stands before.
fn introduce(
    out: &mut HeaderMap,
    server: &Server,
    carrier: &PeerInfo,
    request: &Request,
    trusts: bool,
) {
    let headers = request.headers();
    let site = forwarded::site(server, carrier, request);
    let proto = match site.is_secure.unwrap_or(carrier.tls.is_some()) {
        true => "https",
        false => "http",
    };
    let before = |name| {
        if trusts {
            list(headers, name)
        } else {
            Vec::new()
        }
    };
    let ip = carrier.peer.ip();
    let mut chain = before("x-forwarded-for");
    chain.extend(ip.map(|ip| ip.to_string().into_bytes()));
    if !chain.is_empty() {
        put(out, "x-forwarded-for", &chain.join(&b", "[..]));
    }
    put(out, "x-forwarded-proto", proto.as_bytes());
    if let Some(host) = site.host {
        put(out, "x-forwarded-host", host);
    }
    let mut element = match ip {
        Some(ip) if ip.is_ipv6() => format!("for=\"[{ip}]\""),
        Some(ip) => format!("for={ip}"),
        None => "for=unknown".to_owned(),
    };
    // Writing to a string does not fail.
    let _ = write!(element, ";proto={proto}");
    let own = headers
        .first("host")
        .and_then(|host| str::from_utf8(host).ok());
    if let Some(host) = own.filter(|host| !host.contains(['"', '\\'])) {
        let _ = write!(element, ";host=\"{host}\"");
    }
    let mut elements = before("forwarded");
    elements.push(element.into_bytes());
    put(out, "forwarded", &elements.join(&b", "[..]));
}

fn list(headers: &Headers, name: &str) -> Vec<Vec<u8>> {
    headers.all(name).map(<[u8]>::to_vec).collect()
}

/// Leaves out of an answer what speaks of the connection to the server behind. Its length is told by its content,
/// where it has some.
pub(super) fn of_answer(headers: &mut HeaderMap, tells_length: bool) {
    let length = headers.get(header::CONTENT_LENGTH).cloned();
    strip(headers);
    if let Some(length) = length.filter(|_| tells_length) {
        headers.insert(header::CONTENT_LENGTH, length);
    }
}

/// The same of trailers.
pub(super) fn of_trailers(trailers: &mut HeaderMap) {
    strip(trailers);
    for name in NOT_IN_TRAILERS {
        trailers.remove(name);
    }
}

fn strip(headers: &mut HeaderMap) {
    let named = headers.get_all(header::CONNECTION).iter();
    let named = named
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok());
    let named: Vec<_> = named.collect();
    for name in named {
        headers.remove(name);
    }
    for name in OF_CONNECTION {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_elsewhere_behind() {
        for path in [
            "/",
            "//",
            "/a//b",
            "/a/b.c/...",
            "/.a/..b",
            "/%41%2f%7E",
            "/a;b/c;..",
            "/%2541",
        ] {
            assert!(is_plain(path), "{path}");
        }
        for path in [
            "/..",
            "/.",
            "/a/../b",
            "/a/./b",
            "/%2e%2E/b",
            "/.%2e",
            "/a/..;x/b",
            "/..%3bx",
            "/a%2f..%2fb",
            "/..%5cb",
            "/..\\b",
            "/a\\b",
            "/%",
            "/%4",
            "/%zz",
            "/%00",
            "/a%00b",
            "/%2e%2e/%zz",
        ] {
            assert!(!is_plain(path), "{path}");
        }
    }

    #[test]
    fn hop_by_hop_fields_are_not_forwarded() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-One"),
            ("connection", "x-two"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("content-length", "7"),
        ] {
            put(&mut headers, name, value.as_bytes());
        }
        let mut told = headers.clone();
        of_answer(&mut headers, false);
        assert_eq!(headers.len(), 1);
        assert_eq!(headers["x-three"], "3");
        of_answer(&mut told, true);
        assert_eq!(told["content-length"], "7");
    }
}
