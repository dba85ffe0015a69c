//! Who is let in.

use std::io::{Read, Write};
use std::time::Duration;

use sockeye_engine::Mode;

use crate::support::*;

/// The whole answer to whatever was sent.
fn answer(mut stream: std::net::TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn connections_are_bounded_at_less_equal_and_more() {
    let mut config = config(Mode::Workers(1));
    config.max_connections = 3;
    let (world, mut puller) = World::pulled(1, config);
    let mut clients: Vec<_> = (0..3).map(|_| world.client()).collect();
    for _ in 0..3 {
        puller.opened();
    }
    for _ in 0..5 {
        let refused = answer(connect(world.address));
        assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    }
    let stats = world.server.stats();
    assert_eq!((stats.connections, stats.rejected()), (3, 5));
    // One goes: there is room for one.
    clients.pop().unwrap().reset();
    let (_, event) = puller.next();
    assert_eq!(event, Got::Closed(1006, String::new()));
    let (mut client, conn) = world.open(&mut puller);
    client.text("in");
    puller.expect(conn, text("in"));
    let refused = answer(connect(world.address));
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
}

#[test]
fn a_late_handshake_is_dropped() {
    let mut config = config(Mode::Workers(1));
    config.handshake_timeout = Duration::from_millis(200);
    config.max_connections = 2;
    let (world, mut puller) = World::pulled(2, config);
    let mut slow = connect(world.address);
    slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").unwrap();
    let silent = connect(world.address);
    assert_eq!(answer(slow), "");
    assert_eq!(answer(silent), "");
    // Their places are free again.
    let _one = world.client();
    let (_two, _) = world.open(&mut puller);
    puller.opened();
    assert_eq!(world.server.stats().rejected(), 2);
}

#[test]
fn wrong_requests_are_refused() {
    let (world, _puller) = World::pulled(1, config(Mode::Workers(1)));
    let mut stream = connect(world.address);
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let refused = answer(stream);
    assert!(refused.starts_with("HTTP/1.1 4"), "{refused}");
    let mut stream = connect(world.address);
    stream
        .write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
        .unwrap();
    let refused = answer(stream);
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    world.settle();
    assert_eq!(world.server.stats().connections, 0);
}

#[cfg(unix)]
#[test]
fn a_port_is_shared_if_both_want_it() {
    let mut shared = config(Mode::Workers(1));
    shared.reuse_port = true;
    let (world, _puller) = World::pulled(1, shared.clone());
    shared.address = world.address.into();
    assert_eq!(world.listen_again(shared.clone()), None);
    shared.reuse_port = false;
    assert_eq!(
        world.listen_again(shared),
        Some(std::io::ErrorKind::AddrInUse)
    );
}

#[test]
fn a_taken_port_is_an_error() {
    let (world, _puller) = World::pulled(1, config(Mode::Workers(1)));
    let mut config = config(Mode::Owner);
    config.address = world.address.into();
    let second = world.listen_again(config);
    assert_eq!(second, Some(std::io::ErrorKind::AddrInUse));
}

#[test]
fn servers_share_an_engine_and_nothing_else() {
    let (world, mut puller) = World::pulled(2, config(Mode::Workers(1)));
    let second = World::on(world.engine.clone(), config(Mode::Workers(1)), None);
    let mut second_puller = second.worker(0);
    let mut one = world.client();
    let mut two = second.client();
    let conn = puller.opened();
    let second_conn = second_puller.opened();
    second.stop_server();
    assert_eq!(two.closed(), 1001);
    second.wait_stopped();
    assert_eq!(second_puller.until_closed(second_conn).1, 1001);
    one.text("here");
    puller.expect(conn, text("here"));
}

#[test]
fn short_lived_connections_do_not_fill_an_inbox_without_end() {
    const LIMIT: usize = 64 * 1024;
    let mut config = config(Mode::Workers(1));
    config.inbox_size = LIMIT;
    let (world, mut puller) = World::pulled(2, config);
    let mut accepted = 0;
    let last = loop {
        let mut stream = connect(world.address);
        let patience = Duration::from_millis(500);
        stream.set_read_timeout(Some(patience)).unwrap();
        let key = sockeye_protocol::handshake::client::generate_key();
        stream.write_all(&request(&key)).unwrap();
        if stream.peek(&mut [0]).is_err() {
            break stream;
        }
        accepted += 1;
        assert!(accepted < 20_000, "{} bytes wait", puller.inbox.pending());
    };
    // Those that were on their way still came.
    assert!(puller.inbox.pending() < LIMIT + (1 << 20) + (64 << 10));
    for _ in 0..2 * accepted {
        puller.next();
    }
    last.set_read_timeout(Some(LONG)).unwrap();
    assert_eq!(last.peek(&mut [0]).unwrap(), 1);
}
