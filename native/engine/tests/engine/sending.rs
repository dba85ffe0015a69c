//! Frames to clients that read slowly or not at all.

use std::time::Duration;

use sockeye_engine::op::Command;
use sockeye_engine::pieces::{Piece, StreamError};
use sockeye_engine::{Broadcast, ConnId, Frames, Mode, SendError, ServerConfig, ShardSet};
use sockeye_protocol::Kind;
use sockeye_protocol::frame::{self, Opcode};

use crate::support::*;

fn queue(bytes: u32) -> ServerConfig {
    let mut config = config(Mode::Workers(1));
    config.send_queue_size = bytes;
    config
}

/// A frame that so many bytes are on the wire.
fn wire(len: usize) -> Vec<u8> {
    let head = frame::head_len(len.saturating_sub(4), false);
    vec![b'x'; len - head]
}

/// More than the system's buffers take, whatever they grow to. An empty queue takes it.
const HUGE: usize = 64 << 20;

/// Fills the queue of a client that does not read: the next sender is told so.
fn stuff(world: &World, conn: ConnId) {
    world.send(conn, Opcode::Binary, &vec![7; HUGE]).unwrap();
    let more = world.send(conn, Opcode::Text, b"more");
    assert_eq!(more, Err(SendError::Busy));
}

#[test]
fn the_queue_is_bounded_at_less_equal_and_more() {
    for (second, expected) in [(399, Ok(())), (400, Ok(())), (401, Err(SendError::Busy))] {
        let (world, mut puller) = World::pulled(1, queue(1000));
        let (mut client, conn) = world.open(&mut puller);
        let held = world.hold();
        world.send(conn, Opcode::Binary, &wire(600)).unwrap();
        let result = world.send(conn, Opcode::Binary, &wire(second));
        assert_eq!(result, expected, "600 and {second} of 1000");
        drop(held);
        client.expect(Opcode::Binary, &wire(600));
        if expected.is_ok() {
            client.expect(Opcode::Binary, &wire(second));
        }
        world.settle();
        assert_eq!(world.stats(conn).unwrap().queue, 0);
        world.send(conn, Opcode::Binary, &wire(5000)).unwrap();
        client.expect(Opcode::Binary, &wire(5000));
    }
}

#[test]
fn a_client_that_does_not_read_makes_its_sender_busy_and_nobody_else() {
    const PAYLOAD: usize = 10_000;
    let (world, mut puller) = World::pulled(1, queue(100_000));
    let (mut slow, slow_conn) = world.open(&mut puller);
    let (mut other, other_conn) = world.open(&mut puller);
    stuff(&world, slow_conn);
    for _ in 0..100 {
        world
            .send(other_conn, Opcode::Binary, &[8; PAYLOAD])
            .unwrap();
        other.expect(Opcode::Binary, &[8; PAYLOAD]);
    }
    // Once it reads, it gets what was taken, and its sender goes on.
    slow.expect(Opcode::Binary, &vec![7; HUGE]);
    world.settle();
    world.send(slow_conn, Opcode::Text, b"more").unwrap();
    slow.expect(Opcode::Text, b"more");
}

#[test]
fn tiny_frames_behind_a_large_one_keep_their_order() {
    let (world, mut puller) = World::pulled(1, queue(80 << 20));
    let (mut client, conn) = world.open(&mut puller);
    world.send(conn, Opcode::Binary, &vec![7; HUGE]).unwrap();
    for i in 0..10_000u32 {
        while world
            .send(conn, Opcode::Text, format!("{i}").as_bytes())
            .is_err()
        {
            // The shard's own queue is full.
            world.settle();
        }
    }
    client.expect(Opcode::Binary, &vec![7; HUGE]);
    for i in 0..10_000u32 {
        client.expect(Opcode::Text, format!("{i}").as_bytes());
    }
}

#[test]
fn a_client_whose_queue_stays_full_is_closed_alone() {
    let mut config = queue(100_000);
    config.send_timeout = Duration::from_millis(300);
    let (world, mut puller) = World::pulled(1, config);
    let (_slow, slow_conn) = world.open(&mut puller);
    let (mut other, other_conn) = world.open(&mut puller);
    stuff(&world, slow_conn);
    let (of, event) = puller.next();
    assert_eq!(of, slow_conn);
    assert!(matches!(event, Got::Closed(1008, _)), "{event:?}");
    let sent = world.send(slow_conn, Opcode::Text, b"");
    assert_eq!(sent, Err(SendError::Closed));
    world.send(other_conn, Opcode::Text, b"still here").unwrap();
    other.expect(Opcode::Text, b"still here");
    // The socket goes too, though its client never read.
    world.stop_server();
    assert_eq!(other.closed(), 1001);
    world.wait_stopped();
}

fn fan_out(world: &World, text: &str, except: Option<ConnId>) -> Result<ShardSet, SendError> {
    let mut bytes = Vec::new();
    frame::write(&mut bytes, Opcode::Text, text.as_bytes(), None);
    let frame = Broadcast::plain(bytes);
    world.engine.fan_out(&world.server, &frame, except, None)
}

