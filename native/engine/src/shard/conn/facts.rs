//! Facts of a connection that never change, in few bytes: there may be a million of them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;

use sockeye_protocol::handshake::Request;

use crate::net::peer::{Peer, PeerInfo, TlsFacts};
use crate::vm::batch::OpenInfo;

pub(super) struct Facts {
    endpoints: Endpoints,
    tls: Option<Arc<TlsFacts>>,
    /// Path, query, subprotocol, user data and headers, one after the other.
    text: Rc<str>,
    /// Where the query begins.
    query: u32,
    /// Where the subprotocol begins.
    subprotocol: u32,
    has_subprotocol: bool,
    /// Bytes of the user data.
    user_data: u8,
    /// Where that begins.
    more: u32,
    http_version: (u8, u8),
    /// Milliseconds of the shard.
    opened: u64,
}

/// Our end and the other.
enum Endpoints {
    /// As most have them.
    V4 {
        peer: (Ipv4Addr, u16),
        local: (Ipv4Addr, u16),
    },
    Others(Box<(Peer, Peer)>),
}

impl Facts {
    pub(super) fn new(info: &OpenInfo, keep_headers: bool, opened: u64, texts: &Texts) -> Self {
        let (path, query) = (info.request.path(), info.request.query());
        let subprotocol = info.subprotocol.as_deref();
        let named = subprotocol.unwrap_or_default();
        let user_data = info.user_data.as_deref().unwrap_or_default();
        // Options have refused a longer one.
        let user_data = user_data.get(..MOST_USER_DATA).unwrap_or(user_data);
        let headers = match keep_headers {
            true => shown_headers(&info.request),
            false => String::new(),
        };
        Facts {
            endpoints: Endpoints::new(&info.peer_info.peer, &info.peer_info.local),
            tls: info.peer_info.tls.clone(),
            text: texts.share([path, query, named, user_data, &headers].concat()),
            query: path.len() as u32,
            subprotocol: (path.len() + query.len()) as u32,
            has_subprotocol: subprotocol.is_some(),
            user_data: user_data.len() as u8,
            more: (path.len() + query.len() + named.len()) as u32,
            http_version: info.peer_info.http_version,
            opened,
        }
    }

    pub(super) fn opened(&self) -> u64 {
        self.opened
    }

    pub(super) fn peer_ip(&self) -> Option<IpAddr> {
        match &self.endpoints {
            Endpoints::V4 { peer, .. } => Some(peer.0.into()),
            Endpoints::Others(endpoints) => endpoints.0.ip(),
        }
    }

    pub(super) fn peer(&self) -> Peer {
        match &self.endpoints {
            Endpoints::V4 { peer, .. } => Peer::Inet(peer.0.into(), peer.1),
            Endpoints::Others(endpoints) => endpoints.0.clone(),
        }
    }

    fn local(&self) -> Peer {
        match &self.endpoints {
            Endpoints::V4 { local, .. } => Peer::Inet(local.0.into(), local.1),
            Endpoints::Others(endpoints) => endpoints.1.clone(),
        }
    }

    pub(super) fn peer_info(&self) -> PeerInfo {
        PeerInfo {
            peer: self.peer(),
            local: self.local(),
            tls: self.tls.clone(),
            http_version: self.http_version,
        }
    }

    pub(super) fn path(&self) -> &str {
        self.text.get(..self.query as usize).unwrap_or_default()
    }

    pub(super) fn query(&self) -> &str {
        self.part(self.query, self.subprotocol)
    }

    pub(super) fn subprotocol(&self) -> Option<&str> {
        self.has_subprotocol
            .then(|| self.part(self.subprotocol, self.more))
    }

    /// Empty if there is none.
    pub(super) fn user_data(&self) -> &str {
        self.part(self.more, self.headers_at())
    }

    /// Of the request, `name: value` on a line each; nothing where they are not kept.
    pub(super) fn headers(&self) -> &str {
        self.part(self.headers_at(), self.text.len() as u32)
    }

    fn headers_at(&self) -> u32 {
        self.more + u32::from(self.user_data)
    }

    fn part(&self, from: u32, to: u32) -> &str {
        self.text
            .get(from as usize..to as usize)
            .unwrap_or_default()
    }
}

/// The texts of the last connections of a shard: those of most are the same, and kept once.
#[derive(Default)]
pub(crate) struct Texts(RefCell<VecDeque<Rc<str>>>);

/// How many of them.
const TEXTS: usize = 8;

impl Texts {
    fn share(&self, text: String) -> Rc<str> {
        let mut last = self.0.borrow_mut();
        if let Some(same) = last.iter().find(|last| ***last == *text) {
            return same.clone();
        }
        let text: Rc<str> = text.into();
        last.truncate(TEXTS - 1);
        last.push_front(text.clone());
        text
    }
}

/// Bytes of what an operator knows a connection by.
const MOST_USER_DATA: usize = 128;
/// Bytes of the headers that are kept of a connection.
const MOST_HEADERS: usize = 4096;
/// What stands for a value that is a secret, or may be one.
const HIDDEN: &str = "(hidden)";
/// What the names of headers with secrets have in them.
const SECRET: [&str; 7] = [
    "auth", "cookie", "token", "secret", "key", "session", "password",
];

/// The headers of a request as an operator may see them, a line each. What does not fit is left out.
fn shown_headers(request: &Request) -> String {
    let mut shown = String::new();
    for (name, value) in request.headers().iter() {
        let name = name.to_ascii_lowercase();
        let value = match SECRET.iter().any(|part| name.contains(part)) {
            true => HIDDEN.into(),
            false => String::from_utf8_lossy(value),
        };
        if shown.len() + name.len() + value.len() + 3 <= MOST_HEADERS {
            shown.extend([&name, ": ", &value, "\n"]);
        }
    }
    shown
}

