//! The sender and the site of a request, as headers of proxies name them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use sockeye_protocol::handshake::HeadLimits;

use super::*;
use crate::model::counters::ServerStats;
use crate::net::peer::TlsFacts;
use crate::settings::config::{Mode, ServerConfig};
use crate::vm::host::{Notice, ServerHost};
use crate::vm::inbox::Inbox;

struct Nobody;

impl ServerHost for Nobody {
    fn owner(&self) -> Option<Arc<Inbox>> {
        None
    }

    fn stopped(&self, _: &ServerStats) {}
    fn event(&self, _: Notice) {}
}

const PROXY: [u8; 4] = [10, 0, 0, 1];
const STRANGER: [u8; 4] = [192, 0, 2, 7];

/// A server that trusts these proxies.
fn server(trusted: &[[u8; 4]]) -> Server {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut config = ServerConfig::new(address, Mode::Owner);
    for ip in trusted {
        assert!(config.trusted_proxies.add((*ip).into(), 32));
    }
    Server::new(0, config, None, 1, |_| Box::new(Nobody))
}

fn peer(ip: [u8; 4]) -> PeerInfo {
    let peer = Peer::Inet(ip.into(), 80);
    PeerInfo::new(peer.clone(), peer)
}

fn unix() -> PeerInfo {
    let peer = Peer::Unix([].into());
    PeerInfo::new(peer.clone(), peer)
}

fn request(headers: &str) -> Request {
    let head = format!("GET / HTTP/1.1\r\nHost: own.example\r\n{headers}\r\n");
    let parsed = Request::parse(head.as_bytes(), &HeadLimits::default());
    parsed.unwrap().unwrap().0
}

#[test]
fn a_peer_is_trusted_by_its_address() {
    let (nobody, proxy) = (server(&[]), server(&[PROXY]));
    for (server, peer, trusted) in [
        (&nobody, peer(PROXY), false),
        (&proxy, peer(PROXY), true),
        (&proxy, peer(STRANGER), false),
        // Where there are proxies, there they are.
        (&nobody, unix(), false),
        (&proxy, unix(), true),
    ] {
        assert_eq!(is_trusted(server, &peer), trusted, "{:?}", peer.peer);
    }
}

#[test]
fn the_site_is_what_a_trusted_proxy_says() {
    const SAYS: &str = "X-Forwarded-Host: first.example, site.example\r\n";
    let proxy = server(&[PROXY]);
    let site_of = |server: &Server, carrier: &PeerInfo, headers: &str| {
        let request = request(headers);
        let site = site(server, carrier, &request);
        let host = site.host.map(|host| String::from_utf8(host.to_vec()));
        (host.unwrap().unwrap(), site.is_secure)
    };
    for (scheme, is_secure) in [
        ("https", Some(true)),
        ("WSS", Some(true)),
        ("http", Some(false)),
        ("ws", Some(false)),
        ("http, https", Some(true)),
        ("https, http", Some(false)),
        ("gopher", None),
    ] {
        let says = format!("{SAYS}X-Forwarded-Proto: {scheme}\r\n");
        let told = site_of(&proxy, &peer(PROXY), &says);
        assert_eq!(told, ("site.example".into(), is_secure), "{scheme}");
        // A stranger can say anything.
        for (server, who) in [(&proxy, peer(STRANGER)), (&server(&[]), peer(PROXY))] {
            let told = site_of(server, &who, &says);
            assert_eq!(told, ("own.example".into(), None), "{scheme}");
        }
    }
    assert_eq!(
        site_of(&proxy, &peer(PROXY), ""),
        ("own.example".into(), None)
    );
    // With TLS of our own.
    let mut secure = peer(STRANGER);
    secure.tls = Some(TlsFacts::default().into());
    let told = site_of(&proxy, &secure, "");
    assert_eq!(told, ("own.example".into(), Some(true)));
}

#[test]
fn the_sender_is_the_client_of_a_trusted_proxy() {
    const SAYS: &str = "X-Forwarded-For: 198.51.100.3, 10.0.0.1\r\n";
    let client = Peer::Inet(IpAddr::from([198, 51, 100, 3]), 0);
    let (nobody, proxy) = (server(&[]), server(&[PROXY]));
    for (server, peer, headers, is_client) in [
        (&proxy, peer(PROXY), SAYS, true),
        (&proxy, unix(), SAYS, true),
        (&proxy, peer(PROXY), "", false),
        (&proxy, peer(STRANGER), SAYS, false),
        (&nobody, peer(PROXY), SAYS, false),
        (&nobody, unix(), SAYS, false),
    ] {
        let request = request(headers);
        let sender = sender(server, &peer, &request);
        let expected = if is_client { &client } else { &peer.peer };
        assert_eq!(&sender.peer, expected, "{:?} {headers}", peer.peer);
    }
}
