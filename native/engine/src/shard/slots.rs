//! The public state of each connection, which every thread may read: whether it is open, and how many bytes are queued for it.
//!
//! One 16-byte slot a connection, in chunks that are made on demand and never move, so that a
//! send needs no lock: the generation and the queued bytes share one atomic word, and a slot
//! that was given to another connection meanwhile is noticed by the same compare-and-swap.

use std::sync::OnceLock;

use crate::model::error::SendError;
use crate::model::id::{ConnId, GENERATION_BITS, SLOT_BITS, next_generation};
use crate::world::sync::atomic::{AtomicU32, AtomicU64, Ordering};

// Few where all orders of threads are tried: each try makes them anew.
const CHUNK_BITS: u32 = if cfg!(loom) { 0 } else { 12 };
const CHUNK: usize = 1 << CHUNK_BITS;
const CHUNKS: usize = if cfg!(loom) {
    1
} else {
    1 << (SLOT_BITS - CHUNK_BITS)
};

// The state word: generation (29) | full (1) | closing (1) | queued bytes (33).
const QUEUED_BITS: u32 = 64 - GENERATION_BITS - 2;
const QUEUED_MASK: u64 = (1 << QUEUED_BITS) - 1;
const CLOSING: u64 = 1 << QUEUED_BITS;
const FULL: u64 = 1 << (QUEUED_BITS + 1);

#[derive(Default)]
struct Slot {
    state: AtomicU64,
    /// The bound of the queued bytes.
    limit: AtomicU32,
    /// The server's number.
    server: AtomicU32,
}

pub(crate) struct Slots {
    chunks: Box<[OnceLock<Box<[Slot]>>]>,
    /// The generation that a slot starts with.
    seed: u32,
}

fn generation_of(state: u64) -> u32 {
    (state >> (QUEUED_BITS + 2)) as u32
}

fn word(generation: u32) -> u64 {
    u64::from(generation) << (QUEUED_BITS + 2)
}

impl Slots {
    pub(crate) fn new(seed: u32) -> Self {
        Slots {
            chunks: (0..CHUNKS).map(|_| OnceLock::new()).collect(),
            seed: next_generation(seed & ((1 << GENERATION_BITS) - 1)),
        }
    }

    fn slot(&self, slot: u32) -> Option<&Slot> {
        let chunk = self.chunks.get((slot >> CHUNK_BITS) as usize)?.get()?;
        chunk.get(slot as usize & (CHUNK - 1))
    }

    /// The slot of an id, with its state, if the id is that of the slot's present user.
    fn current(&self, id: ConnId) -> Option<(&Slot, u64)> {
        let slot = self.slot(id.slot())?;
        let state = slot.state.load(Ordering::SeqCst);
        (generation_of(state) == id.generation()).then_some((slot, state))
    }

    /// Gives a slot to a new connection. Only its shard calls this.
    pub(crate) fn open(&self, shard: usize, index: u32, limit: u32, server: u32) -> Option<ConnId> {
        let chunk = self.chunks.get((index >> CHUNK_BITS) as usize)?;
        let chunk = chunk.get_or_init(|| (0..CHUNK).map(|_| Slot::default()).collect());
        let slot = chunk.get(index as usize & (CHUNK - 1))?;
        let old = generation_of(slot.state.load(Ordering::SeqCst));
        let generation = if old == 0 { self.seed } else { old };
        slot.limit.store(limit, Ordering::Relaxed);
        slot.server.store(server, Ordering::SeqCst);
        slot.state.store(word(generation), Ordering::SeqCst);
        Some(ConnId::new(shard, index, generation))
    }

    /// Takes the slot back: from here on the id names nothing.
    pub(crate) fn close(&self, id: ConnId) {
        if let Some((slot, _)) = self.current(id) {
            let next = word(next_generation(id.generation()));
            slot.state.store(next | CLOSING, Ordering::SeqCst);
        }
    }

