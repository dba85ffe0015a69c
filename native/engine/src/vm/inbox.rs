//! A byte-bounded queue between the shards and one handler process.
//!
//! Shards append to the *filling* batch; the process takes the whole of it in one swap and then
//! reads from the *draining* batch without disturbing them. The process is told once that there
//! is something (the inbox is then no longer *armed*) and not again until it has seen the
//! inbox empty, so its mailbox never holds more than one message of ours.
//!
//! A plain process does not come itself: a delivery process takes its events and sends them on.

mod filler;

use std::sync::{Arc, TryLockError};

use crate::model::id::ConnId;
use crate::model::lock::lock;
use crate::vm::batch::{Batch, EVENT_COST, Event};
use crate::world::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::world::sync::{Mutex, MutexGuard};
use crate::world::{Numbers, unique};

pub(crate) use filler::{Filler, Pushed, Share};

/// Reaches the process that reads an inbox.
pub trait Notifier: Send + Sync {
    /// Tells the process that its inbox has events. False if the process is dead.
    fn notify(&self) -> bool;
}

/// One connection may fill this part of an inbox before the process has taken what is there.
const SHARE: usize = 16;

/// Bytes beyond the bound from which on no more connections are accepted.
const OVERLOADED: usize = 1 << 20;

static NEXT_KEY: Numbers = Numbers::new(1);

/// The queue. Shared by the shards, which fill it, and the process, which drains it.
pub struct Inbox {
    key: u64,
    limit: usize,
    keep: usize,
    notifier: Box<dyn Notifier>,
    /// The one connection of an inbox that serves no other; 0 for none.
    only: AtomicU64,
    filling: Mutex<Filling>,
    draining: Mutex<Draining>,
    /// Cost of all events in both batches.
    pending: AtomicUsize,
    /// Events that have been appended, and how many of them have been read.
    added: AtomicU64,
    taken: AtomicU64,
    /// Connections whose events come here.
    users: AtomicUsize,
    /// It is told of connections that need a process.
    announces: AtomicBool,
    /// Bit n: shard n has connections that wait for room.
    waiting: AtomicU64,
    /// Somebody found no room, and half of it has not been free since. Who comes now waits behind.
    is_full: AtomicBool,
    epoch: AtomicU32,
}

pub(crate) struct Filling {
    batch: Batch,
    armed: bool,
    /// A shard will notify the process when its turn ends.
    notifying: bool,
    dead: bool,
}

#[derive(Default)]
struct Draining {
    batch: Batch,
    next: usize,
}

/// What is left after [`Inbox::drain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing; the process will be notified.
    Nothing,
    /// More events; the process will not be notified.
    More,
}

impl Inbox {
    /// An empty, armed inbox. `limit` bounds the payloads and [`EVENT_COST`] an event; `keep` is
    /// how much memory an empty inbox may hold on to.
    pub fn new(limit: usize, keep: usize, notifier: Box<dyn Notifier>) -> Arc<Self> {
        Arc::new(Inbox {
            key: unique(&NEXT_KEY),
            limit,
            keep,
            notifier,
            only: AtomicU64::new(0),
            filling: Mutex::new(Filling {
                batch: Batch::default(),
                armed: true,
                notifying: false,
                dead: false,
            }),
            draining: Mutex::default(),
            pending: AtomicUsize::new(0),
            added: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            users: AtomicUsize::new(0),
            announces: AtomicBool::new(false),
            waiting: AtomicU64::new(0),
            is_full: AtomicBool::new(false),
            epoch: AtomicU32::new(0),
        })
    }

    /// Names the inbox.
    pub fn key(&self) -> u64 {
        self.key
    }

