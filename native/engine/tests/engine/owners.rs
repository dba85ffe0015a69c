//! A plain owner whose delivery process takes its time: the shard goes on, and the order stays.
//!
//! The test is the delivery process. What it has not taken, the owner has not heard.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use sockeye_engine::active::SetActive;
use sockeye_engine::host::{Notice, ServerHost};
use sockeye_engine::{
    Active, ConnId, Engine, Inbox, Mode, Peer, Server, ServerConfig, ServerStats,
};
use sockeye_protocol::frame::Opcode;

use crate::support::*;

const LARGE: usize = 300 * 1024;

fn owned(active: Active) -> ServerConfig {
    let mut config = config(Mode::Owner);
    config.active = active;
    config.limits.max_message_size = 4 * LARGE;
    config.inbox_size = LARGE;
    config
}

fn long(len: usize) -> String {
    "x".repeat(len)
}

/// A connection with a large message that its owner has not heard of, and what it was.
fn busy(world: &World, owner: &mut Puller) -> (Client, ConnId, String) {
    let (mut client, conn) = world.open(owner);
    let large = long(LARGE);
    client.text(&large);
    client.seen();
    (client, conn, large)
}

fn all(owner: &mut Puller) -> Vec<(ConnId, Got)> {
    owner.take(1000).0
}

#[test]
fn others_are_served_meanwhile() {
    let (world, mut owner) = World::owned(owned(Active::True));
    let (_busy, busy, large) = busy(&world, &mut owner);
    // A server with a handler, on the same and only shard.
    let other = World::on(world.engine.clone(), config(Mode::Workers(1)), None);
    let mut puller = other.worker(0);
    let mut client = other.client();
    let conn = puller.opened();
    client.text("small");
    puller.expect(conn, text("small"));
    world.send(conn, Opcode::Text, b"reply").unwrap();
    client.expect(Opcode::Text, b"reply");
    owner.expect(busy, text(&large));
}

#[test]
fn the_order_of_an_owner_stays() {
    let mut config = owned(Active::True);
    config.close_timeout = Duration::from_millis(100);
    let (world, mut owner) = World::owned(config);
    let (mut quiet, second) = world.open(&mut owner);
    let (mut client, first, large) = busy(&world, &mut owner);
    client.text("after");
    client.close(1000);
    assert_eq!(client.closed(), 1000);
    for i in 0..3 {
        quiet.text(&format!("{i}"));
        quiet.seen();
    }
    let mut late = world.client();
    late.text("late");
    late.seen();
    world.settle();
    assert!(
        world.engine.is_known(first),
        "its owner has not heard of the end"
    );
    owner.expect(first, text(&large));
    let mut rest: Vec<_> = (0..7).map(|_| owner.next()).collect();
    let third = |(_, event): &&(ConnId, Got)| matches!(event, Got::Open(_));
    let third = rest.iter().find(third).unwrap().0;
    rest.sort_by_key(|(conn, _)| [first, second, third].iter().position(|c| c == conn));
    let expected = [
        (first, text("after")),
        (first, Got::Closed(1000, String::new())),
        (second, text("0")),
        (second, text("1")),
        (second, text("2")),
        (third, Got::Open("/path".into())),
        (third, text("late")),
    ];
    assert_eq!(rest, expected);
    assert!(!world.engine.is_known(first));
}

#[test]
fn input_of_a_busy_owner_is_bounded_and_complete() {
    const FRAMES: usize = 4000;
    let (world, mut owner) = World::owned(owned(Active::True));
    let (mut client, conn, large) = busy(&world, &mut owner);
    let mut writer = world.client();
    let writer = std::thread::spawn(move || {
        for _ in 0..FRAMES {
            writer.text(&long(1000));
        }
        writer
    });
    let held = || {
        let conns = world.connections();
        let stats = conns.iter().filter_map(|conn| world.stats(*conn));
        stats.map(|stats| stats.held).sum::<usize>()
    };
    // Of the 16 KiB that may be held, a frame that is cut has a part.
    while held() < 14 * 1024 {
        client.seen();
    }
    // Each of these is a chance to read more.
    for _ in 0..200 {
        client.seen();
        let held = held();
        assert!(held <= 32 * 1024, "{held} bytes are held");
        assert!(owner.inbox.pending() <= 2 * LARGE);
    }
    owner.expect(conn, text(&large));
    let other = owner.opened();
    for _ in 0..FRAMES {
        owner.expect(other, text(&long(1000)));
    }
    writer.join().unwrap();
}

