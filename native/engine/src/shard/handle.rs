//! The part of a shard that other threads use: its slots, its queues, and its wake-up.

use std::sync::Arc;

use crate::model::backlog::{CALLS, CallKind, FRAMES};
use crate::model::pieces::OpenMessages;
use crate::server::Server;
use crate::server::broadcast::Broadcast;
use crate::server::topics::{Fanout, Register};
use crate::shard::op::{Control, Op};
use crate::shard::slots::Slots;
use crate::world::sync::Notify;
use crate::world::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use crate::world::sync::channel::{self, Receiver, SendError, Sender};
use crate::world::thread;

/// The part of a shard that every thread may use.
pub(crate) struct Handle {
    pub(crate) index: usize,
    pub(crate) slots: Slots,
    pub(crate) open_messages: OpenMessages,
    pub(crate) register: Register,
    /// Wakes the task that runs the turns.
    pub(crate) turn: Arc<Notify>,
    ops: Sender<Op>,
    controls: Sender<Control>,
    /// Bytes of frames for many connections that wait in `ops`.
    fanning: AtomicUsize,
    /// How often a caller had to wait.
    delayed: AtomicU64,
    sleeping: AtomicBool,
    /// Time may have passed since the shard last looked at its clock.
    pub(crate) slept: AtomicBool,
    /// Many small answers are to be expected: see [`Handle::before_park`].
    pub(crate) answers_are_due: AtomicBool,
}

/// What a shard is made of, before its thread runs.
pub(crate) struct ShardParts {
    pub(crate) handle: Arc<Handle>,
    pub(crate) ops: Receiver<Op>,
    pub(crate) controls: Receiver<Control>,
}

impl Handle {
    pub(crate) fn make(index: usize, seed: u32) -> ShardParts {
        let (op_sender, ops) = channel::unbounded();
        let (control_sender, controls) = channel::unbounded();
        let handle = Arc::new(Handle {
            index,
            slots: Slots::new(seed),
            open_messages: OpenMessages::default(),
            register: Register::default(),
            turn: Arc::default(),
            ops: op_sender,
            controls: control_sender,
            fanning: AtomicUsize::new(0),
            delayed: AtomicU64::new(0),
            sleeping: AtomicBool::new(false),
            slept: AtomicBool::new(true),
            answers_are_due: AtomicBool::new(false),
        });
        ShardParts {
            handle,
            ops,
            controls,
        }
    }

    /// Hands work over. It comes back if the shard has ended.
    pub(crate) fn submit(&self, op: Op) -> Result<(), Op> {
        match self.ops.send(op) {
            Ok(()) => {
                self.wake();
                Ok(())
            }
            Err(SendError(op)) => Err(op),
        }
    }

    /// Hands over a frame for many connections.
    pub(crate) fn fan_out(&self, server: &Arc<Server>, frame: &Broadcast, to: Fanout) {
        self.fanning.fetch_add(frame.len(), Ordering::SeqCst);
        let op = Op::Fanout {
            server: server.clone(),
            frame: frame.clone(),
            to,
        };
        if let Err(refused) = self.submit(op) {
            self.fanned_out(frame.len());
            // Its caller hears of the end of the engine in another way.
            if let Op::Fanout { to, .. } = &refused
                && let Some(count) = &to.count
            {
                count.cancel();
            }
        }
    }

    /// Whether who has just brought this is to wait.
    pub(crate) fn is_backlogged(&self, kind: CallKind) -> bool {
        self.ops.len() > CALLS
            || (kind == CallKind::Fanout && self.fanning.load(Ordering::SeqCst) > FRAMES)
    }

    pub(crate) fn queued(&self) -> usize {
        self.ops.len()
    }

    pub(crate) fn count_delayed(&self) {
        self.delayed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn delayed(&self) -> u64 {
        self.delayed.load(Ordering::Relaxed)
    }

    /// A frame for many connections is with them.
    pub(crate) fn fanned_out(&self, len: usize) {
        self.fanning.fetch_sub(len, Ordering::SeqCst);
    }

    /// Hands over work that must not get lost. A shard that has ended needs it no more.
    pub(crate) fn control(&self, control: Control) {
        if self.controls.send(control).is_ok() {
            self.wake();
        }
    }

    /// One wake-up for all that is handed over while the shard sleeps; none while it runs.
    fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::SeqCst) && self.sleeping.swap(false, Ordering::SeqCst) {
            self.turn.notify_one();
        }
    }

    /// Called by the runtime when it has nothing left to run.
    pub(crate) fn before_park(&self) {
        if self.answers_are_due.swap(false, Ordering::Relaxed) {
            // Who answers meanwhile finds the shard awake, and the answers leave together. On a core that it shares, each would wake it else.
            thread::yield_now();
        }
        self.sleeping.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let work = !self.ops.is_empty() || !self.controls.is_empty();
        if work && self.sleeping.swap(false, Ordering::SeqCst) {
            self.turn.notify_one();
        }
    }

    pub(crate) fn after_park(&self) {
        self.slept.store(true, Ordering::Relaxed);
        self.sleeping.store(false, Ordering::SeqCst);
    }
}
