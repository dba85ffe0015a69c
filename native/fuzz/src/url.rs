//! URLs of servers and of proxies, and what is sent to both of them.

use sockeye_engine::{Destination, Host, Proxy, Url};

/// The bytes are a URL.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    if let Ok(url) = Url::parse(text) {
        assert!(url.target.starts_with('/'));
        let line = |part: &str| part.bytes().all(|b| (0x21..=0x7e).contains(&b));
        assert!(line(&url.target), "a request line has one target");
        let authority = url.authority();
        assert!(
            line(&authority) && !authority.contains(['/', '?', '@']),
            "{authority:?}"
        );
        match &url.destination {
            Destination::Inet(host, _) => {
                name(host);
                let scheme = if url.tls { "wss" } else { "ws" };
                // What is sent names the same place.
                let again = format!("{scheme}://{authority}{}", url.target);
                let again = Url::parse(&again);
                let zone = text.contains('%');
                if let (false, Ok(again)) = (zone, again) {
                    assert_eq!(again.destination, url.destination);
                    assert_eq!(again.target, url.target);
                } else {
                    assert!(zone, "{authority:?} is none any more");
                }
            }
            Destination::Unix(path) => assert!(matches!(path.first(), Some(b'/' | 0))),
        }
    }
    if let Ok(proxy) = Proxy::parse(text) {
        name(&proxy.host);
        // A log shows it.
        let shown = format!("{proxy:?}");
        if let Some((login, _)) = text.rsplit_once('@')
            && let Some((_, password)) = login.rsplit_once(':')
            && !proxy.host.to_string().contains(password)
            && password.len() > 8
        {
            assert!(!shown.contains(password), "a password is shown");
        }
    }
}

fn name(host: &Host) {
    let host = host.to_string();
    assert!(!host.is_empty());
    assert!(host.bytes().all(|b| b > 0x20 && b != 0x7f), "{host:?}");
}