#[test]
fn credits_and_the_notice_keep_their_place() {
    let (world, mut owner) = World::owned(owned(Active::Count(3)));
    let (mut client, conn, large) = busy(&world, &mut owner);
    for i in 0..4 {
        client.text(&format!("{i}"));
    }
    client.seen();
    owner.expect(conn, text(&large));
    owner.expect(conn, text("0"));
    owner.expect(conn, text("1"));
    owner.expect(conn, Got::Passive);
    world.settle();
    assert_eq!(all(&mut owner), []);
    world.active(conn, SetActive::Add(1));
    owner.expect(conn, text("2"));
}

#[test]
fn a_message_refused_late_is_1007_with_nothing_behind_it() {
    let (world, mut owner) = World::owned(owned(Active::True));
    let (mut other, good) = world.open(&mut owner);
    let (mut client, bad, large) = busy(&world, &mut owner);
    // There is no room for this one.
    client.text("behind");
    client.seen();
    other.text("mine");
    other.seen();
    owner.expect(bad, text(&large));
    world.engine.fail(bad, 1007, "refused");
    assert_eq!(client.closed(), 1007);
    let mut rest = Vec::new();
    while !rest.contains(&(bad, Got::Closed(1007, "refused".into()))) {
        rest.push(owner.next());
    }
    assert!(rest.contains(&(good, text("mine"))));
    assert!(
        !rest.contains(&(bad, text(&long(LARGE)))),
        "held, and dropped"
    );
    assert!(!world.engine.is_known(bad));
}

/// Whoever is refused while it has no credit is not kept, either.
#[test]
fn a_message_refused_at_once_is_1007_with_nothing_behind_it() {
    for mode in [Mode::Owner, Mode::Workers(1)] {
        let mut config = owned(Active::Once);
        config.mode = mode;
        let (world, mut owner) = if mode == Mode::Owner {
            World::owned(config)
        } else {
            World::pulled(1, config)
        };
        let (mut client, conn) = world.open(&mut owner);
        client.write(&[masked(Opcode::Text, b"!"), masked(Opcode::Text, b"behind")].concat());
        owner.expect(conn, text("!"));
        world.engine.fail(conn, 1007, "refused");
        assert_eq!(client.closed(), 1007);
        owner.expect(conn, Got::Closed(1007, "refused".into()));
    }
}

#[test]
fn a_new_owner_waits_for_what_is_the_old_ones() {
    let (world, mut owner) = World::owned(owned(Active::True));
    let (mut client, conn, large) = busy(&world, &mut owner);
    let mut heir = Mailbox::new();
    let done = world.give(conn, &heir);
    client.text("more");
    client.seen();
    world.settle();
    assert!(done.try_recv().is_err(), "the old one has not heard all");
    owner.expect(conn, text(&large));
    done.recv_timeout(LONG).unwrap();
    heir.expect(conn, text("more"));
    world.engine.owner_died(&owner.inbox);
    client.text("alive");
    heir.expect(conn, text("alive"));
}

/// A connection that waits for room does not wait for that of its old owner.
#[test]
fn a_connection_that_waits_for_room_moves() {
    let (world, mut owner) = World::owned(owned(Active::True));
    let (mut client, conn, _) = busy(&world, &mut owner);
    client.text(&long(1000));
    client.seen();
    assert!(world.stats(conn).unwrap().held > 0);
    let mut heir = Mailbox::new();
    let done = world.give(conn, &heir);
    heir.expect(conn, text(&long(1000)));
    // Nobody reads the old inbox any more: the caller need not wait, nor the connection.
    world.engine.owner_died(&owner.inbox);
    done.recv_timeout(LONG).unwrap();
    for _ in 0..5 {
        client.text(&long(LARGE));
    }
    for _ in 0..5 {
        heir.expect(conn, text(&long(LARGE)));
    }
}

