//! How much memory the library holds: `erlang:memory/0` does not see it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

/// Threads count apart, so that they do not wait for each other's cache line. What one allocates another may free: only
/// the sum means something.
const COUNTERS: usize = 128;

#[repr(align(128))]
struct Counter(AtomicIsize);

static HELD: [Counter; COUNTERS] = [const { Counter(AtomicIsize::new(0)) }; COUNTERS];
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    // Neither built nor dropped by code, so that an allocator may use it at any time.
    static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
}

fn count(bytes: isize) {
    let mine = MINE.try_with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(THREADS.fetch_add(1, Ordering::Relaxed) % COUNTERS);
        }
        mine.get()
    });
    if let Some(counter) = HELD.get(mine.unwrap_or(0)) {
        counter.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Bytes that are allocated, with what the C library adds to each piece where that is known: a sixth where pieces are small.
pub(crate) fn held() -> u64 {
    let sum: isize = HELD.iter().map(|c| c.0.load(Ordering::Relaxed)).sum();
    u64::try_from(sum).unwrap_or(0)
}

/// What a piece of so many bytes takes. With glibc on 64 bits a word stands before it, and the whole is a multiple of two.
const fn taken(asked: usize) -> isize {
    let whole = if cfg!(all(target_env = "gnu", target_pointer_width = "64")) {
        let with_head = asked.saturating_add(8 + 15) & !15;
        if with_head < 32 { 32 } else { with_head }
    } else {
        asked
    };
    whole as isize
}

/// The system's allocator, counted.
struct CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

// SAFETY: every call goes to the system's allocator as it came. A layout's size fits an isize.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the one that is asked for.
        let at = unsafe { System.alloc(layout) };
        if !at.is_null() {
            count(taken(layout.size()));
        }
        at
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let at = unsafe { System.alloc_zeroed(layout) };
        if !at.is_null() {
            count(taken(layout.size()));
        }
        at
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) };
        count(-taken(layout.size()));
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        let moved = unsafe { System.realloc(at, layout, size) };
        if !moved.is_null() {
            count(taken(size) - taken(layout.size()));
        }
        moved
    }
}
