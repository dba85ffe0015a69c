//! Servers that stop.

use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

use sockeye_engine::{Active, Mode};
use sockeye_protocol::frame::Opcode;

use crate::support::*;

fn stopped_once(world: &World) {
    world.wait_stopped();
    world.settle();
    assert!(world.stopped.try_recv().is_err(), "told twice");
}

#[test]
fn a_server_without_connections() {
    let (world, _puller) = World::pulled(2, config(Mode::Workers(1)));
    world.stop_server();
    world.stop_server();
    stopped_once(&world);
    TcpListener::bind(world.address).expect("the port is free");
}

#[test]
fn a_server_with_all_kinds_of_connections() {
    let (world, mut puller) = World::pulled(2, config(Mode::Workers(1)));
    let (mut idle, idle_conn) = world.open(&mut puller);
    // Nothing said yet, and half of it said.
    let _silent = connect(world.address);
    let mut half = connect(world.address);
    half.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    // Closing, and its client will not hang up.
    let (mut lingering, conn) = world.open(&mut puller);
    lingering.close(1000);
    puller.expect(conn, Got::Closed(1000, String::new()));
    // Asked to close, and its client will not answer.
    let (mut mute, conn) = world.open(&mut puller);
    close(&world.engine, conn, 4000);
    mute.expect(Opcode::Close, &close_payload(4000));
    world.stop_server();
    assert_eq!(idle.closed(), 1001);
    stopped_once(&world);
    TcpListener::bind(world.address).expect("the port is free");
    let mut codes = Vec::new();
    for _ in 0..2 {
        if let (of, Got::Closed(code, _)) = puller.next() {
            codes.push((of, code));
        }
    }
    assert!(codes.contains(&(idle_conn, 1001)));
    assert!(codes.contains(&(conn, 1006)));
    assert_eq!(world.server.stats().connections, 0);
}

#[test]
fn the_same_port_again_and_again() {
    let engine = engine(2);
    let mut config = config(Mode::Workers(1));
    for round in 0..100 {
        let world = World::on(engine.clone(), config.clone(), None);
        config.address = world.address.into();
        let mut puller = world.worker(0);
        let (mut client, conn) = world.open(&mut puller);
        client.text("x");
        puller.expect(conn, text("x"));
        world.stop_server();
        assert_eq!(client.closed(), 1001, "round {round}");
        world.wait_stopped();
        engine.remove_stopped(world.server.id());
        // The engine goes on.
        std::mem::forget(world);
    }
    engine.stop();
}

/// A connection that nobody will ever hear of must not outlive its server.
#[test]
fn connections_without_a_receiver_end_with_their_server() {
    for mode in [Mode::Workers(1), Mode::PerConnection] {
        let mut config = config(mode);
        config.close_timeout = Duration::from_millis(100);
        let world = World::new(1, config, None);
        let mut waiting = world.client();
        waiting.text("for nobody");
        let mut left = world.client();
        left.close(1000);
        assert_eq!(left.closed(), 1000);
        left.drained();
        world.stop_server();
        assert_eq!(waiting.closed(), 1001);
        stopped_once(&world);
        assert_eq!(world.connections(), []);
        assert_eq!(world.server.stats().connections, 0);
        assert_eq!(world.server.unattached(), 0);
    }
}

/// Nor one whose owner has not asked for what it sent.
#[test]
fn connections_of_a_passive_owner_end_with_their_server() {
    let mut config = config(Mode::Owner);
    config.close_timeout = Duration::from_millis(100);
    config.active = Active::False;
    let (world, mut owner) = World::pushed(1, config);
    let (mut open, open_conn) = world.open(&mut owner);
    open.text("not asked for");
    let (mut left, left_conn) = world.open(&mut owner);
    left.text("not asked for");
    left.close(1000);
    assert_eq!(left.closed(), 1000);
    left.drained();
    world.stop_server();
    assert_eq!(open.closed(), 1001);
    let mut closed = [owner.next(), owner.next()];
    closed.sort_by_key(|(_, event)| format!("{event:?}"));
    assert_eq!(closed[0], (left_conn, Got::Closed(1000, String::new())));
    assert_eq!(closed[1], (open_conn, Got::Closed(1001, "bye".into())));
    stopped_once(&world);
    assert_eq!(world.connections(), []);
}

#[test]
fn the_last_event_comes_before_the_news_of_the_stop() {
    let (world, mut owner) = World::pushed(1, config(Mode::Owner));
    let (mut client, conn) = world.open(&mut owner);
    world.stop_server();
    assert_eq!(client.closed(), 1001);
    world.wait_stopped();
    assert!(!owner.is_empty());
    owner.expect(conn, Got::Closed(1001, "bye".into()));
}

#[test]
fn a_stopped_engine_tells_its_servers() {
    let (world, mut puller) = World::pulled(2, config(Mode::Workers(1)));
    let (mut polite, polite_conn) = world.open(&mut puller);
    let (mute, mute_conn) = world.open(&mut puller);
    let _silent = connect(world.address);
    let client = std::thread::spawn(move || assert_eq!(polite.closed(), 1001));
    world.engine.stop();
    client.join().unwrap();
    world.wait_stopped();
    let mut closed = [puller.next(), puller.next()];
    closed.sort_by_key(|(conn, _)| *conn != polite_conn);
    assert_eq!(
        closed[0],
        (polite_conn, Got::Closed(1001, "engine stopped".into()))
    );
    assert_eq!(closed[1], (mute_conn, Got::Closed(1006, String::new())));
    drop(mute);
    let sent = world.send(polite_conn, Opcode::Text, b"");
    assert!(sent.is_err());
}

/// What waits for credits, or for room in an inbox that is full, is not told; the end is.
#[test]
fn the_end_of_the_engine_tells_the_end_of_each_connection() {
    let mut full = config(Mode::Owner);
    full.inbox_size = 10;
    let mut passive = config(Mode::Workers(1));
    passive.active = Active::Count(1);
    let (owned, owner) = World::owned(full);
    let (pulled, worker) = World::pulled(1, passive);
    for (world, mut puller) in [(owned, owner), (pulled, worker)] {
        let (mut client, conn) = world.open(&mut puller);
        for _ in 0..3 {
            client.text("x");
        }
        client.reset();
        while world.server.stats().frames_in < 3 {
            std::thread::yield_now();
        }
        world.engine.stop();
        world.wait_stopped();
        assert_eq!(puller.until_closed(conn).1, 1006);
    }
}

#[test]
fn a_server_that_stops_leaves_the_listener_of_another() {
    let engine = engine(1);
    let [first, second] =
        [(); 2].map(|()| World::on(engine.clone(), config(Mode::Workers(1)), None));
    first.stop_server();
    first.wait_stopped();
    second.client().seen();
    second.stop_server();
    second.wait_stopped();
}
