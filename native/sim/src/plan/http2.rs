//! Connections of HTTP/2: how each behaves, and what it does wrong.

use std::time::Duration;

use sockeye_world::Chance;

use super::random::{between, millis};

/// A connection of HTTP/2, on which each of its clients has a stream.
#[derive(Clone, Copy, Debug)]
pub struct Http2Plan {
    /// To the proxy.
    pub via_proxy: bool,
    pub start: Duration,
    /// The window of a stream: what the server may send before more is granted.
    pub window: u32,
    /// How often that changes, in a thousand frames that were read.
    pub resizes: u64,
    /// How often, of a thousand, something is done that is allowed and rare: padding, header blocks in two frames, pings.
    pub oddities: u64,
    /// At its end it sends GOAWAY and waits for the server to close; else it closes with its last stream.
    pub waits: bool,
    /// The longest pause between reads.
    pub slow: Option<Duration>,
    pub trouble: Option<(Duration, Trouble)>,
}

/// What a connection does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It sends GOAWAY, and goes on.
    GoAway,
    /// It resets all its streams.
    ResetAll,
    /// It opens so many streams, and resets each at once.
    Rapid(u32),
    /// It sends what the protocol forbids.
    Nonsense(u8),
    /// It closes its side for writing.
    Fin,
    Reset,
    /// It does nothing any more, and keeps its socket open.
    Vanish,
    /// It reads on, and grants no more window.
    Starve,
}

/// The connections, and which of them each client uses.
pub(super) fn draw(
    chance: &mut Chance,
    fair: bool,
    clients: usize,
) -> (Vec<Http2Plan>, Vec<Option<usize>>) {
    if !chance.is(1, 3) {
        return (Vec::new(), vec![None; clients]);
    }
    let count = between(chance, 1, 2);
    let http2_conns: Vec<_> = (0..count).map(|_| draw_one(chance, fair)).collect();
    let taken = (0..clients).map(|_| {
        let one = chance.below(count) as usize;
        chance.is(3, 4).then_some(one)
    });
    let taken = taken.collect();
    (http2_conns, taken)
}

/// Makes some of them read slowly, but little where windows are small: that takes long as it is.
pub(super) fn slow_down(chance: &mut Chance, window: usize, http2_conns: &mut [Http2Plan]) {
    for http2_conn in http2_conns {
        let is_small = window < 8_000 || http2_conn.window < 5_000;
        let most = if is_small { 20 } else { 3000 };
        http2_conn.slow = chance.is(1, 3).then(|| millis(chance, 1, most));
    }
}

fn draw_one(chance: &mut Chance, fair: bool) -> Http2Plan {
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
    Http2Plan {
        via_proxy: false,
        start: millis(chance, 0, 1500),
        window: chance.pick(&[400, 5_000, 65_535, 1 << 20]),
        resizes: chance.pick(&[0, 0, 30]),
        oddities: chance.pick(&[0, 30, 200]),
        waits: chance.is(1, 2),
        slow: None,
        trouble: (!fair && chance.is(1, 2)).then_some((at, trouble)),
    }
}
