//! The operating system as the engine sees it: time, threads and tasks, sockets, names, and chance.
//!
//! Nothing else of the engine asks the system for these (`tests/layers.rs`), but for files and Unix sockets. So the simulation in `native/sim`
//! can compile the same sources against a world of its own, where one number decides what happens. In the product these are the types
//! of tokio and of the standard library, under other names. What threads hand to each other with, [`sync`], is loom's in `native/loom`.

#[cfg(loom)]
#[path = "../../../loom/src/world.rs"]
mod modelled;
#[cfg_attr(loom, path = "../../../loom/src/sync/mod.rs")]
pub(crate) mod sync;
#[cfg(not(sim))]
mod system;
#[cfg(not(sim))]
mod task_group;

/// What [`unique`] counts with: no order depends on it.
pub(crate) use std::sync::atomic::AtomicU64 as Numbers;

#[cfg(loom)]
pub(crate) use modelled::{SCALE, net, task, thread};
#[cfg(sim)]
pub(crate) use sockeye_world::{collections, names, net, task, thread, time, unique};
#[cfg(not(any(sim, loom)))]
pub(crate) use system::{collections, names, net, task, thread, time, unique};
#[cfg(loom)]
pub(crate) use system::{collections, names, time, unique};
