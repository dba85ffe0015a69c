//! What a connection of HTTP/2 is to be like.

use std::time::Duration;

use sockeye_world::Chance;

use crate::drawn::{between, millis};

/// A connection of HTTP/2, over which clients have a stream each.
#[derive(Clone, Copy, Debug)]
pub struct CarrierPlan {
    /// To the server before the one that is looked at.
    pub behind: bool,
    pub start: Duration,
    /// What the server may send to a stream before more is granted.
    pub window: u32,
    /// How often that changes, in thousands of frames that were read.
    pub resizes: u64,
    /// Frames that have padding, heads that are cut, pings, and what else is allowed and odd, in thousands.
    pub oddities: u64,
    /// It says that it goes away, and waits for the end; else it is gone with its last stream.
    pub waits: bool,
    /// It reads slowly.
    pub slow: Option<Duration>,
    pub trouble: Option<(Duration, Trouble)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It says that it goes away, and goes on.
    GoAway,
    /// It resets all its streams.
    ResetAll,
    /// It opens streams and resets them, so many.
    Rapid(u32),
    /// What no server takes.
    Nonsense(u8),
    /// It writes no more.
    Fin,
    Reset,
    /// Nobody hears of it again, and it keeps its socket.
    Vanish,
    /// It grants nothing more, and reads on.
    Starve,
}

/// Connections of this world, and which of them each client takes.
pub(crate) fn draw(
    chance: &mut Chance,
    fair: bool,
    clients: usize,
) -> (Vec<CarrierPlan>, Vec<Option<usize>>) {
    if !chance.is(1, 3) {
        return (Vec::new(), vec![None; clients]);
    }
    let count = between(chance, 1, 2);
    let carriers: Vec<_> = (0..count).map(|_| carrier(chance, fair)).collect();
    let takes = (0..clients).map(|_| {
        let one = chance.below(count) as usize;
        chance.is(3, 4).then_some(one)
    });
    let takes = takes.collect();
    (carriers, takes)
}

/// Which of them read slowly. What is small takes long as it is.
pub(crate) fn slow_down(chance: &mut Chance, window: usize, carriers: &mut [CarrierPlan]) {
    for carrier in carriers {
        let is_small = window < 8_000 || carrier.window < 5_000;
        let most = if is_small { 20 } else { 3000 };
        carrier.slow = chance.is(1, 3).then(|| millis(chance, 1, most));
    }
}

fn carrier(chance: &mut Chance, fair: bool) -> CarrierPlan {
    let rapid = if chance.is(1, 4) { 300 } else { 30 };
    let trouble = match chance.below(8) {
        0 => Trouble::GoAway,
        1 => Trouble::ResetAll,
        2 => Trouble::Rapid(between(chance, 1, rapid) as u32),
        3 => Trouble::Nonsense(chance.below(8) as u8),
        4 => Trouble::Fin,
        5 => Trouble::Reset,
        6 => Trouble::Vanish,
        _ => Trouble::Starve,
    };
    let most = if chance.is(1, 2) { 2000 } else { 30_000 };
    let at = millis(chance, 0, most);
    CarrierPlan {
        behind: false,
        start: millis(chance, 0, 1500),
        window: chance.pick(&[400, 5_000, 65_535, 1 << 20]),
        resizes: chance.pick(&[0, 0, 30]),
        oddities: chance.pick(&[0, 30, 200]),
        waits: chance.is(1, 2),
        slow: None,
        trouble: (!fair && chance.is(1, 2)).then_some((at, trouble)),
    }
}
