//! The engine as a process of its own: how its link behaves, and how it ends.

use sockeye_world::Chance;
use sockeye_world::net::Faults;

use super::random::MS;

/// What runs with such an engine have beside the others.
#[derive(Clone, Copy, Debug)]
pub struct PortPlan {
    pub link: Faults,
    /// The owner of connections is given as a registered name.
    pub is_named: bool,
    /// The owner gets events of one connection as one message where they stand together.
    pub batch: bool,
    /// Clients send JSON.
    pub json: bool,
    /// Some replies are JSON.
    pub json_replies: bool,
    pub end: PortEnd,
}

/// How the engine's process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortEnd {
    /// As [`super::EndPlan`] says.
    AsPlanned,
    /// The process that has started the server dies.
    HostDies,
    /// The VM is gone, or has closed its end of the link.
    Lost { reset: bool },
}

pub(super) fn draw(chance: &mut Chance, fair: bool) -> Option<PortPlan> {
    if !chance.is(2, 5) {
        return None;
    }
    let window = chance.pick(&[2_000, 20_000, 300_000]);
    let link = Faults {
        delay: chance.pick(&[10_000, 100_000, 5 * MS]),
        cuts: chance.pick(&[0, 20, 300]),
        stalls: chance.pick(&[0, 0, 10]),
        stall: match fair {
            true => 50 * MS,
            false => chance.pick(&[50 * MS, 3000 * MS, 3_600_000 * MS]),
        },
        window,
        windows: window * 2,
        ..Faults::default()
    };
    Some(PortPlan {
        link,
        is_named: chance.is(1, 2),
        batch: chance.is(1, 2),
        end: match chance.below(4) {
            0 => PortEnd::HostDies,
            1 => PortEnd::Lost {
                reset: chance.is(1, 2),
            },
            _ => PortEnd::AsPlanned,
        },
        json: chance.is(1, 3),
        json_replies: chance.is(1, 3),
    })
}