    /// Sets the bound of the queued bytes. Only its shard calls this.
    pub(crate) fn set_limit(&self, id: ConnId, limit: u32) {
        if let Some((slot, _)) = self.current(id) {
            slot.limit.store(limit, Ordering::Relaxed);
        }
    }

    /// The server of an open connection.
    pub(crate) fn server(&self, id: ConnId) -> Option<u32> {
        let (slot, _) = self.current(id)?;
        let server = slot.server.load(Ordering::SeqCst);
        // It may be that of the next one, whose slot this is by now.
        self.current(id).map(|_| server)
    }

    /// Counts `len` bytes as queued, or says why not.
    ///
    /// An empty queue takes a frame of any size, so that one larger than the bound can pass.
    pub(crate) fn reserve(&self, id: ConnId, len: usize) -> Result<(), SendError> {
        self.reserve_unless(id, len, CLOSING, 0)
    }

    /// The same beside so many bytes that are queued and wait for these.
    pub(crate) fn reserve_beside(
        &self,
        id: ConnId,
        len: usize,
        behind: usize,
    ) -> Result<(), SendError> {
        self.reserve_unless(id, len, CLOSING, behind as u64)
    }

    /// The same for a frame that was on its way before a close was asked for.
    pub(crate) fn reserve_earlier(&self, id: ConnId, len: usize) -> Result<(), SendError> {
        self.reserve_unless(id, len, 0, 0)
    }

    /// Counts bytes as queued only if there is room for all of them: then there is for each part.
    pub(crate) fn reserve_all(&self, id: ConnId, len: usize) -> bool {
        let Some((slot, mut state)) = self.current(id) else {
            return false;
        };
        let limit = u64::from(slot.limit.load(Ordering::Relaxed));
        while generation_of(state) == id.generation() && (state & QUEUED_MASK) + len as u64 <= limit
        {
            match slot.state.compare_exchange_weak(
                state,
                state + len as u64,
                Ordering::SeqCst,
                Ordering::SeqCst,
            ) {
                Ok(_) => return true,
                Err(seen) => state = seen,
            }
        }
        false
    }

    fn reserve_unless(
        &self,
        id: ConnId,
        len: usize,
        flag: u64,
        behind: u64,
    ) -> Result<(), SendError> {
        let Some((slot, mut state)) = self.current(id) else {
            return Err(SendError::Closed);
        };
        let limit = u64::from(slot.limit.load(Ordering::Relaxed));
        loop {
            if generation_of(state) != id.generation() || state & flag != 0 {
                return Err(SendError::Closed);
            }
            let queued = state & QUEUED_MASK;
            let fits = queued <= behind || queued + len as u64 <= limit + behind;
            let next = if fits {
                state + len as u64
            } else {
                state | FULL
            };
            match slot
                .state
                .compare_exchange_weak(state, next, Ordering::SeqCst, Ordering::SeqCst)
            {
                Ok(_) if fits => return Ok(()),
                Ok(_) => return Err(SendError::Busy),
                Err(seen) => state = seen,
            }
        }
    }

    /// Counts `len` bytes as queued whatever the bound says: answers that the protocol owes.
    pub(crate) fn charge(&self, id: ConnId, len: usize) {
        let Some((slot, mut state)) = self.current(id) else {
            return;
        };
        // Not by an addition: the slot may be another connection's by now.
        while generation_of(state) == id.generation() {
            match slot.state.compare_exchange_weak(
                state,
                state + len as u64,
                Ordering::SeqCst,
                Ordering::SeqCst,
            ) {
                Ok(_) => return,
                Err(seen) => state = seen,
            }
        }
    }

