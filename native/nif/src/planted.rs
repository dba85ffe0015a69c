//! Faults that `test/sanitize/run` must find, in a library that it builds for this alone (`--cfg planted`).

/// Does what a text asks for.
pub(crate) fn fault(text: &[u8]) {
    if text.starts_with(b"use after free") {
        let freed = {
            let byte = Box::new(0_u8);
            &raw const *byte
        };
        read(freed);
    } else if text.starts_with(b"past the end") {
        // A binary of the VM has some bytes of padding.
        read(text.as_ptr_range().end.wrapping_add(16));
    }
}

fn read(at: *const u8) {
    // SAFETY: there is none, and that is to be found.
    std::hint::black_box(unsafe { at.read_volatile() });
}
