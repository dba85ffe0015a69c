//! What a server lets in: the pages that may open a connection, and the paths there are.

use super::path::{comparable, comparable_pattern};
use super::request::Request;

/// One rule of an allow-list of origins.
#[derive(Clone, Debug, PartialEq, Eq)]
enum OriginRule {
    /// The page comes from the host that the request names.
    SameHost,
    Exact(Origin),
    /// Every host under this one, at any depth, but not itself.
    Below(Origin),
}

/// Scheme, host and port of a page, in lower case. `port` is empty for the scheme's own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: String,
}

impl Origin {
    /// Reads `scheme://host[:port]`, and nothing more than that.
    fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let (scheme, authority) = text.split_once("://")?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~[]:*".contains(&b);
        if scheme.is_empty()
            || !scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        {
            return None;
        }
        if authority.is_empty() || !authority.bytes().all(plain) {
            return None;
        }
        let (host, port) = split_port(authority)?;
        let port = if port == default_port(scheme) {
            ""
        } else {
            port
        };
        Some(Origin {
            scheme: scheme.into(),
            host: host.into(),
            port: port.into(),
        })
    }
}

fn default_port(scheme: &str) -> &'static str {
    match scheme {
        "http" | "ws" => "80",
        "https" | "wss" => "443",
        _ => "",
    }
}

/// Host and port of an authority; the port is empty if there is none. A host is not empty.
fn split_port(authority: &str) -> Option<(&str, &str)> {
    let end = match authority.starts_with('[') {
        true => authority.find(']')? + 1,
        false => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at_checked(end)?;
    let port = match rest.strip_prefix(':') {
        Some(port) => port,
        None if rest.is_empty() => "",
        None => return None,
    };
    let valid = !host.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    valid.then_some((host, port))
}

/// An allow-list of origins. Browsers name the page that opens a connection in the header `Origin`; a request without that
/// header does not come from a page, and no list keeps it out: such a client could claim any origin.
///
/// ```
/// use sockeye_protocol::handshake::{HeadLimits, Origins, Request};
///
/// let origins = Origins::new(["https://example.com", "https://*.example.com"]).unwrap();
/// let allowed = |origin: &str| {
///     let head = format!("GET / HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\n\r\n");
///     let (request, _) = Request::parse(head.as_bytes(), &HeadLimits::default()).unwrap().unwrap();
///     origins.allow(&request)
/// };
/// assert!(allowed("https://example.com") && allowed("https://a.b.example.com"));
/// assert!(!allowed("http://example.com") && !allowed("https://badexample.com") && !allowed("null"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    /// None: all.
    rules: Option<Vec<OriginRule>>,
}

impl Origins {
    /// A list of rules: `same_host`, `scheme://host[:port]`, or `scheme://*.host[:port]` for the hosts below that one. The
    /// error is the rule that is none.
    pub fn new<'a>(rules: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        let rules = rules.into_iter().map(|rule| {
            if rule == "same_host" {
                return Ok(OriginRule::SameHost);
            }
            let mut origin = Origin::parse(rule).ok_or(rule)?;
            let below = origin.host.strip_prefix("*.").map(str::to_owned);
            let wild = below.is_some();
            if let Some(host) = below {
                origin.host = host;
            }
            match origin.host.contains('*') || origin.host.is_empty() {
                true => Err(rule),
                false if wild => Ok(OriginRule::Below(origin)),
                false => Ok(OriginRule::Exact(origin)),
            }
        });
        Ok(Origins {
            rules: Some(rules.collect::<Result<_, _>>()?),
        })
    }

    /// Whether the page that a request comes from, if any, may open a connection.
    pub fn allow(&self, request: &Request) -> bool {
        let (Some(rules), Some(origin)) = (&self.rules, request.header("origin")) else {
            return true;
        };
        let origin = str::from_utf8(origin).ok().and_then(Origin::parse);
        // `null`, of a page that has no origin, is on no list.
        let Some(origin) = origin.filter(|origin| !origin.host.contains('*')) else {
            return false;
        };
        rules.iter().any(|rule| match rule {
            OriginRule::SameHost => is_same_host(&origin, request),
            OriginRule::Exact(wanted) => *wanted == origin,
            OriginRule::Below(wanted) => {
                let label = origin.host.strip_suffix(&wanted.host);
                wanted.scheme == origin.scheme
                    && wanted.port == origin.port
                    && label.is_some_and(|label| label.len() > 1 && label.ends_with('.'))
            }
        })
    }
}

fn is_same_host(origin: &Origin, request: &Request) -> bool {
    let host = request
        .header("host")
        .and_then(|host| str::from_utf8(host).ok());
    let Some(host) = host.map(str::to_ascii_lowercase) else {
        return false;
    };
    let Some((host, port)) = split_port(&host) else {
        return false;
    };
    // Behind a proxy that ends TLS, the scheme of the page is all that tells the port.
    let port = if port == default_port(&origin.scheme) {
        ""
    } else {
        port
    };
    host == origin.host && port == origin.port
}

/// The paths at which a server opens connections.
///
/// ```
/// use sockeye_protocol::handshake::Paths;
///
/// let paths = Paths::new(["/ws", "/rooms/*"]).unwrap();
/// assert!(paths.has("/ws") && paths.has("/rooms/1") && paths.has("/rooms/1/2"));
/// assert!(!paths.has("/ws/") && !paths.has("/rooms/") && !paths.has("/"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// None: all.
    patterns: Option<Vec<Box<str>>>,
}

