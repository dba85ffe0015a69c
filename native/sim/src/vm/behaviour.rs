//! How the processes of a run behave: when they pause, crash or do something rare.

use std::cell::Cell;
use std::time::Duration;

use sockeye_world::{chance, draw, time};

use crate::plan::processes::ProcessPlan;

pub(crate) struct Behaviour {
    plan: ProcessPlan,
    /// The run is ending: processes only finish what there is.
    pub(crate) is_ending: Cell<bool>,
}

impl Behaviour {
    pub(crate) fn new(plan: ProcessPlan) -> Self {
        Behaviour {
            plan,
            is_ending: Cell::new(false),
        }
    }

    /// Whether something happens that does in so many of a thousand cases.
    pub(crate) fn happens(&self, part: u64) -> bool {
        chance(part, 1000) && !self.is_ending.get()
    }

    pub(crate) async fn pause(&self) {
        if self.happens(self.plan.pauses) {
            let pause = draw(self.plan.pause);
            time::sleep(Duration::from_nanos(pause)).await;
        }
    }

    /// The time that a message of a monitor takes.
    pub(crate) async fn monitor_delay(&self) {
        time::sleep(Duration::from_nanos(draw(20_000_000))).await;
    }
}
