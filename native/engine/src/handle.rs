//! How other threads reach a shard: its slots, its queues, and its one alarm clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use tokio::sync::Notify;

use crate::compression::Broadcast;
use crate::op::{Control, Op};
use crate::server::Server;
use crate::slots::Slots;
use crate::streams::Streams;
use crate::topics::{Delivery, Register};

/// Operations that may wait for a shard.
const OPS: usize = 8192;

/// Bytes of frames for many connections that may wait for a shard.
const FANNING: usize = 16 << 20;

/// The part of a shard that every thread may use.
pub(crate) struct Handle {
    pub(crate) index: usize,
    pub(crate) slots: Slots,
    pub(crate) streams: Streams,
    pub(crate) register: Register,
    pub(crate) turn: Notify,
    ops: Sender<Op>,
    controls: Sender<Control>,
    /// Bytes of frames for many connections that wait in `ops`.
    fanning: AtomicUsize,
    sleeping: AtomicBool,
    /// Time may have passed since the shard last looked at its clock.
    pub(crate) slept: AtomicBool,
}

/// What a shard is made of, before its thread runs.
pub(crate) struct Parts {
    pub(crate) handle: Arc<Handle>,
    pub(crate) ops: Receiver<Op>,
    pub(crate) controls: Receiver<Control>,
}

impl Handle {
    pub(crate) fn make(index: usize, seed: u32) -> Parts {
        let (op_sender, ops) = crossbeam_channel::bounded(OPS);
        let (control_sender, controls) = crossbeam_channel::unbounded();
        let handle = Arc::new(Handle {
            index,
            slots: Slots::new(seed),
            streams: Streams::default(),
            register: Register::default(),
            turn: Notify::new(),
            ops: op_sender,
            controls: control_sender,
            fanning: AtomicUsize::new(0),
            sleeping: AtomicBool::new(false),
            slept: AtomicBool::new(true),
        });
        Parts {
            handle,
            ops,
            controls,
        }
    }

    /// Hands work over. It comes back if the queue is full.
    pub(crate) fn submit(&self, op: Op) -> Result<(), Op> {
        match self.ops.try_send(op) {
            Ok(()) => {
                self.wake();
                Ok(())
            }
            Err(TrySendError::Full(op) | TrySendError::Disconnected(op)) => Err(op),
        }
    }

    /// Hands over a frame for many connections, which has been counted. False if the queue has
    /// filled meanwhile.
    pub(crate) fn fan_out(&self, server: &Arc<Server>, frame: &Broadcast, to: Delivery) -> bool {
        let op = Op::Fanout {
            server: server.clone(),
            frame: frame.clone(),
            to,
        };
        let Err(refused) = self.submit(op) else {
            return true;
        };
        self.fanned_out(frame.len());
        // The caller hears of it in another way.
        if let Op::Fanout { to, .. } = &refused
            && let Some(tally) = &to.tally
        {
            tally.silence();
        }
        false
    }

    /// Counts a frame for many connections as on its way. False if too much of that kind waits.
    pub(crate) fn make_room(&self, len: usize) -> bool {
        let waiting = self.fanning.fetch_add(len, Ordering::AcqRel);
        let room = waiting == 0 || waiting.saturating_add(len) <= FANNING;
        let taken = room && !self.ops.is_full();
        if !taken {
            self.fanned_out(len);
        }
        taken
    }

    /// A frame for many connections is with them.
    pub(crate) fn fanned_out(&self, len: usize) {
        self.fanning.fetch_sub(len, Ordering::AcqRel);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_for_broadcasts_at_less_equal_and_more() {
        for (second, taken) in [(9, true), (10, true), (11, false)] {
            let handle = Handle::make(0, 1).handle;
            assert!(handle.make_room(FANNING - 10));
            assert_eq!(handle.make_room(second), taken);
            handle.fanned_out(FANNING - 10);
            if taken {
                handle.fanned_out(second);
            }
            // Nothing is counted that was refused.
            assert!(handle.make_room(FANNING));
            assert!(!handle.make_room(1));
        }
    }

    #[test]
    fn one_beyond_the_bound_passes_alone() {
        let handle = Handle::make(0, 1).handle;
        assert!(handle.make_room(FANNING + 1));
        assert!(!handle.make_room(1));
        handle.fanned_out(FANNING + 1);
        assert!(handle.make_room(1));
    }
}