#[test]
fn one_frame_goes_to_everybody_but_one() {
    let (world, mut puller) = World::pulled(2, queue(1000));
    let mut clients: Vec<_> = (0..6).map(|_| world.client()).collect();
    let conns: Vec<_> = (0..6).map(|_| puller.opened()).collect();
    fan_out(&world, "all", None).unwrap();
    fan_out(&world, "but one", Some(conns[0])).unwrap();
    fan_out(&world, "end", None).unwrap();
    let mut left_out = 0;
    for client in &mut clients {
        client.expect(Opcode::Text, b"all");
        match client.next() {
            Next::Frame(1, text) if text == b"but one" => client.expect(Opcode::Text, b"end"),
            Next::Frame(1, text) if text == b"end" => left_out += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(left_out, 1);
    world.settle();
    let stats = world.server.stats();
    assert_eq!((stats.frames_out, stats.dropped), (17, 0));
}

#[test]
fn a_full_client_misses_broadcasts_which_are_counted() {
    let (world, mut puller) = World::pulled(1, queue(100_000));
    let (_slow, slow_conn) = world.open(&mut puller);
    let (mut other, _) = world.open(&mut puller);
    stuff(&world, slow_conn);
    let news = "n".repeat(100_000);
    for _ in 0..5 {
        fan_out(&world, &news, None).unwrap();
        other.expect(Opcode::Text, news.as_bytes());
    }
    world.settle();
    assert_eq!(world.server.stats().dropped, 5);
}

#[test]
fn frames_before_a_stop_arrive_before_the_close() {
    let (world, mut puller) = World::pulled(1, queue(1 << 20));
    let (mut client, conn) = world.open(&mut puller);
    let held = world.hold();
    world.send(conn, Opcode::Text, b"last words").unwrap();
    fan_out(&world, "to all", None).unwrap();
    world.stop_server();
    drop(held);
    client.expect(Opcode::Text, b"last words");
    client.expect(Opcode::Text, b"to all");
    assert_eq!(client.closed(), 1001);
    world.wait_stopped();
}

#[test]
fn frames_before_a_death_arrive_before_the_close() {
    // More than one turn carries out.
    const FRAMES: usize = 5000;
    let (world, mut puller) = World::pulled(1, queue(1 << 20));
    let (mut client, conn) = world.open(&mut puller);
    let held = world.hold();
    for i in 0..FRAMES {
        world
            .send(conn, Opcode::Text, format!("{i}").as_bytes())
            .unwrap();
    }
    world.engine.inbox_died(&world.server, &puller.inbox);
    drop(held);
    for i in 0..FRAMES {
        client.expect(Opcode::Text, format!("{i}").as_bytes());
    }
    assert_eq!(client.closed(), 1011);
}

/// Sends a piece of a message, as a process does.
fn piece(world: &World, conn: ConnId, step: Piece, payload: &[u8]) -> Result<(), SendError> {
    let undo = world.engine.stream(conn, 1, Kind::Text, step, payload);
    let (op, is_last) = match step {
        Piece::First => (Opcode::Text, false),
        Piece::More => (Opcode::Continuation, false),
        Piece::Last => (Opcode::Continuation, true),
    };
    let mut frames = Frames::default();
    frame::write_fragment(&mut frames.bytes, op, is_last, payload, None);
    let len = frames.bytes.len();
    world.engine.reserve_piece(conn, step, len)?;
    let part = Command::Stream(0..len as u32, step, undo.unwrap());
    frames.commands.push((conn, part));
    world.engine.send(conn.shard(), frames);
    Ok(())
}

/// Not that another message is open: that one has no end any more, and who waits for it waits for ever.
#[test]
fn pieces_for_a_closing_connection_are_refused_as_closed() {
    let (world, mut puller) = World::pulled(1, queue(1000));
    let (_client, conn) = world.open(&mut puller);
    let next = |owner, step| world.engine.stream(conn, owner, Kind::Binary, step, b"");
    next(1, Piece::First).unwrap();
    assert_eq!(next(2, Piece::First).err(), Some(StreamError::Streaming));
    world.engine.set_closing(conn);
    assert_eq!(next(2, Piece::First).err(), Some(StreamError::Closed));
    assert_eq!(next(1, Piece::More).err(), Some(StreamError::Closed));
}

#[test]
fn a_message_in_pieces_does_not_wait_for_what_waits_for_it() {
    let (world, mut puller) = World::pulled(1, queue(100));
    let (mut client, conn) = world.open(&mut puller);
    piece(&world, conn, Piece::First, b"a").unwrap();
    client.expect(Opcode::Text, b"a");
    world.send(conn, Opcode::Text, &wire(60)).unwrap();
    world.settle();
    let others = world.send(conn, Opcode::Text, &wire(60));
    assert_eq!(others, Err(SendError::Busy), "the bound stands for others");
    piece(&world, conn, Piece::More, &[b'b'; 90]).unwrap();
    client.expect(Opcode::Continuation, &[b'b'; 90]);
    world.settle();
    // As into an empty queue.
    piece(&world, conn, Piece::Last, &[b'c'; 5000]).unwrap();
    client.expect(Opcode::Continuation, &[b'c'; 5000]);
    client.expect(Opcode::Text, &wire(60));
    world.settle();
    assert_eq!(world.stats(conn).unwrap().queue, 0);
}
