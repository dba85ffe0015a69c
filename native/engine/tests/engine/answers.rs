//! What a peer sent before it ended the connection is answered before our last word.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sockeye_engine::active::SetActive;
use sockeye_engine::op::Command;
use sockeye_engine::{Active, ConnId, Mode};
use sockeye_protocol::frame::Opcode;

use crate::support::*;

/// A server whose handler process answers when the test says so.
fn world() -> (World, Puller) {
    world_with(Duration::from_secs(20))
}

fn world_with(close_timeout: Duration) -> (World, Puller) {
    let mut config = config(Mode::Workers(1));
    config.close_timeout = close_timeout;
    let (world, mut puller) = World::pulled(1, config);
    puller.answers = false;
    (world, puller)
}

/// A client that has sent a message and these bytes, and its handler, which has seen both.
fn ended(world: &World, puller: &mut Puller, bytes: &[u8]) -> (Client, ConnId, Got) {
    let (mut client, conn) = world.open(puller);
    client.write(&[&masked(Opcode::Text, b"ask")[..], bytes].concat());
    puller.expect(conn, text("ask"));
    let (of, closed) = puller.next();
    assert_eq!(of, conn);
    assert!(matches!(closed, Got::Closed(..)), "{closed:?}");
    (client, conn, closed)
}

fn close(code: u16) -> Vec<u8> {
    masked(Opcode::Close, &close_payload(code))
}

#[test]
fn answers_come_before_the_last_word() {
    for (bytes, code) in [
        (close(4000), 4000),
        (b"\x81\x00".to_vec(), 1002),
        (masked(Opcode::Text, b"\xff"), 1007),
    ] {
        let (world, mut puller) = world();
        let (mut client, conn, closed) = ended(&world, &mut puller, &bytes);
        assert!(matches!(closed, Got::Closed(c, _) if c == code));
        for answer in [&b"one"[..], b"two"] {
            world.send(conn, Opcode::Text, answer).unwrap();
            client.expect(Opcode::Text, answer);
        }
        world.send(conn, Opcode::Text, b"three").unwrap();
        world.engine.answered(conn);
        assert!(world.send(conn, Opcode::Text, b"late").is_err());
        client.expect(Opcode::Text, b"three");
        assert_eq!(client.closed(), code);
        assert_eq!(client.next(), Next::End);
        world.settle();
        assert!(!world.engine.is_known(conn));
        world.stop_server();
        world.wait_stopped();
        assert_eq!(puller.take(9).0, []);
    }
}

#[test]
fn a_half_closed_client_is_answered() {
    let (world, mut puller) = world();
    let (mut client, conn) = world.open(&mut puller);
    client.text("ask");
    client.finish_writing();
    puller.expect(conn, text("ask"));
    puller.expect(conn, Got::Closed(1006, String::new()));
    // More than the system's buffers take.
    let large = vec![7; 16 << 20];
    world.send(conn, Opcode::Binary, &large).unwrap();
    world.engine.answered(conn);
    client.expect(Opcode::Binary, &large);
    assert_eq!(client.next(), Next::End);
}

/// The end of the socket behind a Close is no reason to drop what the system does not take yet.
#[test]
fn a_close_and_the_end_of_the_socket() {
    let (world, mut puller) = world();
    let (mut client, conn) = world.open(&mut puller);
    let held = world.hold();
    client.text("ask");
    client.close(1000);
    client.finish_writing();
    drop(held);
    puller.expect(conn, text("ask"));
    puller.expect(conn, Got::Closed(1000, String::new()));
    let large = vec![7; 16 << 20];
    world.send(conn, Opcode::Binary, &large).unwrap();
    world.engine.answered(conn);
    client.expect(Opcode::Binary, &large);
    client.expect(Opcode::Close, &close_payload(1000));
    assert_eq!(client.next(), Next::End);
}

#[test]
fn the_wait_for_answers_ends() {
    let (world, mut puller) = world_with(Duration::from_millis(300));
    let begin = Instant::now();
    let (mut client, conn, _) = ended(&world, &mut puller, &close(1000));
    client.expect(Opcode::Close, &close_payload(1000));
    assert!(begin.elapsed() >= Duration::from_millis(300));
    assert_eq!(client.next(), Next::End);
    assert!(world.send(conn, Opcode::Text, b"late").is_err());
    world.engine.answered(conn);
    world.settle();
    assert_eq!(world.server.stats().connections, 0);
}

#[test]
fn a_client_that_reads_no_answers_is_dropped() {
    let (world, mut puller) = world_with(Duration::from_millis(300));
    let (mut client, conn) = world.open(&mut puller);
    world
        .send(conn, Opcode::Binary, &vec![7; 64 << 20])
        .unwrap();
    client.close(1000);
    puller.expect(conn, Got::Closed(1000, String::new()));
    world.engine.answered(conn);
    world.stop_server();
    world.wait_stopped();
    drop(client);
}

