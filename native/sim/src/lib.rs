//! The engine in a simulated world: random life out of one seed, and what must hold in it.

// A defect here is seen by who runs it.
#![allow(missing_docs, clippy::missing_panics_doc)]

pub mod book;
mod check;
mod client;
mod dial;
mod door;
pub mod drawn;
mod front;
mod handshake;
mod host;
mod http;
mod http2;
mod less;
mod meddle;
mod network;
#[path = "../../port/tests/engine/options.rs"]
#[allow(unreachable_pub, clippy::unwrap_used)]
mod options;
mod outer;
mod owner;
mod packer;
mod panics;
mod pieces;
pub mod plan;
mod port;
mod process;
mod requests;
mod run;
mod search;
#[path = "../../port/tests/engine/sections.rs"]
#[allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]
mod sections;
mod steps;
#[path = "../../port/tests/engine/terms.rs"]
#[allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]
mod terms;
mod tls;
mod together;
mod wakeup;
mod wire;

pub use plan::Plan;
pub use port::plan::{PortEnd, PortPlan};
pub use run::{Outcome, run};
pub use search::{Wanted, replay_line, run_alone, search, shrink};
