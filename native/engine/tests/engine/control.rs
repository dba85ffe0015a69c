//! Pings and pongs for those who want to see them.

use std::time::Duration;

use sockeye_engine::active::SetActive;
use sockeye_engine::{Active, Mode, ServerConfig};
use sockeye_protocol::frame::Opcode;

use crate::support::*;

fn seen() -> ServerConfig {
    let mut config = config(Mode::Workers(1));
    config.control_frames = true;
    config
}

#[test]
fn they_come_in_order_among_the_messages() {
    let (world, mut puller) = World::pulled(1, seen());
    let (mut client, conn) = world.open(&mut puller);
    client.text("one");
    client.send(Opcode::Ping, b"here?");
    client.send(Opcode::Pong, b"yes");
    client.text("two");
    puller.expect(conn, text("one"));
    puller.expect(conn, Got::Ping(b"here?".to_vec()));
    puller.expect(conn, Got::Pong(b"yes".to_vec()));
    puller.expect(conn, text("two"));
    client.expect(Opcode::Pong, b"here?");
}

#[test]
fn each_costs_a_credit() {
    let mut config = seen();
    config.active = Active::Count(2);
    let (world, mut puller) = World::pulled(1, config);
    let (mut client, conn) = world.open(&mut puller);
    for n in 0..3 {
        client.send(Opcode::Ping, &[n]);
        client.expect(Opcode::Pong, &[n]);
    }
    puller.expect(conn, Got::Ping(vec![0]));
    puller.expect(conn, Got::Ping(vec![1]));
    puller.expect(conn, Got::Passive);
    world.active(conn, SetActive::To(Active::True));
    puller.expect(conn, Got::Ping(vec![2]));
}

#[test]
fn a_flood_of_pings_does_not_fill_an_inbox() {
    let mut config = seen();
    config.inbox_size = 10_000;
    let (world, mut puller) = World::pulled(1, config);
    let (mut client, conn) = world.open(&mut puller);
    let n = 2_000u32;
    let mut pings = Vec::new();
    for i in 0..n {
        pings.extend(masked(Opcode::Ping, &i.to_be_bytes()));
    }
    let mut writer = client.stream.try_clone().unwrap();
    let write = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &pings));
    // Answered as long as the receiver is not too far behind.
    client.expect(Opcode::Pong, &0u32.to_be_bytes());
    world.settle();
    assert!(puller.inbox.pending() <= 10_000 + 64);
    for i in 0..n {
        puller.expect(conn, Got::Ping(i.to_be_bytes().to_vec()));
    }
    write.join().unwrap().unwrap();
    for i in 1..n {
        client.expect(Opcode::Pong, &i.to_be_bytes());
    }
}

#[test]
fn the_answer_to_a_ping_of_the_engine_is_not_news() {
    let mut config = seen();
    config.ping_interval = Duration::from_millis(200);
    let (world, mut puller) = World::pulled(1, config);
    let (mut client, conn) = world.open(&mut puller);
    client.expect(Opcode::Ping, b"");
    client.text("first");
    client.send(Opcode::Pong, b"");
    client.send(Opcode::Pong, b"");
    puller.expect(conn, text("first"));
    puller.expect(conn, Got::Pong(Vec::new()));
    drop(world);
}

#[test]
fn control_frames_are_not_shown_by_default() {
    let (world, mut puller) = World::pulled(1, config(Mode::Workers(1)));
    let (mut client, conn) = world.open(&mut puller);
    client.send(Opcode::Ping, b"here?");
    client.send(Opcode::Pong, b"yes");
    client.text("one");
    puller.expect(conn, text("one"));
}
