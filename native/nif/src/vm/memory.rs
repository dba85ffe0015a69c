//! The memory of the library, which `erlang:memory/0` does not count.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

use sockeye_seam::dense::Dense;

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

/// What a piece takes. With glibc on 64 bits a word stands before it, and the whole is a multiple of two.
const fn taken(layout: Layout) -> isize {
    let asked = Dense::asks(layout).size();
    if Dense::takes(layout) {
        return layout.size() as isize;
    }
    let whole = if cfg!(all(target_env = "gnu", target_pointer_width = "64")) {
        let with_head = asked.saturating_add(8 + 15) & !15;
        if with_head < 32 { 32 } else { with_head }
    } else {
        asked
    };
    whole as isize
}

/// The allocator of both hosts, counted.
struct CountingAllocator(Dense);

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator(Dense::new());

// SAFETY: every call goes to the other allocator as it came. A layout's size fits an isize.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the one that is asked for.
        let at = unsafe { self.0.alloc(layout) };
        if !at.is_null() {
            count(taken(layout));
        }
        at
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let at = unsafe { self.0.alloc_zeroed(layout) };
        if !at.is_null() {
            count(taken(layout));
        }
        at
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { self.0.dealloc(at, layout) };
        count(-taken(layout));
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        let moved = unsafe { self.0.realloc(at, layout, size) };
        if !moved.is_null() {
            // SAFETY: the caller promises that the size is none that overflows.
            let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
            count(taken(new) - taken(layout));
        }
        moved
    }
}
