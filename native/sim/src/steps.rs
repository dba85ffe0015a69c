//! The loop of a run.

use sockeye_world::{self as world, Step};

use crate::model::ledger::SharedLedger;

/// Steps until `done`, until that time, or until something is wrong. After each sixteenth step `check` looks at the engine.
pub(crate) fn step_until(
    end: u64,
    ledger: &SharedLedger,
    done: impl Fn() -> bool,
    check: impl Fn(),
) -> bool {
    let mut steps = 0_u32;
    while world::now() < end {
        if done() {
            return true;
        }
        if world::step(end) == Step::Idle {
            return done();
        }
        steps += 1;
        if steps.is_multiple_of(16) {
            check();
        }
        if !ledger.lock().problems.is_empty() {
            return false;
        }
    }
    done()
}