    /// Counts `len` bytes as gone.
    pub(crate) fn release(&self, id: ConnId, len: usize) {
        let Some((slot, mut state)) = self.current(id) else {
            return;
        };
        let limit = u64::from(slot.limit.load(Ordering::Relaxed));
        while generation_of(state) == id.generation() {
            let queued = (state & QUEUED_MASK).saturating_sub(len as u64);
            let mut next = (state & !QUEUED_MASK) | queued;
            if queued <= limit / 2 {
                next &= !FULL;
            }
            match slot
                .state
                .compare_exchange_weak(state, next, Ordering::SeqCst, Ordering::SeqCst)
            {
                Ok(_) => return,
                Err(seen) => state = seen,
            }
        }
    }

    /// No more sends from here on. False if that was so already.
    pub(crate) fn set_closing(&self, id: ConnId) -> bool {
        let Some((slot, mut state)) = self.current(id) else {
            return false;
        };
        loop {
            if generation_of(state) != id.generation() || state & CLOSING != 0 {
                return false;
            }
            match slot.state.compare_exchange_weak(
                state,
                state | CLOSING,
                Ordering::SeqCst,
                Ordering::SeqCst,
            ) {
                Ok(_) => return true,
                Err(seen) => state = seen,
            }
        }
    }

    /// Whether the id names a connection whose last event has not been delivered yet.
    pub(crate) fn is_known(&self, id: ConnId) -> bool {
        self.current(id).is_some()
    }

    /// Whether frames may be sent.
    pub(crate) fn is_open(&self, id: ConnId) -> bool {
        self.current(id)
            .is_some_and(|(_, state)| state & CLOSING == 0)
    }

    /// Whether a send was refused and less than half of the queue has left since.
    pub(crate) fn is_full(&self, id: ConnId) -> bool {
        self.current(id).is_some_and(|(_, state)| state & FULL != 0)
    }

    /// The bound of the queued bytes, where no more than half of that is queued and frames may be sent; 0 elsewhere.
    pub(crate) fn ample(&self, id: ConnId) -> usize {
        let Some((slot, state)) = self.current(id) else {
            return 0;
        };
        let limit = slot.limit.load(Ordering::Relaxed);
        let is_ample = state & CLOSING == 0 && state & QUEUED_MASK <= u64::from(limit / 2);
        if is_ample { limit as usize } else { 0 }
    }

    /// The same of all connections of a server. Looks at each slot.
    pub(crate) fn queued_of(&self, is_of: impl Fn(u32) -> bool) -> u64 {
        let slots = self.chunks.iter().filter_map(OnceLock::get).flatten();
        let queued = slots.map(|slot| {
            let queued = slot.state.load(Ordering::Relaxed) & QUEUED_MASK;
            match queued > 0 && is_of(slot.server.load(Ordering::Relaxed)) {
                true => queued,
                false => 0,
            }
        });
        queued.sum()
    }

