//! Peers that say nothing, and connections that last too long.

use std::time::{Duration, Instant};

use sockeye_engine::active::SetActive;
use sockeye_engine::op::Command;
use sockeye_engine::options::NEVER;
use sockeye_engine::{Active, ConnOptions, Mode, ServerConfig};
use sockeye_protocol::frame::Opcode;

use crate::support::*;

const SHORT: Duration = Duration::from_millis(300);

fn quiet() -> ServerConfig {
    let mut config = config(Mode::Workers(1));
    config.idle_timeout = NEVER;
    config.ping_interval = NEVER;
    config
}

#[test]
fn a_silent_client_is_closed() {
    let mut config = quiet();
    config.idle_timeout = SHORT;
    let (world, mut puller) = World::pulled(1, config);
    let begin = Instant::now();
    let (mut client, conn) = world.open(&mut puller);
    client.expect(Opcode::Close, b"\x03\xe9idle timeout");
    assert!(begin.elapsed() >= SHORT);
    puller.expect(conn, Got::Closed(1001, "idle timeout".into()));
    client.drained();
}

#[test]
fn a_client_that_answers_pings_stays() {
    let mut config = quiet();
    // What a busy machine does to this test is no silence.
    config.idle_timeout = 8 * SHORT;
    config.ping_interval = SHORT;
    config.pong_timeout = 8 * SHORT;
    let (world, mut puller) = World::pulled(1, config);
    let begin = Instant::now();
    let (mut client, conn) = world.open(&mut puller);
    while begin.elapsed() < 10 * SHORT {
        client.expect(Opcode::Ping, b"");
        client.send(Opcode::Pong, b"");
    }
    client.text("here");
    puller.expect(conn, text("here"));
}

#[test]
fn an_unanswered_ping_closes_while_the_server_pushes() {
    let mut config = quiet();
    config.ping_interval = SHORT;
    config.pong_timeout = SHORT;
    let (world, mut puller) = World::pulled(1, config);
    let (mut client, conn) = world.open(&mut puller);
    let begin = Instant::now();
    // What is sent to it proves nothing.
    while world.send(conn, Opcode::Text, b"news").is_ok() {
        std::thread::sleep(Duration::from_millis(1));
        assert!(begin.elapsed() < LONG);
    }
    assert!(begin.elapsed() >= 2 * SHORT);
    puller.expect(conn, Got::Closed(1001, "ping timeout".into()));
    assert_eq!(client.closed(), 1001);
}

#[test]
fn silence_is_ours_while_we_do_not_read() {
    let mut config = quiet();
    config.idle_timeout = SHORT;
    config.active = Active::False;
    let (world, mut puller) = World::pulled(1, config);
    let (mut client, conn) = world.open(&mut puller);
    // Beyond what is held for a receiver that wants nothing: the rest stays unread.
    let large = vec![7; 20_000];
    client.send(Opcode::Binary, &large);
    let mut other = world.client();
    other.expect(Opcode::Close, b"\x03\xe9idle timeout");
    let other_conn = puller.opened();
    puller.expect(other_conn, Got::Closed(1001, "idle timeout".into()));
    // The one that waits for us outlives those that say nothing, several times.
    let mut third = world.client();
    third.expect(Opcode::Close, b"\x03\xe9idle timeout");
    assert!(world.engine.is_open(conn));
    world.active(conn, SetActive::To(Active::True));
    let third_conn = puller.opened();
    puller.expect(third_conn, Got::Closed(1001, "idle timeout".into()));
    puller.expect(conn, Got::Binary(large));
    puller.expect(conn, Got::Closed(1001, "idle timeout".into()));
}

#[test]
fn nothing_lasts_longer_than_its_age() {
    let mut config = quiet();
    config.max_age = SHORT;
    let (world, mut puller) = World::pulled(1, config);
    let begin = Instant::now();
    let (mut client, conn) = world.open(&mut puller);
    assert_eq!(client.closed(), 1001);
    assert!(begin.elapsed() >= SHORT);
    assert!(matches!(puller.next(), (c, Got::Closed(1001, _)) if c == conn));
}

#[test]
fn times_and_limits_change_at_run_time() {
    let (world, mut puller) = World::pulled(1, quiet());
    let (mut client, conn) = world.open(&mut puller);
    let mut options = ConnOptions::default();
    options.max_message_size = Some(10);
    ask(&world.engine, conn, Command::Options(Box::new(options)));
    world.settle();
    client.text("0123456789");
    puller.expect(conn, text("0123456789"));
    let mut options = ConnOptions::default();
    options.ping_interval = Some(SHORT);
    ask(&world.engine, conn, Command::Options(Box::new(options)));
    client.expect(Opcode::Ping, b"");
    let mut options = ConnOptions::default();
    options.ping_interval = Some(NEVER);
    options.idle_timeout = Some(SHORT);
    ask(&world.engine, conn, Command::Options(Box::new(options)));
    client.expect(Opcode::Close, b"\x03\xe9idle timeout");
    puller.expect(conn, Got::Closed(1001, "idle timeout".into()));

    let (mut client, conn) = world.open(&mut puller);
    let mut options = ConnOptions::default();
    options.max_message_size = Some(10);
    ask(&world.engine, conn, Command::Options(Box::new(options)));
    world.settle();
    client.text("0123456789a");
    assert_eq!(client.closed(), 1009);
    assert!(matches!(puller.next(), (c, Got::Closed(1009, _)) if c == conn));
}
