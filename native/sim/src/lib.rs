//! The engine in a simulated world: random life out of one seed, and what must hold in it.

// A defect here is seen by who runs it.
#![allow(missing_docs, clippy::missing_panics_doc)]

pub mod book;
mod check;
mod client;
mod dial;
mod host;
mod meddle;
mod owner;
mod panics;
pub mod plan;
mod process;
mod requests;
mod run;
mod search;
mod tls;
mod wakeup;

pub use plan::Plan;
pub use run::{Outcome, run};
pub use search::{Wanted, replay_line, search, shrink};
