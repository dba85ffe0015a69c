//! Large batches of plain processes, delivered by a thread beside the shard.
//!
//! A shard that builds the terms of 16 MB of JSON would keep all its connections waiting. So
//! such a batch goes to a thread of its own, and the process's other events wait for its return:
//! their order is what it would have been. Its connections hold back what they read meanwhile.

use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::mem::take;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender};

use crate::batch::Batch;
use crate::deliver::Staging;
use crate::handle::Handle;
use crate::host::{Delivery, Owner};
use crate::id::ConnId;
use crate::op::Control;
use crate::shard::Shard;

/// Bytes of text that the shard itself delivers to a process in one turn.
pub const INLINE_TEXT: usize = 256 * 1024;

/// What a shard keeps of a batch that it delivered itself.
const KEPT: usize = 16 * 1024;

struct Job {
    owner: Arc<dyn Owner>,
    batch: Batch,
}

struct Thread {
    /// Not bounded by its length, but by the rule that a process has one batch there at most.
    jobs: Sender<Job>,
    returns: Receiver<Delivery>,
    join: JoinHandle<()>,
}

/// The thread, and who waits for it.
#[derive(Default)]
pub(crate) struct Offload {
    /// Started by the first large batch.
    thread: RefCell<Option<Thread>>,
    /// Whose batches are there: they come back in this order.
    away: RefCell<VecDeque<Rc<Staging>>>,
    /// The shard ends: nothing is handed over any more.
    over: Cell<bool>,
}

/// Whether this is more than a shard should deliver itself.
fn is_large(owner: &dyn Owner, batch: &Batch) -> bool {
    // The cost is at hand and never less than the text.
    batch.cost() > INLINE_TEXT && owner.parses_text() && batch.text_len() > INLINE_TEXT
}

fn deliver(owner: &dyn Owner, batch: &Batch) -> Delivery {
    let deliver = AssertUnwindSafe(|| owner.deliver(batch));
    // What a defect has swallowed can not be told again: as if the owner were dead.
    catch_unwind(deliver).unwrap_or_else(|_| Delivery {
        dead: true,
        invalid: Vec::new(),
    })
}

impl Thread {
    fn start(handle: Arc<Handle>) -> std::io::Result<Self> {
        let (jobs, todo) = crossbeam_channel::unbounded::<Job>();
        let (returned, returns) = crossbeam_channel::unbounded();
        let name = format!("sockeye-{}-text", handle.index);
        let run = move || {
            for Job { owner, batch } in todo {
                let delivery = deliver(&*owner, &batch);
                drop(batch);
                if returned.send(delivery).is_err() {
                    return;
                }
                handle.control(Control::Offloaded);
            }
        };
        let join = std::thread::Builder::new().name(name).spawn(run)?;
        Ok(Thread {
            jobs,
            returns,
            join,
        })
    }
}

impl Offload {
    /// Hands a batch to the thread. It comes back if there is none.
    fn hand_over(
        &self,
        handle: &Arc<Handle>,
        staging: &Rc<Staging>,
        batch: Batch,
    ) -> Result<(), Batch> {
        if self.over.get() {
            return Err(batch);
        }
        let mut thread = self.thread.borrow_mut();
        if thread.is_none() {
            *thread = Thread::start(handle.clone()).ok();
        }
        let Some(thread) = &*thread else {
            return Err(batch);
        };
        let owner = staging.owner.clone();
        let job = Job { owner, batch };
        thread.jobs.send(job).map_err(|job| job.0.batch)?;
        staging.away.set(true);
        self.away.borrow_mut().push_back(staging.clone());
        Ok(())
    }

    /// A batch that has been delivered.
    fn returned(&self) -> Option<(Rc<Staging>, Delivery)> {
        let thread = self.thread.borrow();
        let delivery = thread.as_ref()?.returns.try_recv().ok()?;
        let staging = self.away.borrow_mut().pop_front()?;
        Some((staging, delivery))
    }

    /// Waits for the next batch that has been delivered, if there is one to wait for.
    fn await_return(&self) -> Option<(Rc<Staging>, Delivery)> {
        let staging = self.away.borrow_mut().pop_front()?;
        let thread = self.thread.borrow();
        let delivery = thread
            .as_ref()
            .and_then(|thread| thread.returns.recv().ok());
        Some((staging, delivery.unwrap_or_default()))
    }
}