impl Endpoints {
    fn new(peer: &Peer, local: &Peer) -> Self {
        match (peer, local) {
            (Peer::Inet(IpAddr::V4(peer), peer_port), Peer::Inet(IpAddr::V4(local), port)) => {
                Endpoints::V4 {
                    peer: (*peer, *peer_port),
                    local: (*local, *port),
                }
            }
            _ => Endpoints::Others(Box::new((peer.clone(), local.clone()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use sockeye_protocol::handshake::HeadLimits;

    use super::*;

    fn info(target: &str, subprotocol: Option<&str>, peer_info: &PeerInfo) -> OpenInfo {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let parsed = Request::parse(head.as_bytes(), &HeadLimits::default());
        OpenInfo {
            subprotocol: subprotocol.map(Into::into),
            ..OpenInfo::new(peer_info.clone(), parsed.unwrap().unwrap().0)
        }
    }

    #[test]
    fn facts_are_kept_unchanged() {
        let inet = |ip: &str| Peer::Inet(ip.parse().unwrap(), 4711);
        let unix = Peer::Unix(b"/run/sockeye".as_slice().into());
        let texts = Texts::default();
        for (peer, local) in [
            (inet("192.0.2.1"), inet("127.0.0.1")),
            (inet("2001:db8::1"), inet("::1")),
            (unix.clone(), unix),
        ] {
            let peer_info = PeerInfo::new(peer, local);
            for (target, path, query) in [
                ("/", "/", ""),
                ("/a/b?", "/a/b", ""),
                ("/a?b=c", "/a", "b=c"),
            ] {
                for subprotocol in [None, Some("chat")] {
                    let info = info(target, subprotocol, &peer_info);
                    let facts = Facts::new(&info, false, 7, &texts);
                    assert_eq!((facts.path(), facts.query()), (path, query));
                    assert_eq!(facts.subprotocol(), subprotocol);
                    assert_eq!(facts.peer_info(), peer_info);
                    assert_eq!(facts.peer_ip(), peer_info.peer.ip());
                    assert_eq!(facts.opened(), 7);
                }
            }
        }
    }

    #[test]
    fn headers_are_kept_without_secrets() {
        let head = "GET /a?b HTTP/1.1\r\nHost: a\r\nCookie: s=1\r\nAuthorization: Basic x\r\n\
                    X-Api-Key: k\r\nX-Note: <b>\r\n\r\n";
        let peer = Peer::Unix(b"".as_slice().into());
        let mut info = info("/", Some("chat"), &PeerInfo::new(peer.clone(), peer));
        let parsed = Request::parse(head.as_bytes(), &HeadLimits::default());
        info.request = parsed.unwrap().unwrap().0;
        info.user_data = Some("ann".into());
        let facts = Facts::new(&info, true, 7, &Texts::default());
        assert_eq!(
            facts.headers(),
            "host: a\ncookie: (hidden)\nauthorization: (hidden)\nx-api-key: (hidden)\nx-note: <b>\n"
        );
        let parts = (facts.path(), facts.query(), facts.user_data());
        assert_eq!(parts, ("/a", "b", "ann"));
        assert_eq!(facts.subprotocol(), Some("chat"));
        let without = Facts::new(&info, false, 7, &Texts::default());
        assert_eq!((without.headers(), without.user_data()), ("", "ann"));
    }

    #[test]
    fn kept_headers_are_bounded() {
        let peer = Peer::Unix(b"".as_slice().into());
        let kept = |len: usize| {
            let head = format!(
                "GET / HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n",
                "x".repeat(len)
            );
            let mut info = info("/", None, &PeerInfo::new(peer.clone(), peer.clone()));
            let parsed = Request::parse(head.as_bytes(), &HeadLimits::default());
            info.request = parsed.unwrap().unwrap().0;
            Facts::new(&info, true, 7, &Texts::default())
                .headers()
                .len()
        };
        // With the name, a colon, a space and the end of the line; and eight for the host.
        assert_eq!(kept(MOST_HEADERS - 13), MOST_HEADERS - 1);
        assert_eq!(kept(MOST_HEADERS - 12), MOST_HEADERS);
        assert_eq!(kept(MOST_HEADERS - 11), 8);
    }

    #[test]
    fn equal_texts_are_kept_once() {
        let texts = Texts::default();
        let peer = Peer::Unix(b"".as_slice().into());
        let peer_info = PeerInfo::new(peer.clone(), peer);
        let facts = |target: &str| Facts::new(&info(target, None, &peer_info), false, 7, &texts);
        let first = facts("/a?b");
        let others: Vec<_> = (1..TEXTS).map(|n| facts(&format!("/{n}"))).collect();
        let second = facts("/a?b");
        assert!(Rc::ptr_eq(&first.text, &second.text));
        assert_eq!((second.path(), second.query()), ("/a", "b"));
        // What is cut elsewhere has the same text all the same.
        let third = facts("/ab");
        assert!(Rc::ptr_eq(&first.text, &third.text));
        assert_eq!((third.path(), third.query()), ("/ab", ""));
        assert_eq!(texts.0.borrow().len(), TEXTS);
        drop((second, third, others));
        // The last eight are kept, and no more.
        (0..TEXTS).for_each(|n| drop(facts(&format!("/more/{n}"))));
        assert_eq!(Rc::strong_count(&first.text), 1);
    }

    #[test]
    fn they_are_small() {
        assert!(size_of::<Facts>() <= 64);
    }
}
