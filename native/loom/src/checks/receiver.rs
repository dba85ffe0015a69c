//! Batches of the process engine, and what the VM says of them. Shards that are asked whether they hold more are for the simulation.

use std::sync::Arc;

use loom::thread;

use super::link::{fill, serve};
use super::{Plain, PlainOrdering, bring, engine};
use crate::link::kinds::BATCH;
use crate::link::{FULL, Link};
use crate::processes::batches::Batches;
use crate::processes::receiver::{Receiver, after_notices};
use crate::world::net::{ReadHalf, socket};

/// A receiver whose batches have an event each, and its link, with room for so many bytes.
fn receiver(room: usize) -> (Arc<Receiver>, Arc<Link>, ReadHalf) {
    let (half, vm) = socket(room);
    let link = Link::new(half);
    let (engine, ..) = engine();
    let receiver = Receiver::new((1, 0), Batches, (1 << 20, 0), &link, &engine);
    receiver.set_max(1);
    (receiver, link, vm)
}

/// A shard brings so many events, each in a turn of its own. Threads of loom share what a thread has for itself: no other one tells.
fn shard(receiver: &Arc<Receiver>, events: usize) -> thread::JoinHandle<()> {
    let receiver = receiver.clone();
    thread::spawn(move || {
        for _ in 0..events {
            bring(&receiver.inbox);
            after_notices();
        }
    })
}

/// The VM acknowledges each batch, of which there are more than it may have at a time.
pub(super) fn each_batch_is_sent() {
    let (receiver, link, vm) = receiver(usize::MAX / 2);
    let shard = shard(&receiver, 3);
    let mut batches = 0;
    serve(&link, &vm, |kind, _| {
        assert_eq!(kind, BATCH);
        batches += 1;
        assert!(receiver.has_sent(1), "more than it may have");
        receiver.acknowledge(1);
        link.flush();
        batches == 3
    });
    shard.join().unwrap();
    assert!(!receiver.has_sent(1), "one that nobody has sent");
}

/// The link is full when an event comes.
pub(super) fn a_batch_waits_for_room() {
    let (receiver, link, vm) = receiver(FULL / 2);
    fill(&link);
    let shard = shard(&receiver, 1);
    serve(&link, &vm, |kind, _| kind == BATCH);
    shard.join().unwrap();
}

/// Somebody waits until all is acknowledged, while events come.
pub(super) fn rest_is_reported_once() {
    let (receiver, link, vm) = receiver(usize::MAX / 2);
    let told = Arc::new(Plain::new(0));
    let shard = shard(&receiver, 1);
    let (theirs, counts) = (receiver.clone(), told.clone());
    let waits = thread::spawn(move || {
        theirs.when_at_rest(move || {
            counts.fetch_add(1, PlainOrdering::SeqCst);
        });
    });
    serve(&link, &vm, |kind, _| {
        assert_eq!(kind, BATCH);
        receiver.acknowledge(1);
        link.flush();
        true
    });
    shard.join().unwrap();
    waits.join().unwrap();
    assert_eq!(told.load(PlainOrdering::SeqCst), 1);
}
