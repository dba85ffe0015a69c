//! A process of the VM that receives events. They go to it in batches, of which at most two are not acknowledged.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, PoisonError, Weak};

use sockeye_engine::inbox::Left;
use sockeye_engine::{Engine, Inbox, Notifier};

use crate::link::kinds::BATCH;
use crate::link::{Link, Stalled};
use crate::on_last_drop::{Job, OnLastDrop};
use crate::processes::batches::{Batches, Scratch};
use crate::world::sync::{Mutex, MutexGuard};
use crate::world::thread;

/// Batches on their way that are not acknowledged.
pub(crate) const CREDIT: u8 = 2;
/// Events of a batch, unless the process says otherwise.
const FIRST_MAX: u16 = 64;
/// It may say so many.
pub(crate) const MOST: u16 = 256;

pub(crate) struct Receiver {
    pub(crate) id: u64,
    /// Names its process where an order is kept for each.
    pub(crate) caller: u64,
    pub(crate) inbox: Arc<Inbox>,
    link: Arc<Link>,
    engine: Weak<Engine>,
    state: Mutex<State>,
}

struct State {
    credit: u8,
    max: u16,
    batches: Batches,
    /// What waits until nothing is left.
    resting: Vec<Job>,
    /// Nothing is acknowledged any more.
    is_dead: bool,
    /// Batches that were acknowledged.
    served: u64,
    /// Shards are asked for what they hold.
    is_passing: bool,
    /// They have been, and nothing was served meanwhile.
    is_settled: bool,
    is_stalled: bool,
    /// The inbox may have something, and does not tell.
    has_more: bool,
}

impl Stalled for Receiver {
    fn go_on(self: Arc<Self>) {
        self.state().is_stalled = false;
        self.pump();
    }
}

struct Notice(Weak<Receiver>);

impl Notifier for Notice {
    fn notify(&self) -> bool {
        match self.0.upgrade() {
            Some(receiver) => {
                NOTICES.with_borrow_mut(|notices| notices.push(receiver));
                true
            }
            None => false,
        }
    }
}

thread_local! {
    /// Receivers that this turn of a shard has something for.
    static NOTICES: RefCell<Vec<Arc<Receiver>>> = const { RefCell::new(Vec::new()) };
    static SCRATCH: Cell<Scratch> = const { Cell::new(Scratch::new()) };
}

/// All receivers of a turn have been noted. Their answers come over a link, which is the shard's own: nothing wakes it for each.
pub(crate) fn after_notices() -> bool {
    NOTICES.with_borrow_mut(|notices| {
        let Some(link) = notices.last().map(|receiver| receiver.link.clone()) else {
            return;
        };
        for receiver in notices.drain(..) {
            receiver.pump();
        }
        link.flush();
    });
    false
}

/// Does it when each shard has come by.
fn pass(engine: &Engine, job: impl FnOnce() + Send + 'static) {
    let last = OnLastDrop::new(job);
    engine.call_each(|| {
        let last = last.clone();
        Box::new(move || drop(last))
    });
}