    /// Bytes queued and not yet taken by the operating system.
    pub(crate) fn queued(&self, id: ConnId) -> usize {
        self.current(id)
            .map_or(0, |(_, state)| (state & QUEUED_MASK) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_at_less_equal_and_more() {
        let slots = Slots::new(7);
        let id = slots.open(0, 0, 100, 3).unwrap();
        assert_eq!(slots.reserve(id, 60), Ok(()));
        assert_eq!(slots.reserve(id, 39), Ok(()));
        assert_eq!(slots.reserve(id, 2), Err(SendError::Busy));
        assert!(slots.is_full(id));
        assert_eq!(slots.reserve(id, 1), Ok(()));
        assert_eq!(slots.reserve(id, 1), Err(SendError::Busy));
        slots.release(id, 49);
        assert!(slots.is_full(id), "more than half is still queued");
        assert_eq!(slots.ample(id), 0);
        slots.release(id, 1);
        assert!(!slots.is_full(id));
        assert_eq!(slots.ample(id), 100);
        assert_eq!(slots.queued(id), 50);
        assert_eq!(slots.server(id), Some(3));
        let other = slots.open(0, 1, 100, 4).unwrap();
        assert_eq!(slots.reserve(other, 7), Ok(()));
        assert_eq!(slots.queued_of(|server| server == 3), 50);
        assert_eq!(slots.queued_of(|server| server == 4), 7);
        slots.close(other);
        assert_eq!(slots.queued_of(|_| true), 50);
    }

    #[test]
    fn all_of_a_burst_or_nothing() {
        for (first, second, fits) in [
            (40, 59, true),
            (40, 60, true),
            (40, 61, false),
            (0, 101, false),
        ] {
            let slots = Slots::new(7);
            let id = slots.open(0, 0, 100, 3).unwrap();
            assert!(slots.reserve_all(id, first));
            assert_eq!(slots.reserve_all(id, second), fits);
            assert_eq!(slots.queued(id), if fits { first + second } else { first });
            assert!(!slots.is_full(id));
            slots.close(id);
            assert!(!slots.reserve_all(id, 1));
        }
    }

    #[test]
    fn the_bound_beside_what_waits() {
        let slots = Slots::new(7);
        let id = slots.open(0, 0, 100, 3).unwrap();
        assert_eq!(slots.reserve(id, 60), Ok(()));
        assert_eq!(slots.reserve_beside(id, 101, 59), Err(SendError::Busy));
        assert_eq!(slots.reserve_beside(id, 1000, 60), Ok(()));
        assert_eq!(slots.reserve_beside(id, 1, 60), Err(SendError::Busy));
        assert_eq!(slots.queued(id), 1060);
        for (len, fits) in [(49, true), (50, true), (51, false)] {
            let slots = Slots::new(7);
            let id = slots.open(0, 0, 100, 3).unwrap();
            assert_eq!(slots.reserve(id, 60), Ok(()));
            assert_eq!(slots.reserve_beside(id, 50, 60), Ok(()));
            assert_eq!(slots.reserve_beside(id, len, 60).is_ok(), fits, "{len}");
        }
    }

    #[test]
    fn owed_bytes_are_counted_above_the_bound() {
        let slots = Slots::new(7);
        let id = slots.open(0, 0, 5, 3).unwrap();
        slots.charge(id, 10);
        assert_eq!(slots.queued(id), 10);
        assert!(slots.set_closing(id));
        slots.charge(id, 1);
        assert_eq!(slots.queued(id), 11);
        slots.close(id);
        let next = slots.open(0, 0, 5, 3).unwrap();
        slots.charge(id, 10);
        assert_eq!(slots.queued(next), 0);
    }

    #[test]
    fn an_empty_queue_takes_a_large_frame() {
        let slots = Slots::new(7);
        let id = slots.open(0, 5000, 10, 0).unwrap();
        assert_eq!(slots.reserve(id, 1000), Ok(()));
        assert_eq!(slots.reserve(id, 1), Err(SendError::Busy));
        slots.release(id, 1000);
        assert_eq!(slots.reserve(id, 1), Ok(()));
    }

    #[test]
    fn a_stale_id_names_nothing() {
        let slots = Slots::new(7);
        let old = slots.open(0, 0, 100, 0).unwrap();
        slots.close(old);
        assert_eq!(slots.reserve(old, 1), Err(SendError::Closed));
        let new = slots.open(0, 0, 100, 0).unwrap();
        assert_ne!(old, new);
        assert_eq!(slots.reserve(old, 1), Err(SendError::Closed));
        slots.release(old, 1);
        assert_eq!(slots.reserve(new, 1), Ok(()));
        assert_eq!(slots.queued(new), 1);
        assert!(!slots.is_known(old));
    }

    #[test]
    fn closing_refuses_sends_once() {
        let slots = Slots::new(7);
        let id = slots.open(0, 0, 100, 0).unwrap();
        assert!(slots.set_closing(id));
        assert!(!slots.set_closing(id));
        assert_eq!(slots.reserve(id, 1), Err(SendError::Closed));
        assert!(slots.is_known(id));
    }
}
