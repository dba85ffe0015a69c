//! Handlers that die, are replaced, or never come.

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use sockeye_engine::inbox::Left;
use sockeye_engine::{Active, ConnId, Inbox, Mode, SendError};
use sockeye_protocol::frame::Opcode;

use crate::support::*;

/// The close codes of those that were closed; the others still answer.
fn codes(clients: &mut [Client]) -> Vec<Vec<u8>> {
    let mut codes = Vec::new();
    for client in clients {
        let _ = client.stream.write_all(&masked(Opcode::Ping, b"alive"));
        match client.next() {
            Next::Frame(8, payload) => codes.push(payload[..2].to_vec()),
            Next::Frame(10, _) => {}
            other => panic!("{other:?}"),
        }
    }
    codes
}

#[test]
fn a_death_costs_the_connections_of_the_dead_only() {
    let world = World::new(1, config(Mode::Workers(2)), None);
    let mut workers = [world.worker(0), world.worker(1)];
    let mut clients: Vec<_> = (0..4).map(|_| world.client()).collect();
    let conns: Vec<Vec<ConnId>> = workers
        .iter_mut()
        .map(|worker| vec![worker.opened(), worker.opened()])
        .collect();
    world.engine.inbox_died(&world.server, &workers[0].inbox);
    world.settle();
    let mut alive = world.connections();
    alive.sort_by_key(|conn| conn.as_u64());
    assert_eq!(alive, conns[1]);
    assert_eq!(codes(&mut clients), vec![close_payload(1011); 2]);
    assert!(world.send(conns[0][0], Opcode::Text, b"").is_err());
    world.send(conns[1][0], Opcode::Text, b"I am").unwrap();
}

#[test]
fn a_new_worker_serves_those_that_waited() {
    let (world, mut puller) = World::pulled(1, config(Mode::Workers(1)));
    let (mut first, _) = world.open(&mut puller);
    world.engine.inbox_died(&world.server, &puller.inbox);
    assert_eq!(first.closed(), 1011);
    let mut waiting: Vec<_> = (0..3).map(|_| world.client()).collect();
    for (i, client) in waiting.iter_mut().enumerate() {
        client.text(&format!("{i}"));
        client.send(Opcode::Ping, b"");
        client.expect(Opcode::Pong, b"");
    }
    let mut heir = world.worker(0);
    let mut seen = Vec::new();
    for _ in 0..3 {
        let conn = heir.opened();
        match heir.next() {
            (of, Got::Text(text)) if of == conn => seen.push(text),
            other => panic!("{other:?}"),
        }
        world.send(conn, Opcode::Text, b"welcome").unwrap();
    }
    seen.sort();
    assert_eq!(seen, [b"0", b"1", b"2"]);
    for client in &mut waiting {
        client.expect(Opcode::Text, b"welcome");
    }
}

#[test]
fn clients_that_leave_before_a_worker_exists_are_reported_in_order() {
    let mut config = config(Mode::Workers(1));
    config.close_timeout = Duration::from_millis(100);
    let world = World::new(1, config, None);
    let mut client = world.client();
    client.text("one");
    client.close(1000);
    assert_eq!(client.closed(), 1000);
    client.drained();
    let mut puller = world.worker(0);
    let conn = puller.opened();
    puller.expect(conn, text("one"));
    puller.expect(conn, Got::Closed(1000, String::new()));
    assert_eq!(world.connections(), []);
}

#[test]
fn the_death_of_an_owner() {
    let (world, mut owner) = World::pushed(2, config(Mode::Owner));
    let mut clients: Vec<_> = (0..4).map(|_| world.client()).collect();
    let conns: Vec<_> = (0..4).map(|_| owner.opened()).collect();
    let heir = Mailbox::new();
    world.give(conns[0], &heir);
    world.settle();
    world.engine.owner_died(&owner.owner);
    world.settle();
    assert_eq!(world.connections(), [conns[0]]);
    assert_eq!(codes(&mut clients), vec![close_payload(1011); 3]);
}

#[test]
fn owners_that_die_together() {
    let (world, mut first) = World::pushed(1, config(Mode::Owner));
    let mut clients: Vec<_> = (0..40).map(|_| world.client()).collect();
    let conns: Vec<_> = (0..40).map(|_| first.opened()).collect();
    // One each, and one that has had a connection and has it no more.
    let heirs: Vec<_> = conns.iter().map(|_| Mailbox::new()).collect();
    for (conn, heir) in conns.iter().zip(&heirs) {
        world.give(*conn, &heirs[39]);
        world.give(*conn, heir);
    }
    let held = world.hold();
    world.engine.owner_died(&first.owner);
    for heir in heirs.iter().step_by(2) {
        world.engine.owner_died(&heir.owner);
    }
    drop(held);
    world.settle();
    let alive: Vec<_> = conns.iter().skip(1).step_by(2).copied().collect();
    let mut known = world.connections();
    known.sort_by_key(|conn| conn.as_u64());
    assert_eq!(known, alive);
    let mut dead: Vec<_> = clients.drain(..).step_by(2).collect();
    assert_eq!(codes(&mut dead), vec![close_payload(1011); 20]);
}

