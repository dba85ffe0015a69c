//! How connections end.

use std::time::Duration;

use sockeye_engine::Mode;
use sockeye_engine::op::Command;
use sockeye_protocol::frame::Opcode;

use crate::support::*;

fn world() -> (World, Puller) {
    World::pulled(1, config(Mode::Workers(1)))
}

#[test]
fn the_client_closes() {
    for code in [1000, 1001, 3000, 4999] {
        let (world, mut puller) = world();
        let (mut client, conn) = world.open(&mut puller);
        let mut payload = close_payload(code);
        payload.extend(b"why");
        client.send(Opcode::Close, &payload);
        puller.expect(conn, Got::Closed(code, "why".into()));
        assert_eq!(client.closed(), code);
        assert_eq!(client.next(), Next::End);
        assert!(world.send(conn, Opcode::Text, b"").is_err());
    }
}

#[test]
fn the_client_closes_without_a_code() {
    let (world, mut puller) = world();
    let (mut client, conn) = world.open(&mut puller);
    client.send(Opcode::Close, b"");
    puller.expect(conn, Got::Closed(1005, String::new()));
    client.expect(Opcode::Close, b"");
}

#[test]
fn the_server_closes() {
    let (world, mut puller) = world();
    let (mut client, conn) = world.open(&mut puller);
    world.send(conn, Opcode::Text, b"before").unwrap();
    assert!(world.engine.set_closing(conn));
    ask(&world.engine, conn, Command::Close(4000, "enough".into()));
    assert!(world.send(conn, Opcode::Text, b"after").is_err());
    assert!(!world.engine.set_closing(conn));
    client.expect(Opcode::Text, b"before");
    client.expect(Opcode::Close, b"\x0f\xa0enough");
    client.send(Opcode::Close, b"\x0f\xa0");
    puller.expect(conn, Got::Closed(4000, String::new()));
    assert_eq!(client.next(), Next::End);
    assert!(!world.engine.is_known(conn));
}

#[test]
fn both_close_at_once() {
    let (world, mut puller) = world();
    let (mut client, conn) = world.open(&mut puller);
    let held = world.hold();
    close(&world.engine, conn, 4001);
    client.close(4002);
    drop(held);
    let (_, event) = puller.next();
    let code = client.closed();
    assert!(
        matches!(event, Got::Closed(4001 | 4002, _)),
        "{event:?} after {code}"
    );
    client.drained();
}

#[test]
fn a_client_that_never_answers_a_close_is_dropped() {
    let mut config = config(Mode::Workers(1));
    config.close_timeout = Duration::from_millis(200);
    let (world, mut puller) = World::pulled(1, config);
    let (mut client, conn) = world.open(&mut puller);
    close(&world.engine, conn, 1000);
    client.expect(Opcode::Close, &close_payload(1000));
    puller.expect(conn, Got::Closed(1006, String::new()));
    client.drained();
}

#[test]
fn a_violation_ends_it_at_once() {
    let (world, mut puller) = world();
    let (mut client, conn) = world.open(&mut puller);
    client.text("good");
    client.write(b"\x81\x00");
    client.text("too late");
    puller.expect(conn, text("good"));
    assert!(matches!(puller.next().1, Got::Closed(1002, _)));
    assert_eq!(client.closed(), 1002);
    client.drained();
}

#[test]
fn a_handler_ends_it_at_once() {
    let (world, mut puller) = world();
    let (mut client, conn) = world.open(&mut puller);
    world.engine.fail(conn, 1007, "not JSON");
    client.expect(Opcode::Close, b"\x03\xefnot JSON");
    puller.expect(conn, Got::Closed(1007, "not JSON".into()));
    assert_eq!(client.next(), Next::End);
}

#[test]
fn a_client_that_closes_and_stops_writing_still_gets_the_answer() {
    let (world, mut puller) = world();
    for _ in 0..20 {
        let (mut client, conn) = world.open(&mut puller);
        let held = world.hold();
        client.send(Opcode::Ping, b"ping");
        client.close(1000);
        client.finish_writing();
        drop(held);
        puller.expect(conn, Got::Closed(1000, String::new()));
        client.expect(Opcode::Pong, b"ping");
        client.expect(Opcode::Close, &close_payload(1000));
        assert_eq!(client.next(), Next::End);
    }
}

#[test]
fn a_client_that_hangs_up() {
    let (world, mut puller) = world();
    let (mut client, conn) = world.open(&mut puller);
    client.text("last");
    client.finish_writing();
    puller.expect(conn, text("last"));
    puller.expect(conn, Got::Closed(1006, String::new()));
    assert_eq!(client.next(), Next::End);
}

#[test]
fn a_client_that_resets() {
    let (world, mut puller) = world();
    let (client, conn) = world.open(&mut puller);
    client.reset();
    puller.expect(conn, Got::Closed(1006, String::new()));
    world.settle();
    assert_eq!(world.server.stats().connections, 0);
}

#[test]
fn all_that_was_queued_leaves_before_the_close() {
    let (world, mut puller) = world();
    let (mut client, conn) = world.open(&mut puller);
    // More than the system's buffers take.
    let large = vec![7; 16 << 20];
    world.send(conn, Opcode::Binary, &large).unwrap();
    close(&world.engine, conn, 1000);
    client.expect(Opcode::Binary, &large);
    assert_eq!(client.closed(), 1000);
    puller.expect(conn, Got::Closed(1000, String::new()));
}

#[test]
fn a_slot_that_is_used_again_has_another_name() {
    let (world, mut puller) = world();
    let mut names = std::collections::HashSet::new();
    for _ in 0..50 {
        let (mut client, conn) = world.open(&mut puller);
        client.close(1000);
        puller.expect(conn, Got::Closed(1000, String::new()));
        assert_eq!(client.closed(), 1000);
        client.drained();
        world.settle();
        assert!(names.insert(conn));
        let (mut next, next_conn) = world.open(&mut puller);
        assert_ne!(conn, next_conn);
        // What is meant for the old one does not reach the new one.
        assert!(!world.engine.is_known(conn));
        assert!(world.send(conn, Opcode::Text, b"stale").is_err());
        ask(&world.engine, conn, Command::Fail(4000, "stale".into()));
        world.send(next_conn, Opcode::Text, b"fresh").unwrap();
        next.expect(Opcode::Text, b"fresh");
        next.reset();
        puller.expect(next_conn, Got::Closed(1006, String::new()));
        names.insert(next_conn);
    }
}
