//! Frames in and out through an inbox.

use std::thread;

use sockeye_engine::inbox::Left;
use sockeye_engine::{Frames, Mode};
use sockeye_protocol::frame::{self, Opcode};

use crate::support::*;

#[test]
fn a_frame_goes_in_and_comes_back() {
    let (world, mut puller) = World::pulled(1, config(Mode::Workers(1)));
    let mut client = world.client();
    client.text("hello");
    client.send(Opcode::Binary, b"");
    let conn = puller.opened();
    puller.expect(conn, text("hello"));
    puller.expect(conn, Got::Binary(Vec::new()));
    world.send(conn, Opcode::Text, b"world").unwrap();
    client.expect(Opcode::Text, b"world");
    let stats = world.stats(conn).unwrap();
    assert_eq!((stats.frames_in, &*stats.path), (2, "/path"));
    world.settle();
    let stats = world.server.stats();
    assert_eq!((stats.frames_in, stats.frames_out), (2, 1));
    assert_eq!((stats.connections, stats.accepted), (1, 1));
    assert_eq!(stats.bytes_out, 7);
}

#[test]
fn order_is_kept_on_every_shard() {
    const FRAMES: usize = 2000;
    let (world, mut puller) = World::pulled(2, config(Mode::Workers(1)));
    let echo = thread::spawn(move || puller.echo(4));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let mut client = world.client();
            thread::spawn(move || {
                let mut writer = client.stream.try_clone().unwrap();
                let write = thread::spawn(move || {
                    for i in 0..FRAMES {
                        let bytes =
                            masked(Opcode::Text, format!("{i} {}", "x".repeat(i)).as_bytes());
                        std::io::Write::write_all(&mut writer, &bytes).unwrap();
                    }
                });
                for i in 0..FRAMES {
                    client.expect(Opcode::Text, format!("{i} {}", "x".repeat(i)).as_bytes());
                }
                write.join().unwrap();
                client.close(1000);
                assert_eq!(client.closed(), 1000);
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    echo.join().unwrap();
}

#[test]
fn a_batch_rings_once() {
    let (world, mut puller) = World::pulled(1, config(Mode::Workers(1)));
    let (mut client, conn) = world.open(&mut puller);
    assert_eq!(puller.take(9).1, Left::Nothing);
    let frames: Vec<u8> = (0..100).flat_map(|_| masked(Opcode::Text, b"x")).collect();
    client.write(&frames);
    // It rang for the first; what comes before the process looks is silent.
    client.send(Opcode::Ping, b"done");
    client.expect(Opcode::Pong, b"done");
    world.settle();
    let (events, left) = puller.take(1000);
    assert_eq!((events.len(), left), (100, Left::Nothing));
    assert_eq!(puller.rings.try_iter().count(), 1);
    client.text("again");
    puller.expect(conn, text("again"));
}

#[test]
fn frames_of_one_call_arrive_together_and_in_order() {
    let (world, mut puller) = World::pulled(1, config(Mode::Workers(1)));
    let mut clients = [world.client(), world.client()];
    let conns = [puller.opened(), puller.opened()];
    let mut frames = Frames::default();
    for i in 0..50 {
        let conn = conns[i % 2];
        let start = frames.bytes.len();
        frame::write(
            &mut frames.bytes,
            Opcode::Text,
            format!("{i}").as_bytes(),
            None,
        );
        let end = frames.bytes.len();
        world.engine.reserve(conn, end - start).unwrap();
        frames.write(conn, start as u32..end as u32);
    }
    world.engine.send(0, frames);
    // Which client is which connection only the frames tell.
    for client in &mut clients {
        let Next::Frame(1, first) = client.next() else {
            panic!("no frame");
        };
        let first: usize = String::from_utf8(first).unwrap().parse().unwrap();
        for i in 1..25 {
            client.expect(Opcode::Text, format!("{}", first + 2 * i).as_bytes());
        }
    }
}

#[test]
fn bytes_behind_the_handshake_are_kept() {
    let (world, mut puller) = World::pulled(1, config(Mode::Workers(1)));
    let mut stream = connect(world.address);
    let key = sockeye_protocol::handshake::client::generate_key();
    let mut bytes = request(&key);
    bytes.extend(masked(Opcode::Text, b"early"));
    bytes.extend(&masked(Opcode::Text, b"cut here")[..9]);
    std::io::Write::write_all(&mut stream, &bytes).unwrap();
    let mut client = Client::shaken(stream, &key);
    let conn = puller.opened();
    puller.expect(conn, text("early"));
    client.write(&masked(Opcode::Text, b"cut here")[9..]);
    puller.expect(conn, text("cut here"));
}