#[test]
fn an_owner_that_does_not_listen_is_dead() {
    let (world, owner) = World::pushed(1, config(Mode::Owner));
    drop(owner);
    let mut client = world.client();
    assert_eq!(client.closed(), 1011);
}

#[test]
fn no_owner_at_all() {
    let world = World::new(1, config(Mode::Owner), None);
    let mut client = world.client();
    assert_eq!(client.closed(), 1011);
    client.drained();
    world.settle();
    assert_eq!(world.connections(), []);
}

fn acceptor(world: &World) -> Puller {
    let puller = Puller::new(&world.engine, 1 << 20);
    world.engine.set_acceptor(&world.server, &puller.inbox);
    puller
}

/// The process behind the acceptor is told of a connection.
fn announced(acceptor: &mut Puller) -> ConnId {
    match acceptor.next() {
        (conn, Got::Passive) => conn,
        other => panic!("{other:?}"),
    }
}

fn process(world: &World) -> Puller {
    Puller::new(&world.engine, 1 << 20)
}

fn died(world: &World, inbox: &Arc<Inbox>) {
    world.engine.inbox_died(&world.server, inbox);
}

#[test]
fn a_process_for_each_connection() {
    let world = World::new(2, config(Mode::PerConnection), None);
    let mut acceptor = acceptor(&world);
    let mut clients = Vec::new();
    for i in 0..4 {
        let mut client = world.client();
        client.text(&format!("{i}"));
        let conn = announced(&mut acceptor);
        let mut process = process(&world);
        world.engine.attach(conn, &process.inbox).unwrap();
        assert_eq!(process.opened(), conn);
        process.expect(conn, text(&format!("{i}")));
        clients.push((client, conn, process));
    }
    let (mut client, conn, process) = clients.remove(0);
    died(&world, &process.inbox);
    assert_eq!(client.closed(), 1011);
    world.settle();
    assert!(!world.engine.is_known(conn));
    for (client, conn, process) in &mut clients {
        world.send(*conn, Opcode::Text, b"alive").unwrap();
        client.expect(Opcode::Text, b"alive");
        client.close(1000);
        process.expect(*conn, Got::Closed(1000, String::new()));
    }
    world.settle();
    assert_eq!(world.server.unattached(), 0);
}

#[test]
fn a_client_leaves_before_its_process_starts() {
    let mut config = config(Mode::PerConnection);
    config.close_timeout = Duration::from_millis(100);
    let world = World::new(1, config, None);
    let mut acceptor = acceptor(&world);
    let mut client = world.client();
    let conn = announced(&mut acceptor);
    client.text("one");
    client.close(1000);
    assert_eq!(client.closed(), 1000);
    client.drained();
    assert_eq!(world.server.unattached(), 1);
    let mut process = process(&world);
    world.engine.attach(conn, &process.inbox).unwrap();
    assert_eq!(process.opened(), conn);
    process.expect(conn, text("one"));
    process.expect(conn, Got::Closed(1000, String::new()));
    world.settle();
    assert_eq!(world.server.unattached(), 0);
    let again = world.engine.attach(conn, &process.inbox);
    assert_eq!(again, Err(SendError::Closed));
}

#[test]
fn a_process_that_dies_before_it_attaches() {
    let world = World::new(1, config(Mode::PerConnection), None);
    let mut acceptor = acceptor(&world);
    let mut client = world.client();
    let conn = announced(&mut acceptor);
    let process = process(&world);
    died(&world, &process.inbox);
    world.engine.attach(conn, &process.inbox).unwrap();
    assert_eq!(client.closed(), 1011);
    world.settle();
    assert_eq!(world.connections(), []);
    assert_eq!(world.server.unattached(), 0);
}

#[test]
fn a_connection_that_gets_no_process_is_closed_and_forgotten() {
    let world = World::new(1, config(Mode::PerConnection), None);
    let mut acceptor = acceptor(&world);
    for _ in 0..3 {
        let mut client = world.client();
        let conn = announced(&mut acceptor);
        client.text("lost");
        close(&world.engine, conn, 1011);
        assert_eq!(client.closed(), 1011);
        client.drained();
        assert!(!world.engine.is_known(conn));
    }
    assert_eq!(world.connections(), []);
    assert_eq!(world.server.unattached(), 0);
}

#[test]
fn attaching_twice_counts_once() {
    let world = World::new(1, config(Mode::PerConnection), None);
    let mut acceptor = acceptor(&world);
    let mut client = world.client();
    let conn = announced(&mut acceptor);
    let mut processes = [process(&world), process(&world)];
    world.engine.attach(conn, &processes[0].inbox).unwrap();
    world.engine.attach(conn, &processes[1].inbox).unwrap();
    world.settle();
    assert_eq!(processes[0].opened(), conn);
    client.text("to the second");
    processes[1].expect(conn, text("to the second"));
    assert_eq!(world.server.unattached(), 0);
    // The first has nothing to do with it any more.
    died(&world, &processes[0].inbox);
    client.text("still here");
    processes[1].expect(conn, text("still here"));
}

