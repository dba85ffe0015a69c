//! A handler that is slower than its clients.

use std::io::{ErrorKind, Write};
use std::thread;
use std::time::Duration;

use sockeye_engine::{Mode, ServerConfig};
use sockeye_protocol::frame::Opcode;

use crate::support::*;

fn small(inbox_size: usize) -> ServerConfig {
    let mut config = config(Mode::Workers(1));
    config.inbox_size = inbox_size;
    config
}

#[test]
fn a_full_inbox_stops_its_clients_and_nothing_is_lost() {
    const PAYLOAD: usize = 1000;
    const MOST: usize = 64 << 20;
    let (world, mut puller) = World::pulled(1, small(64 * 1024));
    let (client, conn) = world.open(&mut puller);
    let mut stream = client.stream.try_clone().unwrap();
    stream
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let mut written = 0u64;
    let frame = |n: u64| {
        masked(
            Opcode::Binary,
            &[&n.to_be_bytes()[..], &[7; PAYLOAD]].concat(),
        )
    };
    // Nobody takes anything: at last the system's buffers are full.
    let rest = loop {
        let bytes = frame(written);
        written += 1;
        assert!((written as usize) < MOST / PAYLOAD, "it goes on reading");
        let mut sent = 0;
        let blocked = loop {
            match stream.write(&bytes[sent..]) {
                Ok(n) => sent += n,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    break true;
                }
                Err(e) => panic!("{e}"),
            }
            if sent == bytes.len() {
                break false;
            }
        };
        if blocked {
            break bytes[sent..].to_vec();
        }
    };
    assert!(puller.inbox.pending() <= 64 * 1024);
    stream.set_write_timeout(Some(LONG)).unwrap();
    let total = written + 1000;
    let writer = thread::spawn(move || {
        stream.write_all(&rest).unwrap();
        for n in written..total {
            stream.write_all(&frame(n)).unwrap();
        }
        client
    });
    for n in 0..total {
        let (of, event) = puller.next();
        let Got::Binary(payload) = event else {
            panic!("{event:?}");
        };
        assert_eq!(of, conn);
        assert_eq!(payload[..8], n.to_be_bytes());
        assert_eq!(payload.len(), 8 + PAYLOAD);
    }
    writer.join().unwrap();
    assert_eq!(world.server.stats().frames_in, total);
}

#[test]
fn pings_are_answered_while_the_inbox_is_full() {
    let (world, mut puller) = World::pulled(1, small(8 * 1024));
    let (mut greedy, greedy_conn) = world.open(&mut puller);
    let (mut client, conn) = world.open(&mut puller);
    greedy.send(Opcode::Binary, &[7; 8000]);
    // The answer shows that the server has seen what came before.
    greedy.send(Opcode::Ping, b"1");
    greedy.expect(Opcode::Pong, b"1");
    for i in 0..50 {
        client.text(&format!("{i}"));
        client.send(Opcode::Ping, b"2");
        client.expect(Opcode::Pong, b"2");
    }
    assert!(world.stats(conn).unwrap().held > 0);
    puller.expect(greedy_conn, Got::Binary(vec![7; 8000]));
    for i in 0..50 {
        puller.expect(conn, text(&format!("{i}")));
    }
}

#[test]
fn a_close_behind_held_messages_comes_last() {
    let (world, mut puller) = World::pulled(1, small(1024));
    let (mut client, conn) = world.open(&mut puller);
    for _ in 0..100 {
        client.send(Opcode::Binary, &[7; 100]);
    }
    client.close(1000);
    let (messages, code) = puller.until_closed(conn);
    assert_eq!((messages.len(), code), (100, 1000));
    assert_eq!(client.closed(), 1000);
    client.drained();
    world.settle();
    assert_eq!(world.connections(), []);
}

#[test]
fn a_reset_loses_nothing_that_was_read() {
    let (world, mut puller) = World::pulled(1, small(1024));
    let (mut client, conn) = world.open(&mut puller);
    for _ in 0..100 {
        client.send(Opcode::Binary, &[7; 100]);
    }
    client.send(Opcode::Ping, b"");
    client.expect(Opcode::Pong, b"");
    client.reset();
    let (messages, code) = puller.until_closed(conn);
    assert_eq!((messages.len(), code), (100, 1006));
}

/// Writes for ever, until the server closes.
fn flood(mut client: Client, payload: usize) -> thread::JoinHandle<()> {
    let frames: Vec<u8> = (0..64)
        .flat_map(|_| masked(Opcode::Binary, &vec![7; payload]))
        .collect();
    thread::spawn(move || while client.stream.write_all(&frames).is_ok() {})
}

#[test]
fn a_greedy_connection_does_not_starve_another() {
    const LIMIT: usize = 256 * 1024;
    const PAYLOAD: usize = 100;
    let (world, mut puller) = World::pulled(1, small(LIMIT));
    let (greedy, greedy_conn) = world.open(&mut puller);
    let (mut client, conn) = world.open(&mut puller);
    let flooding = flood(greedy, PAYLOAD);
    for round in 0..20 {
        client.text(&format!("{round}"));
        client.send(Opcode::Ping, b"");
        // The server has read it; at most what the inbox holds may come first.
        client.expect(Opcode::Pong, b"");
        let mut before = 0;
        loop {
            match puller.next() {
                (of, Got::Binary(_)) if of == greedy_conn => before += 1,
                (of, event) => {
                    assert_eq!((of, event), (conn, text(&format!("{round}"))));
                    break;
                }
            }
            assert!(before <= 2 * LIMIT / PAYLOAD, "starved");
        }
    }
    world.engine.stop();
    flooding.join().unwrap();
}

#[test]
fn more_greedy_connections_than_shares_do_not_starve_one_another() {
    const GREEDY: usize = 48;
    // Small: each has more to deliver than its share, so that all wait all the time.
    let (world, mut puller) = World::pulled(1, small(16 * 1024));
    let mut clients: Vec<_> = (0..GREEDY).map(|_| world.client()).collect();
    let conns: Vec<_> = (0..GREEDY).map(|_| puller.opened()).collect();
    // The server has something of each before the race begins.
    for client in &mut clients {
        for _ in 0..50 {
            client.send(Opcode::Binary, &[7; 100]);
        }
        client.send(Opcode::Ping, b"");
        client.expect(Opcode::Pong, b"");
    }
    let floods: Vec<_> = clients.into_iter().map(|c| flood(c, 100)).collect();
    let mut seen = std::collections::HashMap::new();
    let mut total = 0;
    while seen.len() < GREEDY {
        if let (conn, Got::Binary(_)) = puller.next() {
            assert!(conns.contains(&conn));
            *seen.entry(conn).or_insert(0) += 1;
            total += 1;
        }
        assert!(total < 2000, "{} of {GREEDY} in {total}", seen.len());
    }
    world.engine.stop();
    floods.into_iter().for_each(|f| f.join().unwrap());
}
