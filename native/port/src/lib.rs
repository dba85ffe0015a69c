//! `sockeye-engine PATH`: the engine in a process of its own.
//!
//! The VM starts it, writes a secret to its standard input, and connects to the Unix socket at PATH. What is said there is in
//! `docs/decisions/process.md`. When standard input or the socket ends, so does this process, and its clients hear 1001.
//!
//! A library, so that fuzz targets see what reads and writes packets.

#![deny(clippy::indexing_slicing, clippy::string_slice)]

mod asker;
mod batches;
mod calls;
#[cfg(not(sim))]
mod descriptors;
mod gathered;
mod grants;
pub mod hello;
mod host;
mod last;
#[cfg(not(sim))]
mod life;
mod link;
mod memory;
pub mod outgoing;
pub mod packets;
mod passed;
mod port;
mod processes;
mod publishing;
mod receiver;
mod serve;
#[cfg(sim)]
pub mod simulated;
mod world;

#[cfg(not(sim))]
pub use life::run;
