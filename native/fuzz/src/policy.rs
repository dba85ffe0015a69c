//! Who is let in: rules and requests of any kind, beside a reading of the rules in a few lines.

use sockeye_protocol::handshake::{HeadLimits, Origins, Paths, Request, Site, comparable};

/// Lines: a rule, a host, an origin, a pattern, a path.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (rule, host, origin, pattern, path) = (line(), line(), line(), line(), line());
    let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n\r\n");
    let request = Request::parse(head.as_bytes(), &HeadLimits::default());
    if let (Ok(origins), Ok(Some((request, end)))) = (Origins::new([rule]), request)
        && end == head.len()
    {
        let site = Site::of(&request);
        let allowed = origins.allow(&request, &site);
        assert!(
            !Origins::new([]).expect("no rule").allow(&request, &site),
            "an empty list lets a page in"
        );
        assert!(Origins::default().allow(&request, &site));
        assert!(
            !allowed || may(rule, host.trim(), origin.trim()),
            "{rule:?} {host:?} {origin:?}"
        );
    }
    if let Ok(paths) = Paths::new([pattern]) {
        assert!(pattern.starts_with('/'));
        assert!(has_digits(pattern), "{pattern:?}");
        let has = paths.has(path);
        assert!(!has || path.starts_with('/'), "{path:?}");
        match pattern.split_once('*') {
            None => assert_eq!(has, comparable(pattern) == comparable(path)),
            Some((before, _)) => {
                let (before, path) = (comparable(before), comparable(path));
                assert!(!has || path.starts_with(&*before) && path.len() > before.len())
            }
        }
    }
}

/// What is let in is at least this: the same scheme, and a host that is or ends with that of the rule.
fn may(rule: &str, host: &str, origin: &str) -> bool {
    let (rule, host, origin) = (
        rule.to_ascii_lowercase(),
        host.to_ascii_lowercase(),
        origin.to_ascii_lowercase(),
    );
    if rule == "null" {
        return origin == "null";
    }
    let Some((scheme, page)) = origin.split_once("://") else {
        return false;
    };
    let page = name(page);
    if rule == "same_host" {
        return same(page, name(&host));
    }
    let Some((wanted, authority)) = rule.split_once("://") else {
        return false;
    };
    let authority = authority.strip_suffix(":*").unwrap_or(authority);
    scheme == wanted
        && match authority.strip_prefix('*') {
            Some(domain) => page.ends_with(name(domain)) && domain.starts_with('.'),
            None => same(page, name(authority)),
        }
}

/// Each percent sign has its two digits.
fn has_digits(pattern: &str) -> bool {
    let mut behind = pattern.split('%').skip(1);
    behind.all(|text| {
        let digits = text.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// A host without its port.
fn name(authority: &str) -> &str {
    let digits = authority.trim_end_matches(|c: char| c.is_ascii_digit());
    digits.strip_suffix(':').unwrap_or(authority)
}

/// Whether two hosts are one. Addresses of IPv6 have many spellings.
fn same(a: &str, b: &str) -> bool {
    let address = |host: &str| {
        let inner = host.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse::<std::net::Ipv6Addr>().ok()
    };
    a == b || address(a).is_some_and(|address_of_a| Some(address_of_a) == address(b))
}
