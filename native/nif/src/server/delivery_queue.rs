//! The queues of delivery processes: the inboxes of owners that have something, in the order in which they got it.
//!
//! A *delivery process* (`sockeye_delivery`) is a process of Sockeye that sends owner processes their messages. There
//! is one for each queue, and each serves the inboxes of many owners.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use rustler::LocalPid;
use sockeye_engine::{Engine, Inbox, Notifier};
use sockeye_seam::settings::EventFormat;

use crate::atoms;
use crate::server::owner_inbox::OwnerInbox;
use crate::server::queue::{Queue, Queued};
use crate::server::relay::expect_single_answers;
use crate::vm::process;

/// As many as there can be shards.
const MOST: usize = 64;

/// Memory that the empty inbox of a plain process may hold on to, twice.
const KEEP: usize = 8 * 1024;

pub(crate) type DeliveryQueue = Queue<OwnerInbox, LocalPid>;

impl Queued for OwnerInbox {
    fn queued(&self) -> &AtomicBool {
        &self.queued
    }
}

static QUEUES: [DeliveryQueue; MOST] = [const { Queue::new() }; MOST];

/// How many have a process.
static COUNT: AtomicUsize = AtomicUsize::new(1);

/// New inboxes are spread over so many queues.
pub(crate) fn set_count(count: usize) {
    COUNT.store(count.clamp(1, MOST), Ordering::Relaxed);
}

/// The queue of an owner.
pub(crate) fn of(owner: &OwnerInbox) -> &'static DeliveryQueue {
    &QUEUES[owner.queue % MOST]
}

/// The queue of a number that a caller gave.
pub(crate) fn find(number: usize) -> Option<&'static DeliveryQueue> {
    QUEUES.get(number)
}

/// An inbox for this process that enters a queue when it has something. New ones are spread over all queues.
pub(crate) fn new_owner(
    pid: LocalPid,
    batch: bool,
    format: Arc<EventFormat>,
    room: usize,
    engine: Weak<Engine>,
) -> Arc<OwnerInbox> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let queue = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT.load(Ordering::Relaxed);
    OwnerInbox::new(pid, batch, format, engine, queue, |owner| {
        Inbox::new(room, KEEP, Box::new(OwnerNotifier(owner)))
    })
}

struct OwnerNotifier(Weak<OwnerInbox>);

impl Notifier for OwnerNotifier {
    fn notify(&self) -> bool {
        let Some(owner) = self.0.upgrade() else {
            return false;
        };
        put_and_tell(owner);
        expect_single_answers();
        true
    }
}

/// Puts an inbox into its queue, whose process is told. From a thread of our own.
pub(crate) fn put_and_tell(owner: Arc<OwnerInbox>) {
    let queue = of(&owner);
    queue.put(owner);
    queue.tell(|pid| {
        process::send_atom(&pid, atoms::sockeye_ready());
    });
}
