//! Whether the engine is a process of its own, what its link is like, and how that ends.

use sockeye_world::Chance;
use sockeye_world::net::Faults;

use crate::plan::MS;

/// The link to an engine in a process of its own, and how it ends.
#[derive(Clone, Copy, Debug)]
pub struct PortPlan {
    pub link: Faults,
    /// The owner of connections is the process of a name.
    pub is_named: bool,
    /// Events of a connection that stand together are one message.
    pub batch: bool,
    /// Texts of clients are JSON.
    pub json: bool,
    /// Some replies are.
    pub json_replies: bool,
    pub end: PortEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortEnd {
    /// As where the engine is a library.
    AsPlanned,
    /// The process that has started the server dies.
    HostDies,
    /// The VM is gone, or only its end of the link.
    Lost { reset: bool },
}

pub(crate) fn draw(chance: &mut Chance, fair: bool) -> Option<PortPlan> {
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
