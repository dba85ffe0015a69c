//! The queue of a delivery process, and the inboxes in it.

use std::sync::{Arc, Weak};

use loom::sync::Notify;
use loom::thread;

use super::{Plain, PlainOrdering, bring};
use crate::queue::{Queue, Queued};
use crate::vm::inbox::{Inbox, Left, Notifier, ReadStep};
use crate::world::sync::atomic::AtomicBool;

/// A process of the VM: what it waits for.
type Process = Arc<Notify>;

struct Owner {
    queued: AtomicBool,
    inbox: Arc<Inbox>,
    /// Events that it has been brought.
    got: Plain,
}

impl Queued for Owner {
    fn queued(&self) -> &AtomicBool {
        &self.queued
    }
}

type Owners = Queue<Owner, Process>;

/// As `put_and_tell` in the NIF.
struct Told(Arc<Owners>, Weak<Owner>);

impl Notifier for Told {
    fn notify(&self) -> bool {
        let Some(owner) = self.1.upgrade() else {
            return false;
        };
        self.0.put(owner);
        self.0.tell(|process| process.notify());
        true
    }
}

fn owner(queue: &Arc<Owners>) -> Arc<Owner> {
    Arc::new_cyclic(|owner: &Weak<Owner>| Owner {
        queued: AtomicBool::new(false),
        inbox: Inbox::new(1 << 20, 0, Box::new(Told(queue.clone(), owner.clone()))),
        got: Plain::new(0),
    })
}

impl Owner {
    /// Brings one event at most. None if another thread does.
    fn deliver(&self, arms: bool) -> Option<Left> {
        let step = |_: &_, index| {
            self.got.fetch_add(1, PlainOrdering::SeqCst);
            ReadStep::Last(index + 1)
        };
        self.inbox.serve(arms, step).map(|(left, _)| left)
    }

    fn got(&self) -> usize {
        self.got.load(PlainOrdering::SeqCst)
    }
}

/// A call of a delivery process, as `delivery_run` in the NIF: all that there is, each inbox by one event at a time.
fn run(queue: &Owners) {
    while let Some(owner) = queue.next() {
        if owner.deliver(true) == Some(Left::More) {
            queue.put(owner);
        }
    }
}

/// Shards bring events for one owner.
pub(super) fn an_owner_is_brought_all() {
    let queue = Arc::new(Owners::new());
    let owner = owner(&queue);
    let process = Process::default();
    queue.begin(process.clone());
    for _ in 0..2 {
        let owner = owner.clone();
        thread::spawn(move || bring(&owner.inbox));
    }
    run(&queue);
    while owner.got() < 2 {
        process.wait();
        run(&queue);
    }
}

/// An event is large: another process brings it, and then the inbox is its queue's again.
pub(super) fn a_large_event_keeps_nobody() {
    let queue = Arc::new(Owners::new());
    let owner = owner(&queue);
    let process = Process::default();
    queue.begin(process.clone());
    bring(&owner.inbox);
    let large = queue.next();
    let shards = owner.clone();
    thread::spawn(move || bring(&shards.inbox));
    let (another, done) = (owner.clone(), process.clone());
    let other = thread::spawn(move || {
        assert!(large.is_some());
        // A large one has nobody notified of what comes next.
        let _ = another.deliver(false);
        done.notify();
    });
    run(&queue);
    // The end of the other process is a message, too.
    other.join().unwrap();
    queue.put(owner.clone());
    run(&queue);
    while owner.got() < 2 {
        process.wait();
        run(&queue);
    }
}

/// The delivery process dies while it has an inbox, and another one begins, as `delivery_open` in the NIF.
pub(super) fn the_next_delivery_process_finds_the_rest() {
    let queue = Arc::new(Owners::new());
    let owner = owner(&queue);
    queue.begin(Process::default());
    let shards = owner.clone();
    thread::spawn(move || bring(&shards.inbox));
    // It had it, and has not come to it.
    drop(queue.next());
    let next = Process::default();
    queue.begin(next.clone());
    if owner.inbox.pending() > 0 {
        queue.put(owner.clone());
    }
    run(&queue);
    while owner.got() < 1 {
        next.wait();
        run(&queue);
    }
}