impl Paths {
    /// A list of patterns. They begin with `/` and are compared segment by segment, in the form of
    /// [`comparable`](super::comparable), with regard to case; `*` stands for one segment that is not empty, and at the end for
    /// one or more. The error is the pattern that is none: one with a malformed `%` among them.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        let patterns = patterns.into_iter().map(|pattern| {
            let form = comparable_pattern(pattern);
            form.map(String::into_boxed_str).ok_or(pattern)
        });
        Ok(Paths {
            patterns: Some(patterns.collect::<Result<_, _>>()?),
        })
    }

    /// Whether this path is on the list: never if all are.
    pub fn lists(&self, path: &str) -> bool {
        self.patterns.is_some() && self.has(path)
    }

    /// Whether there is such a path.
    pub fn has(&self, path: &str) -> bool {
        match &self.patterns {
            None => true,
            Some(patterns) => {
                let path = comparable(path);
                patterns.iter().any(|pattern| matches(pattern, &path))
            }
        }
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    let mut wanted = pattern.split('/').peekable();
    let mut found = path.split('/');
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return true,
            (Some("*"), Some(segment)) if !segment.is_empty() => {
                if wanted.peek().is_none() {
                    return true;
                }
            }
            (Some(a), Some(b)) if a == b && a != "*" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::HeadLimits;

    fn allowed(rules: &[&str], host: &str, origin: Option<&str>) -> bool {
        let origin = origin.map_or(String::new(), |o| format!("Origin: {o}\r\n"));
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{origin}\r\n");
        let parsed = Request::parse(head.as_bytes(), &HeadLimits::default());
        let (request, _) = parsed.unwrap().unwrap();
        Origins::new(rules.iter().copied()).unwrap().allow(&request)
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let rules = ["https://a.example", "http://b.example:8080"];
        for origin in [
            "https://a.example",
            "HTTPS://A.Example",
            "https://a.example:443",
            "http://b.example:8080",
        ] {
            assert!(allowed(&rules, "x", Some(origin)), "{origin}");
        }
        for origin in [
            "http://a.example",
            "https://a.example:8443",
            "https://a.example.evil.net",
            "https://xa.example",
            "https://a.example/",
            "https://user@a.example",
            "https://a.example https://b.example",
            "http://b.example",
            "null",
            "a.example",
            "",
            "https://",
            "https://*",
        ] {
            assert!(!allowed(&rules, "x", Some(origin)), "{origin}");
        }
    }

    #[test]
    fn who_is_no_page_names_no_origin() {
        assert!(allowed(&["https://a.example"], "x", None));
        assert!(allowed(&[], "x", None));
        assert!(!allowed(&[], "x", Some("https://a.example")));
    }

    #[test]
    fn a_star_is_one_label_or_more() {
        let rules = ["https://*.example.com"];
        assert!(allowed(&rules, "x", Some("https://a.example.com")));
        assert!(allowed(&rules, "x", Some("https://a.b.example.com:443")));
        for origin in [
            "https://example.com",
            "https://.example.com",
            "https://badexample.com",
            "http://a.example.com",
            "https://a.example.com:444",
            "https://a.example.com.evil.net",
            "https://*.example.com",
        ] {
            assert!(!allowed(&rules, "x", Some(origin)), "{origin}");
        }
    }

    #[test]
    fn the_same_host_is_what_the_request_names() {
        for (host, origin) in [
            ("a.example", "http://a.example"),
            ("a.example", "https://a.example"),
            ("a.example:443", "https://a.example"),
            ("A.example:8080", "http://a.EXAMPLE:8080"),
            ("[::1]:8080", "http://[::1]:8080"),
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
        ] {
            assert!(
                !allowed(&["same_host"], host, Some(origin)),
                "{host} {origin}"
            );
        }
    }

    #[test]
    fn what_is_no_rule_or_pattern_is_named() {
        for rule in [
            "a.example",
            "https://a*.example",
            "https://a.example/",
            "*",
            "https://*.",
        ] {
            assert_eq!(Origins::new([rule]), Err(rule));
        }
        for pattern in [
            "ws", "", "/a*", "/a b", "/a?b", "/*x/y", "/ü", "/%", "/a/%6", "/%61/%zz", "/*/%zz",
        ] {
            assert_eq!(Paths::new([pattern]), Err(pattern));
        }
    }

    #[test]
    fn paths_go_by_segments() {
        let has = |pattern, path| Paths::new([pattern]).unwrap().has(path);
        assert!(has("/", "/") && !has("/", "/a") && !has("/", "//"));
        assert!(has("/a/*/c", "/a/b/c") && !has("/a/*/c", "/a/c") && !has("/a/*/c", "/a//c"));
        assert!(has("/*", "/a") && has("/*", "/a/b/") && !has("/*", "/"));
        assert!(!has("/a", "/A") && has("/a", "/%61") && has("/%61", "/a") && !has("/a", "/a/"));
        assert!(has("/a+b/*", "/a%2bb/c") && has("/{a}", "/%7Ba%7d") && has("/%7ba}", "/{a}"));
        assert!(!has("/a/b", "/a%2fb") && has("/a%2Fb", "/a%2fb") && !has("/a/*", "/a%2Fb"));
        assert!(has("/%2a", "/*") && has("/%2a", "/%2A") && !has("/%2A", "/b"));
        assert!(!has("/rooms/*", "/rooms") && !has("/rooms/*", "/roomsx/y"));
        assert!(Paths::default().has("/any/thing"));
    }
}
