//! The pages that may open a connection.

use std::net::Ipv6Addr;

use super::request::Request;

/// One rule of an allow-list of origins.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    /// The page comes from the site that the request asks for.
    SameHost,
    /// The page has no origin that it could name: a frame in a sandbox, a file.
    Null,
    Pages {
        scheme: String,
        hosts: HostPattern,
        ports: PortPattern,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    Is(String),
    /// All with one label or more before this, which begins with a dot.
    Below(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum PortPattern {
    /// `None` is the scheme's own.
    Is(Option<u16>),
    Any,
}

impl Rule {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "same_host" => return Some(Rule::SameHost),
            "null" => return Some(Rule::Null),
            _ => {}
        }
        let (scheme, authority) = split_scheme(text)?;
        let (authority, any_port) = match authority.strip_suffix(":*") {
            // A port besides any port makes no sense.
            Some(rest) if rest.ends_with(']') || !rest.contains(':') => (rest, true),
            Some(_) => return None,
            None => (authority, false),
        };
        let (authority, below) = match authority.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (authority, false),
        };
        let Origin { scheme, host, port } = Origin::new(scheme, authority)?;
        let hosts = match below {
            // An address has nothing below it.
            true if !is_domain(&host) => return None,
            true => HostPattern::Below(format!(".{host}")),
            false => HostPattern::Is(host),
        };
        let ports = match any_port {
            true if scheme == "file" => return None,
            true => PortPattern::Any,
            false => PortPattern::Is(port),
        };
        Some(Rule::Pages {
            scheme,
            hosts,
            ports,
        })
    }

    /// Whether a page with this origin, or none, may ask for this site.
    fn allows(&self, page: Option<&Origin>, site: &Site<'_>) -> bool {
        match (self, page) {
            (Rule::Null, None) => true,
            (Rule::SameHost, Some(page)) => site.is_of(page),
            (
                Rule::Pages {
                    scheme,
                    hosts,
                    ports,
                },
                Some(page),
            ) => {
                let host = match hosts {
                    HostPattern::Is(host) => *host == page.host,
                    HostPattern::Below(domain) => page
                        .host
                        .strip_suffix(domain)
                        .is_some_and(|labels| !labels.is_empty()),
                };
                let port = match ports {
                    PortPattern::Is(port) => *port == page.port,
                    PortPattern::Any => true,
                };
                *scheme == page.scheme && host && port
            }
            _ => false,
        }
    }
}

/// Scheme, host and port of a page, in one spelling: lower case, addresses of IPv6 in their short form, and no port
/// where it is the scheme's own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    /// Reads `scheme://host[:port]`, or `file://`, and nothing more than that.
    fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = split_scheme(text)?;
        Origin::new(scheme, authority)
    }

    fn new(scheme: &str, authority: &str) -> Option<Self> {
        let scheme = scheme.to_ascii_lowercase();
        if scheme == "file" && authority.is_empty() {
            let host = String::new();
            return Some(Origin {
                scheme,
                host,
                port: None,
            });
        }
        let (host, port) = split_port(authority)?;
        let port = port.filter(|&port| Some(port) != default_port(&scheme));
        Some(Origin { scheme, host, port })
    }
}

/// The scheme, as RFC 3986 has it, and what follows its `://`.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    valid.then_some((scheme, rest))
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// Host and port of an authority. A host is not empty; a colon without a port is as none.
fn split_port(authority: &str) -> Option<(String, Option<u16>)> {
    let end = match authority.starts_with('[') {
        true => authority.find(']')? + 1,
        false => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at_checked(end)?;
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => None,
        None => return None,
        Some("") => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
        Some(_) => return None,
    };
    Some((host_name(host)?, port))
}

fn host_name(host: &str) -> Option<String> {
    if let Some(literal) = host.strip_prefix('[') {
        let address: Ipv6Addr = literal.strip_suffix(']')?.parse().ok()?;
        return Some(format!("[{address}]"));
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let mut labels = host.strip_suffix('.').unwrap_or(host).split('.');
    // Some programs give their own pages a dot as their host.
    let valid = host.bytes().all(plain) && (host == "." || labels.all(|label| !label.is_empty()));
    valid.then(|| host.to_ascii_lowercase())
}

/// Whether there may be hosts below this one.
fn is_domain(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next();
    let is_number = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
    !host.starts_with('[') && last.is_some_and(|label| !is_number(label))
}

/// The server as its client sees it. Behind a proxy that is not what the request shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site<'a> {
    /// Host and port, as in the field `Host`.
    pub host: Option<&'a [u8]>,
    /// Whether the client speaks TLS; `None` if that is not known.
    pub is_secure: Option<bool>,
}

impl<'a> Site<'a> {
    /// What a request says, which does not tell whether TLS is spoken.
    pub fn of(request: &'a Request) -> Self {
        Site {
            host: request.header("host"),
            is_secure: None,
        }
    }

    fn is_of(&self, page: &Origin) -> bool {
        let host = self.host.and_then(|host| str::from_utf8(host).ok());
        let Some((host, port)) = host.and_then(split_port) else {
            return false;
        };
        let scheme = match self.is_secure {
            // The scheme of the page is then all that tells the port.
            None => true,
            Some(true) => matches!(page.scheme.as_str(), "https" | "wss"),
            Some(false) => matches!(page.scheme.as_str(), "http" | "ws"),
        };
        let port = port.filter(|&port| Some(port) != default_port(&page.scheme));
        scheme && host == page.host && port == page.port
    }
}

/// An allow-list of origins. Browsers name the page that opens a connection in the header `Origin`; a request without that
/// header does not come from a page, and no list keeps it out: such a client could claim any origin.
///
/// ```
/// use sockeye_protocol::handshake::{HeadLimits, Origins, Request, Site};
///
/// let origins = Origins::new(["https://example.com", "https://*.example.com", "http://localhost:*"]).unwrap();
/// let allowed = |origin: &str| {
///     let head = format!("GET / HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\n\r\n");
///     let (request, _) = Request::parse(head.as_bytes(), &HeadLimits::default()).unwrap().unwrap();
///     origins.allow(&request, &Site::of(&request))
/// };
/// assert!(allowed("https://example.com") && allowed("https://a.b.example.com"));
/// assert!(allowed("http://localhost") && allowed("http://localhost:3000"));
/// assert!(!allowed("http://example.com") && !allowed("https://badexample.com") && !allowed("null"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    /// None: all.
    rules: Option<Vec<Rule>>,
}

impl Origins {
    /// A list of rules: `same_host`, `null`, `file://`, or `scheme://host[:port]`, with `*.` before the host for those below
    /// that one, one label deep or more, and with `*` as port for any. The error is the rule that is none.
    pub fn new<'a>(rules: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        let rules = rules.into_iter().map(|rule| Rule::parse(rule).ok_or(rule));
        Ok(Origins {
            rules: Some(rules.collect::<Result<_, _>>()?),
        })
    }

    /// Whether the page that a request for this site comes from, if any, may open a connection.
    pub fn allow(&self, request: &Request, site: &Site<'_>) -> bool {
        let (Some(rules), Some(origin)) = (&self.rules, request.header("origin")) else {
            return true;
        };
        let page = match origin {
            b"null" => None,
            _ => match str::from_utf8(origin).ok().and_then(Origin::parse) {
                Some(page) => Some(page),
                None => return false,
            },
        };
        rules.iter().any(|rule| rule.allows(page.as_ref(), site))
    }
}
