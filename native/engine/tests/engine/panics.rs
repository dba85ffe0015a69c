//! Callbacks of the host that panic: the shard and all others go on.

use sockeye_engine::{ConnId, Inbox, Mode, Notifier, Tracer};
use sockeye_protocol::frame::Opcode;

use crate::support::*;

struct BadNotifier;

impl Notifier for BadNotifier {
    fn notify(&self) -> bool {
        panic!("a notifier that breaks, in a test");
    }
}

#[test]
fn a_notifier() {
    let world = World::new(1, config(Mode::Workers(2)), None);
    let bad = Inbox::new(1 << 20, 0, Box::new(BadNotifier));
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
            world.send(conn, Opcode::Text, b"ok").unwrap();
        }
    }
}

#[test]
fn an_answer() {
    let (world, mut puller) = World::pulled(1, config(Mode::Workers(1)));
    let (mut client, conn) = world.open(&mut puller);
    let held = world.hold();
    for _ in 0..10 {
        let reply = Box::new(|_: Option<_>| panic!("an answer that breaks, in a test"));
        world.engine.conn_stats(conn, reply).unwrap();
        world.engine.connections(&world.server, None, || {
            Box::new(|_: &[ConnId]| panic!("an answer that breaks, in a test"))
        });
    }
    world.send(conn, Opcode::Text, b"on its way").unwrap();
    client.text("hello");
    world.engine.inbox_died(&world.server, &puller.inbox);
    drop(held);
    client.expect(Opcode::Text, b"on its way");
    assert_eq!(client.closed(), 1011);
    let mut heir = world.worker(0);
    let (mut client, conn) = world.open(&mut heir);
    client.text("hello");
    heir.expect(conn, text("hello"));
}

/// In the task of a connection, beside those of others, and once more when that sends its Close frame.
#[test]
fn in_a_connection() {
    let (world, mut puller) = World::pulled(1, config(Mode::Workers(1)));
    let (mut bad, bad_conn) = world.open(&mut puller);
    let (mut good, good_conn) = world.open(&mut puller);
    let tracer = Tracer {
        id: 1,
        rate: 1000,
        payload: 16,
        tell: Box::new(|frame| frame.is_none_or(|_| panic!("a tracer that breaks, in a test"))),
    };
    assert!(world.engine.trace(bad_conn, Ok(tracer)));
    world.settle();
    let held = world.hold();
    bad.text("hello");
    good.text("hello");
    drop(held);
    puller.expect(bad_conn, Got::Closed(1011, "internal error".into()));
    puller.expect(good_conn, text("hello"));
    world.send(good_conn, Opcode::Text, b"ok").unwrap();
    good.expect(Opcode::Text, b"ok");
    bad.drained();
    let (mut late, late_conn) = world.open(&mut puller);
    late.text("after it");
    puller.expect(late_conn, text("after it"));
}
