//! What `test/races/run` must find: two threads write to the same place.

struct Shared(std::cell::UnsafeCell<u64>);

// SAFETY: there is none, and that is to be found.
unsafe impl Sync for Shared {}

static SHARED: Shared = Shared(std::cell::UnsafeCell::new(0));

fn write() {
    for _ in 0..1000 {
        // SAFETY: as above.
        unsafe { *SHARED.0.get() += 1 };
    }
}

fn main() {
    let other = std::thread::spawn(write);
    write();
    let _ = other.join();
}
