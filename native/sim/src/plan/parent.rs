//! A parent server, in which the one under test is nested.

use sockeye_world::Chance;

/// Which WebSockets of the parent belong to the nested server: all.
pub(crate) const PATHS: &str = "/*";

#[derive(Clone, Copy, Debug)]
pub struct ParentPlan {
    /// It stops before the nested server.
    pub stops_first: bool,
}

/// The parent, if there is one.
pub(super) fn draw(chance: &mut Chance) -> Option<ParentPlan> {
    let plan = ParentPlan {
        stops_first: chance.is(1, 2),
    };
    chance.is(1, 6).then_some(plan)
}