#[test]
fn a_connection_that_is_gone_has_no_new_owner() {
    let (world, mut owner) = World::owned(owned(Active::True));
    let (mut client, conn, large) = busy(&world, &mut owner);
    let held = world.hold();
    let heir = Mailbox::new();
    client.close(1000);
    let done = world.give(conn, &heir);
    drop(held);
    owner.expect(conn, text(&large));
    done.recv_timeout(LONG).unwrap();
}

#[test]
fn the_owner_dies_meanwhile() {
    let (world, mut owner) = World::owned(owned(Active::True));
    let (mut client, conn, _) = busy(&world, &mut owner);
    client.text("held");
    client.seen();
    world.engine.owner_died(&owner.inbox);
    assert_eq!(client.closed(), 1011);
    world.settle();
    assert!(!world.engine.is_known(conn));
    assert_eq!(owner.inbox.pending(), 0);
    client.drained();
    world.stop_server();
    world.wait_stopped();
}

#[test]
fn the_server_stops_meanwhile() {
    let (world, mut owner) = World::owned(owned(Active::True));
    let (mut client, conn, large) = busy(&world, &mut owner);
    client.text("behind");
    client.seen();
    world.stop_server();
    assert_eq!(client.closed(), 1001);
    client.drained();
    world.settle();
    // It has not stopped before its owner has heard of the last end.
    assert!(world.stopped.try_recv().is_err());
    let (first, _) = owner.take(1);
    assert_eq!(first, [(conn, text(&large))]);
    assert!(world.stopped.try_recv().is_err());
    let mut rest = Vec::new();
    while !rest.contains(&(conn, Got::Closed(1001, "bye".into()))) {
        rest.push(owner.next());
    }
    world.wait_stopped();
}

/// Nobody tells a shard that has ended what an owner has heard.
#[test]
fn the_engine_stops_meanwhile() {
    let (world, mut owner) = World::owned(owned(Active::True));
    let (_client, conn, large) = busy(&world, &mut owner);
    assert_eq!(world.engine.stop().stuck, 0);
    world.wait_stopped();
    let events = all(&mut owner);
    assert_eq!(events.first(), Some(&(conn, text(&large))));
    assert!(matches!(events.last(), Some((of, Got::Closed(..))) if *of == conn));
}

/// Two threads may want to bring the same: one does.
#[test]
fn one_brings_at_a_time() {
    let (world, mut owner) = World::owned(owned(Active::True));
    let (_client, conn, large) = busy(&world, &mut owner);
    let mut met = None;
    let inbox = owner.inbox.clone();
    let served = owner.inbox.serve(false, |_, _| {
        let inbox = inbox.clone();
        let other = std::thread::spawn(move || {
            inbox
                .serve(true, |_, _| sockeye_engine::inbox::ReadStep::Stop)
                .is_none()
        });
        met = other.join().ok();
        sockeye_engine::inbox::ReadStep::Stop
    });
    assert!(served.is_some());
    assert_eq!(met, Some(true));
    owner.expect(conn, text(&large));
}

/// The process of a server that dies with the owner: the engine hears of it before a connection has got one.
struct DiesWithOwner(OnceLock<(Weak<Engine>, Arc<Server>)>);

struct DyingHost(Arc<DiesWithOwner>);

impl ServerHost for DyingHost {
    fn owner(&self) -> Option<Arc<Inbox>> {
        let (engine, server) = self.0.0.get()?;
        engine
            .upgrade()?
            .stop_server(server, 1001, "server stopped");
        None
    }

    fn stopped(&self, _: &ServerStats) {}
    fn event(&self, _: Notice) {}
}

#[test]
fn an_owner_that_died_with_its_server_is_the_servers_end() {
    let engine = engine(1);
    let dies = Arc::new(DiesWithOwner(OnceLock::new()));
    let host = DyingHost(dies.clone());
    let (server, place) = engine
        .listen(owned(Active::True), |_| Box::new(host))
        .unwrap();
    dies.0.set((Arc::downgrade(&engine), server)).ok().unwrap();
    let Some(Peer::Inet(ip, port)) = place else {
        panic!("{place:?}");
    };
    assert_eq!(Client::connect((ip, port).into()).closed(), 1001);
}

#[test]
fn a_server_without_an_owner_says_so() {
    let world = World::on(engine(1), owned(Active::True), None);
    assert_eq!(world.client().closed(), 1011);
}