#[test]
fn nothing_more_is_heard() {
    let mut config = config(Mode::Workers(1));
    config.close_timeout = Duration::from_secs(20);
    config.active = Active::Count(2);
    let (world, mut puller) = World::pulled(1, config);
    puller.answers = false;
    let late = [close(1000), masked(Opcode::Text, b"late")].concat();
    let (mut client, conn, _) = ended(&world, &mut puller, &late);
    client.text("later");
    client.send(Opcode::Ping, b"later");
    // Nobody is told that the credits have run out: the end is the last event.
    world.active(conn, SetActive::Add(-1));
    world.settle();
    assert_eq!(world.stats(conn).map(|stats| stats.frames_in), Some(1));
    world.engine.answered(conn);
    assert_eq!(client.closed(), 1000);
    client.drained();
    world.settle();
    assert_eq!(puller.take(9).0, []);
}

#[test]
fn the_handler_may_close_first() {
    let (world, mut puller) = world();
    let (mut client, conn, _) = ended(&world, &mut puller, &close(4000));
    world.send(conn, Opcode::Text, b"enough").unwrap();
    assert!(world.engine.set_closing(conn));
    ask(&world.engine, conn, Command::Close(4001, "mine".into()));
    world.engine.answered(conn);
    client.expect(Opcode::Text, b"enough");
    client.expect(Opcode::Close, b"\x0f\xa1mine");
    assert_eq!(client.next(), Next::End);
}

#[test]
fn the_handler_may_find_it_wrong() {
    let (world, mut puller) = world();
    let (mut client, conn, _) = ended(&world, &mut puller, &close(4000));
    world.send(conn, Opcode::Text, b"first").unwrap();
    world.engine.fail(conn, 1007, "not JSON");
    world.engine.answered(conn);
    client.expect(Opcode::Text, b"first");
    client.expect(Opcode::Close, b"\x03\xefnot JSON");
    assert_eq!(client.next(), Next::End);
}

#[test]
fn the_handler_may_die() {
    for (bytes, code) in [(close(4000), 1011), (b"\x81\x00".to_vec(), 1011)] {
        let (world, mut puller) = world();
        let (mut client, conn, _) = ended(&world, &mut puller, &bytes);
        world.send(conn, Opcode::Text, b"last").unwrap();
        puller.inbox.kill();
        world.engine.inbox_died(&world.server, &puller.inbox);
        client.expect(Opcode::Text, b"last");
        assert_eq!(client.closed(), code);
        assert_eq!(client.next(), Next::End);
        world.settle();
        assert_eq!(world.server.stats().connections, 0);
    }
}

#[test]
fn the_peer_may_be_gone() {
    let (world, mut puller) = world();
    let (client, conn, _) = ended(&world, &mut puller, &close(4000));
    client.reset();
    let large = vec![7; 1 << 20];
    for _ in 0..10 {
        let _ = world.send(conn, Opcode::Binary, &large);
        world.settle();
    }
    world.engine.answered(conn);
    world.settle();
    assert_eq!(world.server.stats().connections, 0);
    world.stop_server();
    world.wait_stopped();
    assert_eq!(puller.take(9).0, []);
}

