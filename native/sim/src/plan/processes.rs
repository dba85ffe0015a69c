//! How processes of the VM behave.

use sockeye_world::Chance;

use super::random::MS;

/// How processes of the VM behave. What happens "how often" is of a thousand.
#[derive(Clone, Copy, Debug)]
pub struct ProcessPlan {
    /// The longest pause before an event, in nanoseconds.
    pub pause: u64,
    /// How often there is one.
    pub pauses: u64,
    /// How often a process dies before it handles an event.
    pub crashes: u64,
    /// How often a process makes a call that has nothing to do with the event.
    pub random_calls: u64,
    /// How often it closes a connection.
    pub closes: u64,
    /// How often the process of a new connection does not start.
    pub missing: u64,
    /// How often a connection gets another owner.
    pub moves: u64,
    /// How often a process publishes to a topic.
    pub publishes: u64,
    /// How often a reply is sent in pieces.
    pub streams: u64,
    /// The most events that a process takes at once.
    pub batch: usize,
}

pub(super) fn draw(chance: &mut Chance, fair: bool) -> ProcessPlan {
    let mut rare = |most: u64, one_in: u64| match chance.is(1, one_in) {
        true => chance.below(most) + 1,
        false => 0,
    };
    let (crashes, closes, missing) = (rare(60, 3), rare(60, 3), rare(300, 3));
    let (random_calls, moves, publishes) = (rare(200, 2), rare(100, 2), rare(300, 2));
    let unless_fair = |n| if fair { 0 } else { n };
    ProcessPlan {
        pause: if fair {
            5 * MS
        } else {
            chance.pick(&[MS, 200 * MS, 9_000 * MS])
        },
        pauses: chance.pick(&[0, 50, 500]),
        crashes: unless_fair(crashes),
        closes: unless_fair(closes),
        missing: unless_fair(missing),
        random_calls,
        moves,
        publishes,
        streams: 0,
        batch: chance.pick(&[1, 3, 64]),
    }
}
