//! `sockeye-engine PATH`: the engine in a process of its own.
//!
//! The VM starts it, writes a secret to its standard input, and connects to the Unix socket at PATH. What is said there is in
//! `docs/link.md`. When standard input or the socket ends, so does this process, and its clients hear 1001.
//!
//! A library, so that fuzz targets see what reads and writes packets.

#![deny(clippy::indexing_slicing, clippy::string_slice)]

mod batches;
mod calls;
mod context;
#[cfg(not(sim))]
mod descriptors;
mod gathered;
mod grants;
pub mod hello;
mod host;
#[cfg(not(sim))]
mod lifecycle;
mod link;
mod memory;
mod on_last_drop;
pub mod outgoing;
pub mod packets;
mod passed_descriptors;
mod port;
mod processes;
mod publishing;
mod receiver;
mod reply_to;
mod sections;
mod serve;
mod server_host;
#[cfg(sim)]
pub mod simulated;
mod world;

#[cfg(not(sim))]
pub use lifecycle::run;