#[test]
fn the_server_may_stop() {
    let (world, mut puller) = world();
    let (mut answered, conn, _) = ended(&world, &mut puller, &close(4000));
    let (mut forgotten, _, _) = ended(&world, &mut puller, &close(4001));
    let begin = Instant::now();
    world.stop_server();
    world.settle();
    // Unless this machine is so slow that the time is over.
    if world.send(conn, Opcode::Text, b"still").is_ok() {
        answered.expect(Opcode::Text, b"still");
    }
    world.engine.answered(conn);
    assert_eq!(answered.closed(), 4000);
    assert_eq!(answered.next(), Next::End);
    assert_eq!(forgotten.closed(), 4001);
    world.wait_stopped();
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn the_engine_may_stop() {
    let (world, mut puller) = world();
    let (mut client, _, _) = ended(&world, &mut puller, &close(4000));
    let begin = Instant::now();
    world.engine.stop();
    assert!(begin.elapsed() < Duration::from_secs(10));
    client.drained();
    assert_eq!(puller.take(9).0, []);
}

#[test]
fn without_credits_it_ends_all_the_same() {
    let mut config = config(Mode::Workers(1));
    config.close_timeout = Duration::from_millis(300);
    config.active = Active::False;
    let (world, mut puller) = World::pulled(1, config);
    let (mut client, conn) = world.open(&mut puller);
    client.text("ask");
    client.close(1000);
    assert_eq!(client.closed(), 1000);
    client.drained();
    // What was sent is still there for who asks for it.
    assert_eq!(puller.take(9).0, []);
    world.active(conn, SetActive::To(Active::True));
    puller.expect(conn, text("ask"));
    puller.expect(conn, Got::Closed(1000, String::new()));
}

#[test]
fn credits_that_come_in_time() {
    let mut config = config(Mode::Workers(1));
    config.close_timeout = Duration::from_secs(20);
    config.active = Active::False;
    let (world, mut puller) = World::pulled(1, config);
    let (mut client, conn) = world.open(&mut puller);
    client.text("ask");
    client.close(1000);
    world.settle();
    world.active(conn, SetActive::To(Active::True));
    puller.expect(conn, text("ask"));
    world.send(conn, Opcode::Text, b"answer").unwrap();
    puller.expect(conn, Got::Closed(1000, String::new()));
    client.expect(Opcode::Text, b"answer");
    assert_eq!(client.closed(), 1000);
}

/// A server of a plain process that answers when the test says so.
fn owned(close_timeout: Duration) -> (World, Mailbox) {
    let mut config = config(Mode::Owner);
    config.close_timeout = close_timeout;
    let (world, owner) = World::pushed(1, config);
    owner.answers.store(false, Ordering::Relaxed);
    (world, owner)
}

#[test]
fn a_plain_process_is_told_of_the_end_after_the_last_word() {
    for (bytes, code) in [(close(4000), 4000), (b"\x81\x00".to_vec(), 1002)] {
        let (world, mut owner) = owned(Duration::from_secs(20));
        let (mut client, conn) = world.open(&mut owner);
        client.write(&[&masked(Opcode::Text, b"ask")[..], &bytes].concat());
        owner.expect(conn, text("ask"));
        owner.expect(conn, Got::Ending);
        world.send(conn, Opcode::Text, b"answer").unwrap();
        client.expect(Opcode::Text, b"answer");
        assert!(owner.is_empty());
        world.engine.answered(conn);
        assert_eq!(client.closed(), code);
        let (of, event) = owner.next();
        assert!(of == conn && matches!(event, Got::Closed(c, _) if c == code));
    }
}

#[test]
fn a_plain_process_has_its_time() {
    let (world, mut owner) = owned(Duration::from_millis(300));
    let (mut client, conn) = world.open(&mut owner);
    client.close(1000);
    owner.expect(conn, Got::Ending);
    assert_eq!(client.closed(), 1000);
    owner.expect(conn, Got::Closed(1000, String::new()));
    world.engine.answered(conn);
    world.settle();
    assert_eq!(world.server.stats().connections, 0);
}

#[test]
fn a_plain_process_may_meet_what_is_wrong() {
    // With a Close behind it that is known already, or not.
    for behind in [&[][..], &close(4000)] {
        let (world, mut owner) = owned(Duration::from_secs(20));
        let (mut client, conn) = world.open(&mut owner);
        client.write(&[&masked(Opcode::Text, b"{")[..], behind].concat());
        owner.expect(conn, text("{"));
        world.settle();
        world.engine.close_after_answers(conn, 1007, "not JSON");
        // The shard may find the socket readable before it looks at what it is asked.
        world.settle();
        client.text("not heard");
        owner.expect(conn, Got::Ending);
        world.send(conn, Opcode::Text, b"answer").unwrap();
        world.engine.answered(conn);
        client.expect(Opcode::Text, b"answer");
        client.expect(Opcode::Close, b"\x03\xefnot JSON");
        owner.expect(conn, Got::Closed(1007, "not JSON".into()));
        client.drained();
        world.settle();
        assert!(owner.is_empty());
    }
}

#[test]
fn an_error_behind_our_close_ends_it_at_once() {
    let (world, mut owner) = owned(Duration::from_secs(20));
    let (mut client, conn) = world.open(&mut owner);
    assert!(world.engine.set_closing(conn));
    ask(&world.engine, conn, Command::Close(4001, "".into()));
    client.expect(Opcode::Close, &close_payload(4001));
    world.engine.close_after_answers(conn, 1007, "not JSON");
    owner.expect(conn, Got::Closed(1007, "not JSON".into()));
    client.drained();
}

#[test]
fn the_server_of_a_plain_process_may_stop() {
    let (world, mut owner) = owned(Duration::from_secs(60));
    let (mut client, conn) = world.open(&mut owner);
    client.close(4000);
    owner.expect(conn, Got::Ending);
    world.stop_server();
    assert_eq!(client.closed(), 4000);
    world.wait_stopped();
    owner.expect(conn, Got::Closed(4000, String::new()));
}

#[test]
fn a_plain_process_may_die() {
    let (world, mut owner) = owned(Duration::from_secs(60));
    let (mut client, conn) = world.open(&mut owner);
    client.close(4000);
    owner.expect(conn, Got::Ending);
    world.engine.owner_died(&owner.owner);
    assert_eq!(client.closed(), 1011);
    client.drained();
    world.settle();
    assert_eq!(world.server.stats().connections, 0);
}
