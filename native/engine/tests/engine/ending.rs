//! What an end is counted as, how long it may take, and who still hears of it.

use std::io::Write;
use std::time::{Duration, Instant};

use sockeye_engine::active::SetActive;
use sockeye_engine::{Active, MessageRate, Mode, SendError};
use sockeye_protocol::deflate::Policy;
use sockeye_protocol::frame::Opcode;
use sockeye_protocol::handshake::client::generate_key;

use crate::support::*;

const SHORT: Duration = Duration::from_millis(100);
/// No test waits so long.
const NEVER: Duration = Duration::from_secs(10_000);

#[test]
fn a_client_that_is_to_close_has_no_time_left_when_the_server_stops() {
    let mut config = config(Mode::Workers(1));
    config.close_timeout = NEVER;
    let (world, mut puller) = World::pulled(1, config);
    let (mut mute, conn) = world.open(&mut puller);
    close(&world.engine, conn, 4000);
    mute.expect(Opcode::Close, &close_payload(4000));
    world.stop_server();
    puller.expect(conn, Got::Closed(1006, String::new()));
    world.wait_stopped();
}

#[test]
fn unanswered_close_frames_are_counted() {
    let mut config = config(Mode::Workers(1));
    config.close_timeout = SHORT;
    let (world, mut puller) = World::pulled(1, config);
    let (mut mute, conn) = world.open(&mut puller);
    close(&world.engine, conn, 4000);
    mute.expect(Opcode::Close, &close_payload(4000));
    puller.expect(conn, Got::Closed(1006, String::new()));
    assert_eq!(world.server.stats().unanswered, 1);
    // This one has answered, and does not hang up.
    let (mut slow, conn) = world.open(&mut puller);
    close(&world.engine, conn, 4001);
    assert_eq!(slow.closed(), 4001);
    puller.expect(conn, Got::Closed(4001, String::new()));
    slow.drained();
    assert_eq!(world.server.stats().unanswered, 1);
}

#[test]
fn a_connection_cut_off_is_counted_once() {
    let mut config = config(Mode::Workers(1));
    config.idle_timeout = SHORT;
    let (world, mut puller) = World::pulled(1, config);
    let (mut idle, conn) = world.open(&mut puller);
    puller.expect(conn, Got::Closed(1001, "idle timeout".into()));
    idle.drained();
    assert_eq!(world.server.stats().failed, 1);
    let (mut wrong, conn) = world.open(&mut puller);
    wrong.write(b"\x81\x00");
    assert!(matches!(puller.next(), (of, Got::Closed(1002, _)) if of == conn));
    assert_eq!(world.server.stats().failed, 2);
    let (mut good, conn) = world.open(&mut puller);
    good.close(1000);
    puller.expect(conn, Got::Closed(1000, String::new()));
    assert_eq!(world.server.stats().failed, 2);
}

#[test]
fn a_connection_cut_off_before_it_has_a_process_leaves_nothing() {
    let mut config = config(Mode::PerConnection);
    config.idle_timeout = SHORT;
    config.attach_timeout = NEVER;
    let world = World::new(1, config, None);
    let mut client = world.client();
    assert_eq!(client.closed(), 1001);
    client.drained();
    assert_eq!(world.connections(), []);
    assert_eq!(world.server.stats().no_process, 0);
}

/// It was closed by somebody: that no process has come is not why it ends.
#[test]
fn a_closed_connection_without_a_process_does_not_count_as_one_that_missed_it() {
    let mut config = config(Mode::PerConnection);
    config.close_timeout = SHORT;
    config.attach_timeout = NEVER;
    let world = World::new(1, config, None);
    let mut mute = world.client();
    mute.seen();
    close(&world.engine, world.connections()[0], 4000);
    mute.expect(Opcode::Close, &close_payload(4000));
    mute.drained();
    let stats = world.server.stats();
    assert_eq!((stats.no_process, stats.unanswered), (0, 1));
}

fn passive() -> (World, Puller) {
    let mut config = config(Mode::Workers(1));
    config.active = Active::False;
    World::pulled(1, config)
}

/// Waits until so many messages have been read.
fn has_read(world: &World, count: u64) {
    while world.server.stats().frames_in < count {
        std::thread::yield_now();
    }
}

#[test]
fn an_end_that_waits_for_credits_is_told_when_the_server_stops() {
    let (world, mut puller) = passive();
    let (mut client, conn) = world.open(&mut puller);
    client.text("not asked for");
    client.close(1000);
    assert_eq!(client.closed(), 1000);
    client.drained();
    world.stop_server();
    puller.expect(conn, Got::Closed(1000, String::new()));
    world.wait_stopped();
}

