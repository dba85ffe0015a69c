//! What this process has from the operating system: descriptors and memory.

#[cfg(not(sim))]
pub(crate) mod descriptors;
pub(crate) mod memory;
pub(crate) mod passed_descriptors;
