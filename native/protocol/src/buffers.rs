//! Large buffers, used again.
//!
//! An allocator gives a large buffer back to the system as soon as it is free, and the system clears each page of the next one. The VM even
//! holds the C library to that. So a few wait here, for whatever thread needs one next: a message is filled by one, read by another.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Smaller ones are the allocator's.
pub const SMALLEST: usize = 16 * 1024;
/// Larger ones are too, and so is what would make those that wait more than this: bytes of all of them together.
const KEPT: usize = 4 << 20;

/// The newest last: it may still be in a cache.
static WAITING: Mutex<Waiting> = Mutex::new(Waiting {
    buffers: VecDeque::new(),
    bytes: 0,
});

struct Waiting {
    buffers: VecDeque<Vec<u8>>,
    bytes: usize,
}

/// An empty buffer with room for so many bytes, and for no more than twice as many.
pub fn take(room: usize) -> Vec<u8> {
    take_up_to(room, room.saturating_mul(2))
}

/// An empty buffer with room for so many bytes, and for no more than `most`.
pub fn take_up_to(room: usize, most: usize) -> Vec<u8> {
    // Who would have to wait asks the allocator.
    let waiting = match room {
        0..SMALLEST => None,
        _ => WAITING.try_lock().ok(),
    };
    let found = waiting.and_then(|mut waiting| waiting.take(room, most));
    found.unwrap_or_else(|| Vec::with_capacity(room))
}

/// Takes a buffer that is not needed any more, whatever is in it.
pub fn give(mut buffer: Vec<u8>) {
    let len = buffer.capacity();
    if !(SMALLEST..=KEPT / 4).contains(&len) {
        return;
    }
    buffer.clear();
    let dropped = match WAITING.try_lock() {
        Ok(mut waiting) => waiting.give(buffer),
        Err(_) => return,
    };
    // Without the lock.
    drop(dropped);
}

/// Bytes that wait.
pub fn waiting() -> usize {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner).bytes
}

impl Waiting {
    fn take(&mut self, room: usize, most: usize) -> Option<Vec<u8>> {
        let fits = |buffer: &Vec<u8>| (room..=most).contains(&buffer.capacity());
        let place = self.buffers.iter().rposition(fits)?;
        let buffer = self.buffers.remove(place)?;
        self.bytes -= buffer.capacity();
        Some(buffer)
    }

    /// Gives those that have waited longest, if there are too many.
    fn give(&mut self, buffer: Vec<u8>) -> Vec<Vec<u8>> {
        self.bytes += buffer.capacity();
        self.buffers.push_back(buffer);
        let mut dropped = Vec::new();
        while self.bytes > KEPT {
            let Some(oldest) = self.buffers.pop_front() else {
                break;
            };
            self.bytes -= oldest.capacity();
            dropped.push(oldest);
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> Waiting {
        Waiting {
            buffers: VecDeque::new(),
            bytes: 0,
        }
    }

    #[test]
    fn the_newest_that_fits_is_taken() {
        let mut waiting = none();
        for room in [40_000, 20_000, 30_000, 90_000] {
            assert!(waiting.give(Vec::with_capacity(room)).is_empty());
        }
        let mut take = |room| waiting.take(room, room * 2).map(|buffer| buffer.capacity());
        assert_eq!(take(20_001), Some(30_000));
        assert_eq!(take(20_000), Some(20_000));
        assert_eq!(take(20_000), Some(40_000));
        assert_eq!(take(44_999), None, "more than twice as large");
        assert_eq!(take(90_001), None);
        assert_eq!(take(45_000), Some(90_000));
        assert_eq!((waiting.buffers.len(), waiting.bytes), (0, 0));
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let mut waiting = none();
        let large = KEPT / 4;
        for n in 0..4 {
            let dropped = waiting.give(Vec::with_capacity(large + n - 3));
            assert!(dropped.is_empty());
        }
        let dropped = waiting.give(Vec::with_capacity(SMALLEST));
        assert_eq!(
            dropped.iter().map(Vec::capacity).collect::<Vec<_>>(),
            [large - 3]
        );
        assert!(waiting.bytes <= KEPT);
    }

    /// Other tests take and give at the same time.
    #[test]
    fn what_is_taken_has_room_and_nothing_else() {
        for room in [
            1,
            SMALLEST - 1,
            SMALLEST,
            3 * SMALLEST + 123,
            KEPT / 4,
            KEPT / 4 + 1,
        ] {
            for _ in 0..3 {
                let mut buffer = take(room);
                assert!(buffer.is_empty() && buffer.capacity() >= room);
                buffer.push(1);
                give(buffer);
                assert!(waiting() <= KEPT);
            }
        }
    }
}