#[test]
fn an_end_that_waits_for_credits_does_not_hold_up_a_stop() {
    let (world, mut puller) = passive();
    let (mut client, conn) = world.open(&mut puller);
    client.text("not asked for");
    has_read(&world, 1);
    world.stop_server();
    assert_eq!(client.closed(), 1001);
    client.drained();
    puller.expect(conn, Got::Closed(1001, "bye".into()));
    world.wait_stopped();
}

#[test]
fn a_process_still_gets_what_it_asks_for_when_the_server_has_stopped() {
    let (world, mut puller) = passive();
    let (mut client, conn) = world.open(&mut puller);
    client.text("asked for late");
    client.close(1000);
    has_read(&world, 1);
    let held = world.hold();
    world.stop_server();
    world.active(conn, SetActive::To(Active::True));
    drop(held);
    puller.expect(conn, text("asked for late"));
    puller.expect(conn, Got::Closed(1000, String::new()));
    world.wait_stopped();
}

#[test]
fn a_close_behind_the_answers_takes_what_is_held_with_it() {
    let (world, mut puller) = passive();
    let (mut client, conn) = world.open(&mut puller);
    client.text("not asked for");
    client.close(1000);
    assert_eq!(client.closed(), 1000);
    client.drained();
    drop(client);
    has_read(&world, 1);
    // The end of the connection waits behind the message, for credits.
    world.settle();
    world.engine.close_after_answers(conn, 4000, "");
    puller.expect(conn, Got::Closed(1000, String::new()));
    // Once more, when all is told.
    world.engine.close_after_answers(conn, 4001, "");
    world.settle();
    world.stop_server();
    world.wait_stopped();
    assert_eq!(puller.take(9).0, []);
}

/// However old the engine is.
#[test]
fn each_client_that_does_not_read_has_its_whole_time() {
    let mut config = config(Mode::Workers(1));
    config.send_queue_size = 100_000;
    config.send_timeout = 3 * SHORT;
    let (world, mut puller) = World::pulled(1, config);
    for _ in 0..2 {
        let (_slow, conn) = world.open(&mut puller);
        let began = Instant::now();
        world
            .send(conn, Opcode::Binary, &vec![7; 64 << 20])
            .unwrap();
        let more = world.send(conn, Opcode::Text, b"more");
        assert_eq!(more, Err(SendError::Busy));
        assert!(matches!(puller.next(), (of, Got::Closed(1008, _)) if of == conn));
        assert!(began.elapsed() >= 3 * SHORT, "{:?}", began.elapsed());
    }
}

/// A text message that is compressed, as far as its form goes.
fn stored(message: &str) -> Vec<u8> {
    let len = message.len() as u16;
    let [a, b] = len.to_le_bytes();
    let mut block = vec![0, a, b, !a, !b];
    block.extend_from_slice(message.as_bytes());
    block.push(0);
    let mut frame = masked(Opcode::Text, &block);
    frame[0] |= 0x40;
    frame
}

/// More than is held for a process that asks for nothing.
#[test]
fn frames_of_one_read_without_credits_are_kept() {
    let mut config = config(Mode::Workers(1));
    config.active = Active::False;
    config.deflate = Some(Policy::default());
    let (world, mut puller) = World::pulled(1, config);
    let mut client = connect(world.address);
    let head = String::from_utf8(request(&generate_key())).unwrap();
    let offer = "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    let head = head.replace("\r\n\r\n", offer);
    client.write_all(head.as_bytes()).unwrap();
    let conn = puller.opened();
    let name = |n: usize| format!("{n:01000}");
    let mut all: Vec<_> = (0..100).flat_map(|n| stored(&name(n))).collect();
    all.extend(masked(Opcode::Close, &close_payload(1000)));
    client.write_all(&all).unwrap();
    has_read(&world, 1);
    world.settle();
    assert!(world.server.stats().frames_in < 100);
    world.active(conn, SetActive::To(Active::True));
    (0..100).for_each(|n| puller.expect(conn, text(&name(n))));
    puller.expect(conn, Got::Closed(1000, String::new()));
}

#[test]
fn delayed_messages_come_before_the_end() {
    let mut config = config(Mode::Workers(1));
    config.message_rate = Some(MessageRate {
        rate: 1,
        burst: 1,
        close: false,
    });
    let (world, mut puller) = World::pulled(1, config);
    let (mut client, conn) = world.open(&mut puller);
    let all: Vec<_> = (0..60).flat_map(|_| masked(Opcode::Text, b"x")).collect();
    client.write(&all);
    client.close(1000);
    (0..60).for_each(|_| puller.expect(conn, text("x")));
    puller.expect(conn, Got::Closed(1000, String::new()));
}