impl Receiver {
    pub(crate) fn new(
        (id, caller): (u64, u64),
        batches: Batches,
        (room, keep): (usize, usize),
        link: &Arc<Link>,
        engine: &Arc<Engine>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|receiver: &Weak<Receiver>| Receiver {
            id,
            caller,
            inbox: Inbox::new(room, keep, Box::new(Notice(receiver.clone()))),
            link: link.clone(),
            engine: Arc::downgrade(engine),
            state: Mutex::new(State {
                credit: CREDIT,
                max: FIRST_MAX,
                batches,
                resting: Vec::new(),
                is_dead: false,
                served: 0,
                is_passing: false,
                is_settled: false,
                is_stalled: false,
                has_more: false,
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether so many batches are not acknowledged.
    pub(crate) fn has_sent(&self, batches: u8) -> bool {
        let state = self.state();
        batches <= CREDIT && state.credit + batches <= CREDIT
    }

    /// So many batches have been worked through, as [`Receiver::has_sent`] was asked about: sends what has waited for that.
    pub(crate) fn acknowledge(self: &Arc<Self>, batches: u8) {
        let mut state = self.state();
        state.credit = (state.credit + batches).min(CREDIT);
        state.served += u64::from(batches);
        if state.has_more || !state.resting.is_empty() {
            self.send(state, false);
        }
    }

    /// Events of a batch from now on.
    pub(crate) fn set_max(&self, max: u16) {
        if max > 0 {
            self.state().max = max.min(MOST);
        }
    }

    /// Does it when all has been sent and acknowledged, and no shard has more; or when the process is dead.
    pub(crate) fn when_at_rest(self: &Arc<Self>, job: impl FnOnce() + Send + 'static) {
        let mut state = self.state();
        if state.is_dead {
            drop(state);
            return job();
        }
        state.resting.push(Box::new(job));
        self.send(state, false);
        // What a shard brings while another thread looks is that one's to send: nobody else has been told of it.
        self.link.flush();
    }

    /// The process is dead: it acknowledges nothing more.
    pub(crate) fn give_up(&self) {
        let mut state = self.state();
        state.is_dead = true;
        let resting = std::mem::take(&mut state.resting);
        drop(state);
        resting.into_iter().for_each(|job| job());
    }

    /// Looks again when each shard has delivered what it holds: for an inbox that had no room, or until the process gave credits.
    /// It does so in a turn, behind what it is asked in that: so it has done it in the next one.
    fn pass_shards(self: &Arc<Self>, served: u64) {
        let receiver = self.clone();
        let look = move || {
            let mut state = receiver.state();
            state.is_passing = false;
            state.is_settled = state.served == served;
            receiver.send(state, false);
            receiver.link.flush();
        };
        let Some(engine) = self.engine.upgrade() else {
            return look();
        };
        let again = engine.clone();
        pass(&engine, move || pass(&again, look));
    }

    /// Sends what may be sent, and leaves what takes long to another thread.
    pub(crate) fn pump(self: &Arc<Self>) {
        self.send(self.state(), false);
    }

    fn send(self: &Arc<Self>, mut state: MutexGuard<'_, State>, has_time: bool) {
        let mut scratch = SCRATCH.take();
        let is_settled = std::mem::take(&mut state.is_settled);
        let (mut passes, mut resting) = (None, Vec::new());
        state.has_more = true;
        while state.credit > 0 && !state.is_stalled {
            let (is_full, no_large) = self.link.is_full();
            if is_full {
                state.is_stalled = true;
                self.link.stall(self.clone());
                break;
            }
            let max = state.max;
            let batches = &mut state.batches;
            let took = batches.take(&self.inbox, max, &mut scratch, has_time, no_large);
            if took.events > 0 {
                state.credit -= 1;
                let append = |parts: &[&[u8]]| self.link.append_parts(BATCH, parts);
                scratch.section(self.id, took.flags(), append);
            }
            if let Some(engine) = self.engine.upgrade() {
                engine.resume(&self.inbox, took.shards);
                for (conn, why) in took.invalid {
                    engine.close_after_answers(conn, 1007, &why);
                }
            }
            if took.waits {
                state.is_stalled = true;
                self.link.stall(self.clone());
                break;
            }
            if took.is_long {
                // Nobody else tries meanwhile.
                state.is_stalled = true;
                let receiver = self.clone();
                thread::in_turn(move || {
                    let mut state = receiver.state();
                    state.is_stalled = false;
                    receiver.send(state, true);
                    receiver.link.flush();
                });
                break;
            }
            if took.left == Left::Nothing {
                state.has_more = false;
                (passes, resting) = state.rest(is_settled && took.shards == 0);
                break;
            }
        }
        if scratch.is_small() {
            SCRATCH.set(scratch);
        }
        drop(state);
        resting.into_iter().for_each(|job| job());
        if let Some(served) = passes {
            self.pass_shards(served);
        }
    }
}

impl State {
    /// Nothing is left here: what waits for that, or how much has been served when the shards are asked first.
    fn rest(&mut self, is_settled: bool) -> (Option<u64>, Vec<Job>) {
        if self.resting.is_empty() || self.credit < CREDIT || self.is_passing {
            return (None, Vec::new());
        }
        if is_settled {
            return (None, std::mem::take(&mut self.resting));
        }
        self.is_passing = true;
        (Some(self.served), Vec::new())
    }
}
