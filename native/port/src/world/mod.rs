//! What this process takes from the system beside files: the clock, threads and tasks, the socket to the VM, and chance.
//!
//! Nothing else of it asks the system for these, but for its start and its end (`lifecycle`). So the simulation in `native/sim` can compile
//! the same sources against a world of its own, with smaller bounds. In the product these are the types of tokio and of the
//! standard library, under other names.

#[cfg(not(sim))]
mod system;

#[cfg(sim)]
pub(crate) use sockeye_world::{collections, net, task, thread, time};
#[cfg(not(sim))]
pub(crate) use system::{collections, net, task, thread, time};

/// By how much bounds of bytes are smaller in the simulation, where what is small is enough to meet them.
pub(crate) const SCALE: usize = if cfg!(sim) { 64 } else { 1 };

/// What threads hand to each other with; loom's in `native/loom`.
pub(crate) mod sync {
    pub(crate) use std::sync::{Mutex, MutexGuard};
    pub(crate) use tokio::sync::Notify;
}