impl Shard {
    pub(crate) fn send_to_owners(self: &Rc<Self>) {
        while let Some(staging) = self.lists.stagings.pop() {
            staging.touched.set(false);
            if staging.away.get() {
                // What has come since goes when the batch is back.
                continue;
            }
            let mut batch = take(&mut *staging.batch.borrow_mut());
            if is_large(&*staging.owner, &batch) {
                match self.offload.hand_over(&self.handle, &staging, batch) {
                    Ok(()) => continue,
                    Err(refused) => batch = refused,
                }
            }
            let delivery = deliver(&*staging.owner, &batch);
            self.delivered(&staging, delivery);
            batch.clear(KEPT);
            let mut place = staging.batch.borrow_mut();
            if place.is_empty() {
                *place = batch;
            }
        }
    }

    fn delivered(self: &Rc<Self>, staging: &Staging, delivery: Delivery) {
        for (id, reason) in delivery.invalid {
            if let Some(conn) = self.conn(id) {
                conn.refuse(self, 1007, &reason);
            }
        }
        if delivery.dead {
            self.owners_died(HashSet::from([staging.owner.key()]));
        }
    }

    /// Takes back what the thread has delivered.
    pub(crate) fn offloaded(self: &Rc<Self>) {
        while let Some((staging, delivery)) = self.offload.returned() {
            self.take_back(&staging, delivery);
        }
    }

    fn take_back(self: &Rc<Self>, staging: &Rc<Staging>, delivery: Delivery) {
        staging.away.set(false);
        self.delivered(staging, delivery);
        // First what has gathered, which is no message, then what its connections hold.
        self.touch_staging(staging);
        for conn in staging.waiting.take() {
            self.lists.thawed.push(conn);
        }
        for last in staging.parted.take() {
            self.lists.parted.push((Some(staging.clone()), last));
        }
        for last in staging.left.take() {
            self.lists.left.push((Some(staging.clone()), last));
        }
        self.schedule();
    }

    /// Returns when all that was to be sent to the present owner of a connection is sent. Here the
    /// shard waits: the caller of a rare request is promised this order.
    pub(crate) fn settle_owner(self: &Rc<Self>, id: ConnId) {
        self.send_to_owners();
        let Some(staging) = self.conn(id).and_then(|conn| conn.staging()) else {
            return;
        };
        if staging.away.get() {
            while staging.away.get() {
                match self.offload.await_return() {
                    Some((back, delivery)) => self.take_back(&back, delivery),
                    None => break,
                }
            }
            self.send_to_owners();
        }
    }

    /// The last turns deliver everything themselves, behind what is on its way.
    pub(crate) fn end_offload(self: &Rc<Self>) {
        self.offload.over.set(true);
        while let Some((staging, delivery)) = self.offload.await_return() {
            self.take_back(&staging, delivery);
        }
        if let Some(Thread { jobs, join, .. }) = self.offload.thread.take() {
            drop(jobs);
            let _ = join.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Incoming;

    struct Parser(bool);

    impl Owner for Parser {
        fn deliver(&self, _: &Batch) -> Delivery {
            Delivery::default()
        }

        fn parses_text(&self) -> bool {
            self.0
        }

        fn key(&self) -> u64 {
            0
        }
    }

    #[test]
    fn all_texts_of_a_batch_count_and_nothing_else() {
        for (last, large) in [(99, false), (100, false), (101, true)] {
            let mut batch = Batch::default();
            let text = vec![b'x'; INLINE_TEXT - 10_100];
            batch.push_message(ConnId::new(0, 1, 1), false, Incoming::Slice(&text));
            batch.push_message(ConnId::new(0, 1, 1), true, Incoming::Slice(&text));
            for _ in 0..100 {
                let short = Incoming::Slice(&text[..100]);
                batch.push_message(ConnId::new(0, 2, 1), true, short);
            }
            batch.push_control(ConnId::new(0, 2, 1), false, b"ping");
            let rest = Incoming::Slice(&text[..last]);
            batch.push_message(ConnId::new(0, 3, 1), true, rest);
            assert_eq!(is_large(&Parser(true), &batch), large, "{last}");
            assert!(!is_large(&Parser(false), &batch));
        }
    }
}
