//! Slots of connections, and ids that name what is no more.

use std::sync::Arc;

use loom::thread;

use crate::model::error::SendError;
use crate::shard::slots::Slots;

pub(super) fn a_stale_id_reserves_nothing() {
    let slots = Arc::new(Slots::new(1));
    let old = slots.open(0, 0, 100, 1).unwrap();
    let other = slots.clone();
    let sender = thread::spawn(move || {
        if other.reserve(old, 10).is_ok() {
            other.release(old, 10);
        }
    });
    slots.close(old);
    let new = slots.open(0, 0, 50, 2).unwrap();
    assert_eq!(slots.reserve(old, 1), Err(SendError::Closed));
    sender.join().unwrap();
    assert_eq!(slots.queued(new), 0);
    assert!(slots.is_open(new));
}

pub(super) fn a_stale_id_charges_nothing() {
    let slots = Arc::new(Slots::new(1));
    let old = slots.open(0, 0, 100, 1).unwrap();
    let other = slots.clone();
    let sender = thread::spawn(move || other.charge(old, 10));
    slots.close(old);
    let new = slots.open(0, 0, 50, 2).unwrap();
    sender.join().unwrap();
    assert_eq!(slots.queued(new), 0);
}

pub(super) fn a_stale_id_names_no_other_server() {
    let slots = Arc::new(Slots::new(1));
    let old = slots.open(0, 0, 100, 1).unwrap();
    let other = slots.clone();
    let sender = thread::spawn(move || {
        let server = other.server(old);
        assert!(matches!(server, None | Some(1)), "{server:?}");
    });
    slots.close(old);
    let new = slots.open(0, 0, 50, 2).unwrap();
    assert_eq!(slots.server(new), Some(2));
    sender.join().unwrap();
}

pub(super) fn a_queue_keeps_its_bound() {
    let slots = Arc::new(Slots::new(1));
    let id = slots.open(0, 0, 100, 1).unwrap();
    let other = slots.clone();
    let sender = thread::spawn(move || other.reserve(id, 60));
    let mine = slots.reserve(id, 60);
    let theirs = sender.join().unwrap();
    let taken = [mine, theirs]
        .iter()
        .filter(|result| result.is_ok())
        .count();
    assert_eq!(taken, 1);
    assert!(slots.is_full(id));
    slots.release(id, 60);
    assert!(!slots.is_full(id));
    assert_eq!(slots.queued(id), 0);
}

pub(super) fn one_closes() {
    let slots = Arc::new(Slots::new(1));
    let id = slots.open(0, 0, 100, 1).unwrap();
    let other = slots.clone();
    let closer = thread::spawn(move || other.set_closing(id));
    let mine = slots.set_closing(id);
    assert!(mine != closer.join().unwrap());
    assert_eq!(slots.reserve(id, 1), Err(SendError::Closed));
}