#[test]
fn a_new_acceptor_hears_of_those_that_wait() {
    let world = World::new(1, config(Mode::PerConnection), None);
    let mut first = acceptor(&world);
    let mut client = world.client();
    let conn = announced(&mut first);
    died(&world, &first.inbox);
    world.settle();
    let mut second = acceptor(&world);
    assert_eq!(announced(&mut second), conn);
    let mut process = process(&world);
    world.engine.attach(conn, &process.inbox).unwrap();
    assert_eq!(process.opened(), conn);
    client.text("hello");
    process.expect(conn, text("hello"));
    assert_eq!(world.server.unattached(), 0);
}

#[test]
fn clients_before_the_first_acceptor_are_announced_to_it() {
    let world = World::new(1, config(Mode::PerConnection), None);
    let mut clients: Vec<_> = (0..3).map(|_| world.client()).collect();
    clients.iter_mut().for_each(Client::seen);
    let mut acceptor = acceptor(&world);
    let mut conns: Vec<_> = (0..3).map(|_| announced(&mut acceptor)).collect();
    for conn in &conns {
        let mut process = process(&world);
        world.engine.attach(*conn, &process.inbox).unwrap();
        assert_eq!(process.opened(), *conn);
    }
    conns.sort_by_key(|conn| conn.as_u64());
    conns.dedup();
    assert_eq!(conns.len(), 3);
    // Who comes later is announced as well, and nobody twice.
    let mut late = world.client();
    late.seen();
    assert!(!conns.contains(&announced(&mut acceptor)));
    world.settle();
    assert_eq!(acceptor.take(10), (Vec::new(), Left::Nothing));
}

#[test]
fn others_go_on_waiting_for_an_acceptor_when_one_leaves() {
    let world = World::new(1, config(Mode::PerConnection), None);
    let mut clients: Vec<_> = (0..3).map(|_| world.client()).collect();
    clients.iter_mut().for_each(Client::seen);
    let conns = world.connections();
    let (ended, told) = channel();
    let tell = Box::new(move |conn| ended.send(conn).unwrap());
    assert!(world.engine.watch(conns[1], tell));
    close(&world.engine, conns[1], 1011);
    assert_eq!(codes(&mut clients), [close_payload(1011)]);
    assert_eq!(told.recv_timeout(LONG), Ok(conns[1]));
    let mut acceptor = acceptor(&world);
    let mut left = [announced(&mut acceptor), announced(&mut acceptor)];
    left.sort_by_key(|conn| conn.as_u64());
    let mut expected = [conns[0], conns[2]];
    expected.sort_by_key(|conn| conn.as_u64());
    assert_eq!(left, expected);
}

#[test]
fn a_process_that_never_comes() {
    let mut config = config(Mode::PerConnection);
    config.attach_timeout = Duration::from_millis(200);
    let world = World::new(1, config, None);
    let mut acceptor = acceptor(&world);
    let mut waiting = world.client();
    let conns = [announced(&mut acceptor)];
    let mut left = world.client();
    let conns = [conns[0], announced(&mut acceptor)];
    left.close(1000);
    assert_eq!(left.closed(), 1000);
    left.drained();
    assert_eq!(waiting.closed(), 1011);
    waiting.drained();
    while conns.iter().any(|conn| world.engine.is_known(*conn)) {
        world.settle();
    }
    assert_eq!(world.server.unattached(), 0);
    // One whose process came in time lives on.
    let mut client = world.client();
    let conn = announced(&mut acceptor);
    let mut process = process(&world);
    world.engine.attach(conn, &process.inbox).unwrap();
    assert_eq!(process.opened(), conn);
    let mut dropped = world.client();
    announced(&mut acceptor);
    assert_eq!(dropped.closed(), 1011);
    client.text("alive");
    process.expect(conn, text("alive"));
}

#[test]
fn held_messages_of_a_dead_owner_are_dropped() {
    let mut config = config(Mode::Owner);
    config.close_timeout = Duration::from_millis(100);
    config.active = Active::False;
    let (world, mut owner) = World::pushed(1, config);
    let (mut client, conn) = world.open(&mut owner);
    client.text("held");
    client.close(1000);
    assert_eq!(client.closed(), 1000);
    assert!(world.engine.is_known(conn));
    world.engine.owner_died(&owner.owner);
    world.settle();
    assert!(!world.engine.is_known(conn));
}

/// A client whose handler crashes is stopped by the process that dials, right behind it.
#[test]
fn a_death_comes_before_the_stop_that_it_causes() {
    let (owned, mut owner) = World::pushed(1, config(Mode::Owner));
    let (pulled, mut puller) = World::pulled(1, config(Mode::Workers(1)));
    let mut clients = [owned.client(), pulled.client()];
    owner.opened();
    puller.opened();
    let held = [owned.hold(), pulled.hold()];
    owned.engine.owner_died(&owner.owner);
    pulled.engine.inbox_died(&pulled.server, &puller.inbox);
    owned.stop_server();
    pulled.stop_server();
    drop(held);
    assert_eq!(codes(&mut clients), vec![close_payload(1011); 2]);
}
