//! One run of a plan, whichever kind of engine it is for.

use sockeye_world::{self as world, trace};

use crate::model::ledger::SharedLedger;
use crate::plan::Plan;
use crate::{library, panics, port};

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What was wrong; empty if all is well.
    pub problems: Vec<String>,
    /// A hash of all that has happened.
    pub hash: u64,
    /// Steps of the world.
    pub steps: u64,
    /// Simulated nanoseconds.
    pub time: u64,
    /// What has happened as text, if that is wanted.
    pub lines: Vec<String>,
}

/// Runs a plan.
pub fn run(plan: &Plan) -> Outcome {
    world::begin(plan.seed);
    let ledger = SharedLedger::default();
    let hooked = ledger.clone();
    panics::report_to(move |what| hooked.problem(what));
    match &plan.port {
        Some(port) => port::run::run(plan, port, &ledger),
        None => library::run::run(plan, &ledger),
    }
    panics::stop_reporting();
    let outcome = Outcome {
        problems: ledger.lock().problems.clone(),
        hash: trace::hash(),
        steps: world::steps(),
        time: world::now(),
        lines: trace::lines(),
    };
    world::end();
    outcome
}
