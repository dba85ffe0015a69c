//! Redirects: the new URL, and whether it may be followed.

use sockeye_protocol::handshake::Headers;

use crate::net::fault::RedirectError;
use crate::net::url::{Destination, Host, Url};

/// The most redirects that may be followed.
pub const MAX_REDIRECTS: u8 = 20;

/// Whether an answer sends us elsewhere.
pub(crate) fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// The next URL. It has the credentials of this one only if it leads to the same host and port,
/// or to the TLS of the same host; whatever the answer says, it has no others.
pub(crate) fn next(from: &Url, headers: &Headers) -> Result<Url, RedirectError> {
    let mut locations = headers.all("location");
    let (Some(location), None) = (locations.next(), locations.next()) else {
        return Err(RedirectError::BadLocation);
    };
    let location = str::from_utf8(location).map_err(|_| RedirectError::BadLocation)?;
    // Not sent to a server, and meaningless here.
    let location = location.split('#').next().unwrap_or_default();
    let mut url = resolve(from, location)?;
    if (from.tls && !url.tls) || is_unix(from) != is_unix(&url) {
        return Err(RedirectError::Insecure);
    }
    url.credentials = if trusts(from, &url) {
        from.credentials.clone()
    } else {
        None
    };
    Ok(url)
}

/// Whether what is secret may go where a redirect leads.
pub(crate) fn trusts(from: &Url, to: &Url) -> bool {
    match (&from.destination, &to.destination) {
        (Destination::Inet(a, port_a), Destination::Inet(b, port_b)) => {
            let same = from.tls == to.tls && port_a == port_b;
            let secured = !from.tls && to.tls && (*port_a, *port_b) == (80, 443);
            a == b && (same || secured)
        }
        (a, b) => a == b,
    }
}

fn is_unix(url: &Url) -> bool {
    matches!(url.destination, Destination::Unix(_))
}

fn resolve(from: &Url, location: &str) -> Result<Url, RedirectError> {
    // A colon in the first segment ends a scheme (RFC 3986, 4.2).
    if let Some((scheme, rest)) = location.split_once(':')
        && !scheme.contains(['/', '?'])
    {
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" | "ws" => "ws",
            "https" | "wss" => "wss",
            _ => return Err(RedirectError::BadLocation),
        };
        return elsewhere(from, &format!("{scheme}:{rest}"));
    }
    if let Some(rest) = location.strip_prefix("//") {
        let scheme = if from.tls { "wss" } else { "ws" };
        return elsewhere(from, &format!("{scheme}://{rest}"));
    }
    let path = from.target.split('?').next().unwrap_or("/");
    let target = match location.chars().next() {
        Some('/') => location.to_owned(),
        Some('?') => format!("{path}{location}"),
        Some(_) => {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            without_dots(&format!("{folder}/{location}"))
        }
        None => return Err(RedirectError::BadLocation),
    };
    // Whether it can stand in a request is checked as for any URL.
    Url::parse(&format!("ws://x{target}")).map_err(|_| RedirectError::BadLocation)?;
    Ok(Url {
        target,
        ..from.clone()
    })
}

/// A whole URL. Our interfaces are no matter of a server; one that is reached by way of a zone does not know of it.
fn elsewhere(from: &Url, text: &str) -> Result<Url, RedirectError> {
    let mut url = Url::parse(text).map_err(|_| RedirectError::BadLocation)?;
    match (&from.destination, &mut url.destination) {
        (_, Destination::Inet(Host::Zoned(..), _)) => return Err(RedirectError::BadLocation),
        (Destination::Inet(here @ Host::Zoned(ip, _), _), Destination::Inet(host, _))
            if *host == Host::Ip((*ip).into()) =>
        {
            *host = here.clone();
        }
        _ => {}
    }
    Ok(url)
}

