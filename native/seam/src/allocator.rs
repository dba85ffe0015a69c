//! Calls to the C library's allocator, for both hosts. Only glibc has them.

#![allow(unsafe_code)]

/// Bytes that the C library keeps free at the end of each of its heaps.
#[cfg(all(target_os = "linux", target_env = "gnu", not(sim)))]
const KEPT: std::ffi::c_int = 4 << 20;

/// Has the C library keep what large messages need again at once. The VM fixes its bounds at 128 KiB, where by itself it
/// learns them from what is freed: each buffer of 64 KiB or more would be new pages, and two calls of the system.
/// [`give_back`] is called when there are no large messages any more.
pub fn keep_some() {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(sim)))]
    {
        const TRIM_THRESHOLD: std::ffi::c_int = -1;
        const MMAP_THRESHOLD: std::ffi::c_int = -3;
        unsafe extern "C" {
            fn mallopt(name: std::ffi::c_int, value: std::ffi::c_int) -> std::ffi::c_int;
        }
        // SAFETY: glibc's own function. It takes the lock of the main heap and sets one word, which other threads may read
        // meanwhile: its `free` sets the same words without a lock, where they move by themselves.
        unsafe {
            mallopt(TRIM_THRESHOLD, KEPT);
            // As the C library has it: half of the other.
            mallopt(MMAP_THRESHOLD, KEPT / 2);
        }
    }
}

/// Gives what is free back to the system.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(sim)))]
    {
        unsafe extern "C" {
            fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        // SAFETY: glibc's own function, which any thread may call.
        unsafe { malloc_trim(0) };
    }
}
