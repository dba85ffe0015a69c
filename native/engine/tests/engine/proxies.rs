//! Proxies that say with the PROXY protocol whom they bring.

use std::io::Write;
use std::net::Ipv4Addr;

use sockeye_engine::{Mode, Peer, ServerConfig};
use sockeye_protocol::handshake::client::generate_key;

use crate::support::*;

fn behind_a_proxy() -> ServerConfig {
    let mut config = config(Mode::Workers(1));
    config.proxy_protocol = true;
    config.trusted_proxies.add(Ipv4Addr::LOCALHOST.into(), 32);
    config
}

/// Opens a WebSocket behind this header.
fn open(world: &World, puller: &mut Puller, header: &[u8]) -> (Client, Peer) {
    let mut stream = connect(world.address);
    let key = generate_key();
    stream
        .write_all(&[header, &request(&key)].concat())
        .unwrap();
    let client = Client::shaken(stream, &key);
    let conn = puller.opened();
    (client, world.stats(conn).unwrap().peer_info.peer)
}

#[test]
fn a_trusted_proxy_says_who_the_client_is() {
    let (world, mut puller) = World::pulled(1, behind_a_proxy());
    let header = b"PROXY TCP4 192.0.2.1 192.0.2.2 4000 5000\r\n";
    let (mut client, peer) = open(&world, &mut puller, header);
    assert_eq!(peer, Peer::Inet(Ipv4Addr::new(192, 0, 2, 1).into(), 4000));
    client.seen();
}

#[test]
fn a_proxy_that_names_nobody_is_the_client_itself() {
    let (world, mut puller) = World::pulled(1, behind_a_proxy());
    let (client, peer) = open(&world, &mut puller, b"PROXY UNKNOWN\r\n");
    let own = client.stream.local_addr().unwrap();
    assert_eq!(peer, Peer::Inet(own.ip(), own.port()));
}

#[test]
fn untrusted_and_malformed_proxy_headers_are_refused() {
    let mut stranger = behind_a_proxy();
    stranger.trusted_proxies = Default::default();
    stranger
        .trusted_proxies
        .add(Ipv4Addr::new(192, 0, 2, 9).into(), 32);
    let refused = |config: ServerConfig, bytes: &[u8]| {
        let (world, _puller) = World::pulled(1, config);
        let mut stream = connect(world.address);
        stream.write_all(bytes).unwrap();
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 101"), "{answer:?}");
        assert_eq!(world.server.stats().connections, 0);
    };
    let header = b"PROXY TCP4 192.0.2.1 192.0.2.2 4000 5000\r\n";
    let whole = [header.as_slice(), &request(&generate_key())].concat();
    refused(stranger, &whole);
    refused(behind_a_proxy(), &request(&generate_key()));
    // It ends within the header.
    refused(behind_a_proxy(), &header[..20]);
}