/// RFC 3986, 5.2.4.
fn without_dots(target: &str) -> String {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            ".." => {
                kept.pop();
            }
            "." => {}
            other => {
                kept.push(other);
                continue;
            }
        }
        if last {
            kept.push("");
        }
    }
    let mut out = format!("/{}", kept.join("/"));
    if let Some(query) = query {
        out.push('?');
        out.push_str(query);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(from: &str, location: &[u8]) -> Result<String, RedirectError> {
        let head = [b"HTTP/1.1 302 x\r\nLocation: ", location, b"\r\n\r\n"].concat();
        let limits = sockeye_protocol::handshake::HeadLimits::default();
        let answer = sockeye_protocol::handshake::client::verify(&head, "", &[], &limits);
        let Err(sockeye_protocol::handshake::HandshakeError::Status { headers, .. }) = answer
        else {
            panic!("{answer:?}");
        };
        let url = next(&Url::parse(from).unwrap(), &headers)?;
        let scheme = if url.tls { "wss" } else { "ws" };
        let login = url.credentials.as_deref().unwrap_or_default();
        let login = String::from_utf8_lossy(login);
        Ok(format!(
            "{scheme}://{login}@{}{}",
            url.authority(),
            url.target
        ))
    }

    #[test]
    fn locations_of_every_kind() {
        let from = "ws://u:p@a.example:81/x/y?q";
        for (location, want) in [
            (&b"/z"[..], "ws://u:p@a.example:81/z"),
            (b"z?r", "ws://u:p@a.example:81/x/z?r"),
            (b"../z", "ws://u:p@a.example:81/z"),
            (b"../../../z/./w/..", "ws://u:p@a.example:81/z/"),
            (b"/z:w", "ws://u:p@a.example:81/z:w"),
            (b"?r", "ws://u:p@a.example:81/x/y?r"),
            (b"http://a.example:81/w#f", "ws://u:p@a.example:81/w"),
            (b"//b.example/w", "ws://@b.example/w"),
            (b"https://b.example", "wss://@b.example/"),
            (b"wss://me:x@b.example", "wss://@b.example/"),
            (b"ws://A.Example:82/", "ws://@a.example:82/"),
        ] {
            assert_eq!(step(from, location).as_deref(), Ok(want), "{location:?}");
        }
        assert_eq!(
            step("ws://u:p@a/", b"https://a/").as_deref(),
            Ok("wss://u:p@a/")
        );
    }

    #[test]
    fn a_zone_stays_with_its_address() {
        let zone = |location: &str| {
            let from = Url::parse("ws://u:p@[fe80::1%25eth0]:81/x").unwrap();
            let url = resolve(&from, location).unwrap();
            match url.destination {
                Destination::Inet(Host::Zoned(_, zone), _) => Some(zone),
                _ => None,
            }
        };
        assert_eq!(zone("/y").as_deref(), Some("eth0"));
        assert_eq!(zone("http://[fe80::1]:81/y").as_deref(), Some("eth0"));
        assert_eq!(zone("//[fe80:0::1]/").as_deref(), Some("eth0"));
        assert_eq!(zone("http://[fe80::2]:81/y"), None);
        assert_eq!(
            step("ws://u:p@[fe80::1%25eth0]:81/x", b"http://[fe80::1]:81/y").as_deref(),
            Ok("ws://u:p@[fe80::1]:81/y")
        );
    }

    #[test]
    fn where_we_do_not_go() {
        use RedirectError::{BadLocation, Insecure};
        for (from, location, want) in [
            ("wss://a/", &b"http://a/"[..], Insecure),
            ("wss://a/", b"ws://a:443/", Insecure),
            ("ws+unix:/s", b"http://a/", Insecure),
            ("ws://a/", b"ftp://a/", BadLocation),
            ("ws://a/", b"ws+unix:///s", BadLocation),
            ("ws://a/", b"ws+unix:/s", BadLocation),
            ("ws://a/", b"http:x", BadLocation),
            ("ws://a/", b"", BadLocation),
            ("ws://a/", b"/a b", BadLocation),
            ("ws://a/", b"/\xff", BadLocation),
            ("ws://a/", b"http://", BadLocation),
            ("ws://a/", b"/x\r\nLocation: /y", BadLocation),
            ("ws://a/", b"http://[fe80::1%25eth0]/", BadLocation),
            ("ws://[fe80::1%25a]/", b"//[fe80::1%25b]/", BadLocation),
        ] {
            assert_eq!(step(from, location), Err(want), "{location:?}");
        }
        assert!(step("ws+unix:/s", b"/x").is_ok());
    }
}
