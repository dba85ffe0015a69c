//! What is known of a connection and never changes, in few bytes: there may be a million of them.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::net::peer::{Peer, PeerInfo, TlsFacts};
use crate::vm::batch::OpenInfo;

pub(super) struct Facts {
    endpoints: Endpoints,
    tls: Option<Arc<TlsFacts>>,
    /// Path, query and subprotocol, one after the other.
    text: Box<str>,
    /// Where the query begins.
    query: u32,
    /// Where the subprotocol begins, if there is one.
    subprotocol: Option<u32>,
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
    pub(super) fn new(info: &OpenInfo, opened: u64) -> Self {
        let (path, query) = (info.request.path(), info.request.query());
        let subprotocol = info.subprotocol.as_deref();
        Facts {
            endpoints: Endpoints::new(&info.peer_info.peer, &info.peer_info.local),
            tls: info.peer_info.tls.clone(),
            text: [path, query, subprotocol.unwrap_or_default()]
                .concat()
                .into(),
            query: path.len() as u32,
            subprotocol: subprotocol.map(|_| (path.len() + query.len()) as u32),
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
        let end = self.subprotocol.map_or(self.text.len(), |at| at as usize);
        self.text.get(self.query as usize..end).unwrap_or_default()
    }

    pub(super) fn subprotocol(&self) -> Option<&str> {
        self.text.get(self.subprotocol? as usize..)
    }
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
    use sockeye_protocol::handshake::{HeadLimits, Request};

    use super::*;

    fn info(target: &str, subprotocol: Option<&str>, peer_info: &PeerInfo) -> OpenInfo {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let parsed = Request::parse(head.as_bytes(), &HeadLimits::default());
        OpenInfo {
            peer_info: peer_info.clone(),
            request: parsed.unwrap().unwrap().0,
            subprotocol: subprotocol.map(Into::into),
            deflate: None,
            accept_state: None,
            acceptor: 0,
        }
    }

    #[test]
    fn what_goes_in_comes_out() {
        let inet = |ip: &str| Peer::Inet(ip.parse().unwrap(), 4711);
        let unix = Peer::Unix(b"/run/sockeye".as_slice().into());
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
                    let facts = Facts::new(&info(target, subprotocol, &peer_info), 7);
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
    fn they_are_small() {
        assert!(size_of::<Facts>() <= 64);
    }
}
