//! `sockeye-engine PATH`: the engine in a process of its own.
//!
//! The VM starts it, writes a secret to its standard input, and connects to the Unix socket at PATH. What is said there is in
//! `docs/link.md`. When standard input or the socket ends, so does this process, and its clients hear 1001.
//!
//! A library, so that fuzz targets see what reads and writes packets.

#![deny(clippy::indexing_slicing, clippy::string_slice)]

mod calls;
#[cfg(not(sim))]
mod lifecycle;
pub mod link;
mod on_last_drop;
mod os;
mod processes;
mod sections;
mod server;
#[cfg(sim)]
pub mod simulated;
mod world;

#[cfg(not(sim))]
pub use lifecycle::run;
