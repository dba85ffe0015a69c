//! Frames for many: who counts as a receiver, and what comes before what.

use std::sync::mpsc::channel;

use sockeye_engine::op::ConnectionsReply;
use sockeye_engine::{Broadcast, ConnId, Mode};
use sockeye_protocol::frame::{self, Opcode};

use crate::support::*;

fn whole(text: &str) -> Broadcast {
    let mut bytes = Vec::new();
    frame::write(&mut bytes, Opcode::Text, text.as_bytes(), None);
    Broadcast::plain(bytes)
}

/// How many got a broadcast, and how many were too full for it.
fn broadcast(world: &World, text: &str) -> (u64, u64) {
    let (sender, outcome) = channel();
    let tell = Box::new(move |sent, dropped| sender.send((sent, dropped)).unwrap());
    let (server, frame) = (&world.server, whole(text));
    let sent = world.engine.fan_out(server, &frame, None, Some(tell));
    assert_eq!(sent.unwrap().len(), 1);
    outcome.recv_timeout(LONG).unwrap()
}

#[test]
fn a_connection_that_is_closing_is_no_receiver() {
    let mut config = config(Mode::Workers(1));
    config.send_queue_size = 1000;
    config.close_slow = true;
    let (world, mut puller) = World::pulled(1, config);
    let (mut leaving, leaver) = (world.client(), puller.opened());
    let (mut staying, _) = (world.client(), puller.opened());
    assert!(close(&world.engine, leaver, 4000));
    world.settle();
    // More than its queue would take.
    for _ in 0..4 {
        assert_eq!(broadcast(&world, &"x".repeat(400)), (1, 0));
        staying.expect(Opcode::Text, "x".repeat(400).as_bytes());
    }
    // Its goodbye goes on undisturbed.
    assert_eq!(leaving.closed(), 4000);
    leaving.close(4000);
    let closed = puller.until_closed(leaver);
    assert_eq!(closed, (vec![], 4000));
}

#[test]
fn a_question_for_subscribers_follows_earlier_subscriptions() {
    let (world, mut puller) = World::pulled(1, config(Mode::Workers(1)));
    let (_client, conn) = (world.client(), puller.opened());
    let subscribers = || {
        let (sender, answer) = channel();
        let reply = || -> ConnectionsReply {
            let sender = sender.clone();
            Box::new(move |ids: &[ConnId]| sender.send(ids.to_vec()).unwrap())
        };
        world.engine.connections(&world.server, Some(b"t"), reply);
        answer
    };
    let held = world.hold();
    world.engine.subscribe(conn, b"t").unwrap();
    let answer = subscribers();
    drop(held);
    assert_eq!(answer.recv_timeout(LONG).unwrap(), [conn]);
}
