//! The engine in a simulated world: one seed decides a run, a model says what must hold. `README.md` is the map.

// Nothing here meets a user: a defect is seen by who runs it.
#![allow(missing_docs, clippy::missing_panics_doc)]

mod clients;
mod library;
mod model;
#[path = "../../port/tests/engine/options.rs"]
#[allow(unreachable_pub, clippy::unwrap_used)]
mod options;
mod panics;
pub mod plan;
mod port;
mod run;
mod search;
#[path = "../../port/tests/engine/sections.rs"]
#[allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]
mod sections;
mod shrink;
mod steps;
#[path = "../../port/tests/engine/terms.rs"]
#[allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]
mod terms;
mod vm;

pub use plan::Plan;
pub use run::{Outcome, run};
pub use search::{SearchOptions, SearchResult, search};
pub use shrink::{replay_line, run_alone, shrink};
