//! Callbacks of the host that panic: the shard and all others go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sockeye_engine::batch::Batch;
use sockeye_engine::host::{Bell, Delivery, Owner};
use sockeye_engine::offload::INLINE_TEXT;
use sockeye_engine::{ConnId, Inbox, Mode};
use sockeye_protocol::frame::Op;

use crate::support::*;

struct BadBell;

impl Bell for BadBell {
    fn ring(&self) -> bool {
        panic!("a bell that breaks, in a test");
    }
}

#[test]
fn a_bell() {
    let world = World::new(1, config(Mode::Workers(2)), None);
    let bad = Inbox::new(1 << 20, 0, Box::new(BadBell));
    assert!(world.engine.set_worker(&world.server, 0, &bad));
    let mut good = world.worker(1);
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(world.client());
    }
    let conns = [good.opened(), good.opened()];
    for round in 0..10 {
        let held = world.hold();
        for client in &mut clients {
            client.text(&format!("{round}"));
        }
        drop(held);
        for _ in conns {
            let (conn, event) = good.next();
            assert!(conns.contains(&conn));
            assert_eq!(event, text(&format!("{round}")));
            send(&world.engine, conn, Op::Text, b"ok").unwrap();
        }
    }
}

struct BadOwner(u64, AtomicBool);

impl Owner for BadOwner {
    fn parses_text(&self) -> bool {
        true
    }

    fn deliver(&self, _: &Batch) -> Delivery {
        if self.1.load(Ordering::SeqCst) {
            panic!("an owner that breaks, in a test");
        }
        Delivery::default()
    }

    fn key(&self) -> u64 {
        self.0
    }
}

#[test]
fn an_owner() {
    let (world, mut owner) = World::pushed(1, config(Mode::Owner));
    let mut clients = [world.client(), world.client(), world.client()];
    let conns: Vec<ConnId> = clients.iter().map(|_| owner.opened()).collect();
    let bad = Arc::new(BadOwner(next_key(), AtomicBool::new(false)));
    world.engine.set_owner(conns[0], bad.clone()).unwrap();
    world.settle();
    bad.1.store(true, Ordering::SeqCst);
    let held = world.hold();
    for client in &mut clients {
        client.text("one");
    }
    drop(held);
    let mut seen = [owner.next(), owner.next()];
    seen.sort_by_key(|(conn, _)| conn.as_u64());
    assert_eq!(seen, [(conns[1], text("one")), (conns[2], text("one"))]);
    // What the broken one missed can not be told again: its connection closes.
    let mut codes = 0;
    for client in &mut clients {
        client.send(Op::Ping, b"");
        match client.next() {
            Next::Frame(8, payload) => {
                assert_eq!(payload[..2], close_payload(1011));
                codes += 1;
            }
            Next::Frame(10, _) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(codes, 1);
}

/// On the thread for large batches.
#[test]
fn an_owner_of_much() {
    let (world, mut owner) = World::pushed(1, config(Mode::Owner));
    let bad = Arc::new(BadOwner(next_key(), AtomicBool::new(true)));
    for _ in 0..2 {
        let mut client = world.client();
        let conn = owner.opened();
        world.engine.set_owner(conn, bad.clone()).unwrap();
        client.text(&"x".repeat(INLINE_TEXT + 1));
        assert_eq!(client.closed(), 1011);
    }
    let mut client = world.client();
    let conn = owner.opened();
    client.text("hello");
    owner.expect(conn, text("hello"));
}

#[test]
fn an_answer() {
    let (world, mut puller) = World::pulled(1, config(Mode::Workers(1)));
    let mut client = world.client();
    let conn = puller.opened();
    let held = world.hold();
    for _ in 0..10 {
        let reply = Box::new(|_: Option<_>| panic!("an answer that breaks, in a test"));
        world.engine.conn_stats(conn, reply).unwrap();
        world.engine.connections(&world.server, None, || {
            Box::new(|_: &[ConnId]| panic!("an answer that breaks, in a test"))
        });
    }
    send(&world.engine, conn, Op::Text, b"on its way").unwrap();
    client.text("hello");
    world.engine.inbox_died(&world.server, &puller.inbox);
    drop(held);
    client.expect(Op::Text, b"on its way");
    assert_eq!(client.closed(), 1011);
    let mut heir = world.worker(0);
    let mut client = world.client();
    let conn = heir.opened();
    client.text("hello");
    heir.expect(conn, text("hello"));
}