    pub(crate) fn user_added(&self) {
        self.users.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn user_removed(&self) {
        self.users.fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn announces(&self) {
        self.announces.store(true, Ordering::SeqCst);
    }

    /// Whether a connection may have something to do with it.
    pub(crate) fn is_in_use(&self) -> bool {
        self.users.load(Ordering::SeqCst) > 0 || self.announces.load(Ordering::SeqCst)
    }

    /// What has come until now, for [`Inbox::has_passed`].
    pub(crate) fn mark(&self) -> u64 {
        // Who asks has put there itself what it asks about.
        self.added.load(Ordering::Relaxed)
    }

    /// Whether all that had come before the mark has been read, or never will be.
    pub(crate) fn has_passed(&self, mark: u64) -> bool {
        self.taken.load(Ordering::SeqCst) >= mark || lock(&self.filling).dead
    }

    /// Whether nobody will ever read it.
    pub fn is_dead(&self) -> bool {
        lock(&self.filling).dead
    }

    /// Notes that this inbox serves this connection and no other.
    pub(crate) fn dedicate(&self, conn: ConnId) {
        self.only.store(conn.as_u64(), Ordering::Relaxed);
    }

    pub(crate) fn only(&self) -> Option<ConnId> {
        ConnId::from_u64(self.only.load(Ordering::Relaxed))
    }

    /// Cost of the events that wait.
    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// What it still takes of one connection, once more than half of it is taken.
    pub(crate) fn room(&self) -> Option<usize> {
        let pending = self.pending();
        if pending <= self.limit / 2 {
            return None;
        }
        if self.is_full.load(Ordering::Relaxed) {
            return Some(0);
        }
        Some(self.limit.saturating_sub(pending).min(self.limit / SHARE))
    }

    /// Whether there is far more than room for.
    pub(crate) fn is_overloaded(&self) -> bool {
        self.pending() > self.limit.saturating_add(OVERLOADED)
    }

    pub(crate) fn fill(&self) -> Filler<'_> {
        Filler {
            inbox: self,
            filling: lock(&self.filling),
            touched: false,
            cost: 0,
            events: 0,
        }
    }

    /// Notifies the process if there are events and it waits. False if the process is dead.
    pub(crate) fn notify(&self) -> bool {
        let mut filling = lock(&self.filling);
        filling.notifying = false;
        if filling.dead {
            return false;
        }
        if !filling.armed || filling.batch.is_empty() {
            return true;
        }
        filling.armed = false;
        drop(filling);
        self.notifier.notify()
    }

    /// The process is gone: drops what is here and refuses what comes.
    pub fn kill(&self) {
        let mut filling = lock(&self.filling);
        filling.dead = true;
        filling.batch = Batch::default();
        drop(filling);
        // One that is being read goes with the inbox: this must not wait.
        if let Ok(mut draining) = self.draining.try_lock() {
            *draining = Draining::default();
        }
        self.pending.store(0, Ordering::SeqCst);
    }

    /// Notes that connections of this shard wait for room. True if there is room already.
    pub(crate) fn wait(&self, shard: usize) -> bool {
        self.waiting.fetch_or(1 << shard, Ordering::SeqCst);
        if self.pending.load(Ordering::SeqCst) == 0 {
            self.waiting.fetch_and(!(1 << shard), Ordering::SeqCst);
            return true;
        }
        false
    }

    /// Reads up to `max` events.
    ///
    /// `visit` sees each event and says whether to go on; an event that it refuses with
    /// [`Visit::Stop`] stays. Returns what is left, and the shards (as bits) whose connections
    /// may go on: the caller passes them to [`crate::Engine::resume`].
    pub fn drain(
        &self,
        max: usize,
        mut visit: impl FnMut(ConnId, Event<'_>, usize) -> Visit,
    ) -> (Left, u64) {
        let mut seen = 0;
        self.read(lock(&self.draining), true, |batch, index| {
            let len = batch.payload_len(index);
            let Some((conn, event)) = batch.event(index) else {
                return ReadStep::Stop;
            };
            let visit = visit(conn, event, len);
            seen += 1;
            match visit {
                Visit::Stop => ReadStep::Stop,
                Visit::Next if seen < max => ReadStep::On(index + 1),
                Visit::Next | Visit::Last => ReadStep::Last(index + 1),
            }
        })
    }

    /// Reads events in groups, for somebody else than the process that they are for: `step` sees
    /// the batch and the place of the first event that is not read. None if another thread reads.
    ///
    /// Unless it `arms`, nobody is notified of what comes next, even if nothing is left.
    pub fn serve(
        &self,
        arms: bool,
        step: impl FnMut(&Batch, usize) -> ReadStep,
    ) -> Option<(Left, u64)> {
        let draining = match self.draining.try_lock() {
            Ok(draining) => draining,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(self.read(draining, arms, step))
    }

    fn read(
        &self,
        mut draining: MutexGuard<'_, Draining>,
        arms: bool,
        mut step: impl FnMut(&Batch, usize) -> ReadStep,
    ) -> (Left, u64) {
        let mut freed = 0;
        let mut swapped = false;
        let mut left = Left::More;
        let before = self.pending.load(Ordering::SeqCst);
        let mut read = 0;
        loop {
            if draining.next == draining.batch.len() {
                draining.batch.clear(self.keep);
                draining.next = 0;
                let mut filling = lock(&self.filling);
                if filling.batch.is_empty() {
                    filling.armed = arms && !filling.dead;
                    left = Left::Nothing;
                    break;
                }
                std::mem::swap(&mut filling.batch, &mut draining.batch);
                self.epoch.fetch_add(1, Ordering::Relaxed);
                swapped = true;
            }
            let first = draining.next;
            let step = step(&draining.batch, first);
            let (ReadStep::On(next) | ReadStep::Last(next)) = step else {
                break;
            };
            // A step that reads nothing would never end.
            let next = next.clamp(first + 1, draining.batch.len());
            for index in first..next {
                freed += draining.batch.payload_len(index) + EVENT_COST;
                draining.batch.discard(index);
            }
            draining.next = next;
            read += (next - first) as u64;
            if let ReadStep::Last(_) = step {
                break;
            }
        }
        // A full visit may have read the last event: say so now and save a call.
        if left == Left::More && draining.next == draining.batch.len() {
            let mut filling = lock(&self.filling);
            if filling.batch.is_empty() {
                filling.armed = arms && !filling.dead;
                left = Left::Nothing;
            }
            drop(filling);
            if left == Left::Nothing {
                draining.batch.clear(self.keep);
                draining.next = 0;
            }
        }
        // Before what says that there is room: who waits for a mark looks at this then.
        self.taken.fetch_add(read, Ordering::SeqCst);
        drop(draining);
        // More may be freed than `before` says: shards append while the visitor works. Less may
        // be left than was freed only when the inbox was killed meanwhile.
        let now = self
            .pending
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |pending| {
                Some(pending.saturating_sub(freed))
            })
            .map_or(0, |pending| pending.saturating_sub(freed));
        let room = now <= self.limit / 2 && (swapped || before > self.limit / 2);
        let shards = if room || now == 0 || left == Left::Nothing {
            self.take_waiting()
        } else {
            0
        };
        (left, shards)
    }

    fn take_waiting(&self) -> u64 {
        // A plain read first: mostly nobody waits.
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return 0;
        }
        self.is_full.store(false, Ordering::SeqCst);
        self.waiting.swap(0, Ordering::SeqCst)
    }
}

/// What [`Inbox::drain`]'s visitor wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// The next one.
    Next,
    /// This was the last one.
    Last,
    /// Not even this one.
    Stop,
}

/// What [`Inbox::serve`]'s reader has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadStep {
    /// The events before this place are read; what is next?
    On(usize),
    /// The events before this place are read, and these were the last ones.
    Last(usize),
    /// Nothing more.
    Stop,
}

#[cfg(test)]
#[path = "inbox_tests.rs"]
mod tests;
