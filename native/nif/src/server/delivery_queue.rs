//! The queues of delivery processes: the inboxes of owners that have something, in the order in which they got it.
//!
//! A *delivery process* (`sockeye_delivery`) is a process of Sockeye that sends owner processes their messages. There
//! is one for each queue, and each serves the inboxes of many owners.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use rustler::LocalPid;
use sockeye_engine::{Engine, Inbox, Notifier};
use sockeye_seam::settings::EventFormat;

use crate::atoms;
use crate::server::owner_inbox::OwnerInbox;
use crate::server::relay::expect_single_answers;
use crate::vm::{lock, process};

/// As many as there can be shards.
const MOST: usize = 64;

/// Memory that the empty inbox of a plain process may hold on to, twice.
const KEEP: usize = 8 * 1024;

/// What one delivery process serves, and who it is.
pub(crate) struct DeliveryQueue {
    owners: Mutex<VecDeque<Arc<OwnerInbox>>>,
    /// The process has been told that there is something, and has not seen the queue empty since.
    told: AtomicBool,
    pid: Mutex<Option<LocalPid>>,
}

static QUEUES: [DeliveryQueue; MOST] = [const {
    DeliveryQueue {
        owners: Mutex::new(VecDeque::new()),
        told: AtomicBool::new(false),
        pid: Mutex::new(None),
    }
}; MOST];

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
    queue.tell();
}

impl DeliveryQueue {
    pub(crate) fn put(&self, owner: Arc<OwnerInbox>) {
        if !owner.queued.swap(true, Ordering::SeqCst) {
            lock(&self.owners).push_back(owner);
        }
    }

    /// This process serves the queue from now on. It looks without being told.
    pub(crate) fn begin(&self, pid: LocalPid) {
        *lock(&self.pid) = Some(pid);
        self.told.store(true, Ordering::SeqCst);
    }

    fn tell(&self) {
        if !self.told.swap(true, Ordering::SeqCst)
            && let Some(pid) = *lock(&self.pid)
        {
            process::send_atom(&pid, atoms::sockeye_ready());
        }
    }

    pub(crate) fn next(&self) -> Option<Arc<OwnerInbox>> {
        let mut owners = lock(&self.owners);
        let owner = owners.pop_front();
        match &owner {
            Some(owner) => owner.queued.store(false, Ordering::SeqCst),
            // Whoever puts something in from now on tells.
            None => self.told.store(false, Ordering::SeqCst),
        }
        owner
    }
}
