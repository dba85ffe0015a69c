//! Settings of the server under test.

use std::time::Duration;

use sockeye_simulated_engine::Active;
use sockeye_world::Chance;

use super::random::{between, millis};

/// Named as in `ServerConfig` of the engine, but for those that say more.
#[derive(Clone, Copy, Debug)]
pub struct ServerPlan {
    pub inbox_size: usize,
    pub send_queue_size: u32,
    pub active: Active,
    pub close_timeout: Duration,
    pub send_timeout: Duration,
    pub idle_timeout: Duration,
    pub ping_interval: Duration,
    pub pong_timeout: Duration,
    pub max_age: Duration,
    pub max_connections: usize,
    /// The most connections of one address.
    pub per_address: usize,
    pub control_frames: bool,
    /// A process is asked whether a WebSocket may open.
    pub asks: bool,
    /// Subscribers that are too slow are closed.
    pub close_slow: bool,
    /// Messages in a second, in a burst, and whether who sends more is closed.
    pub rate: Option<(u32, u32, bool)>,
    pub deflate: Option<DeflatePlan>,
    pub max_message: usize,
}

/// Parameters of permessage-deflate.
#[derive(Clone, Copy, Debug)]
pub struct DeflatePlan {
    pub server_takeover: bool,
    pub client_takeover: bool,
    pub server_bits: u8,
    pub client_bits: u8,
    pub threshold: usize,
}

/// Compression, if the server offers it.
pub(super) fn draw_deflate(chance: &mut Chance) -> Option<DeflatePlan> {
    let wanted = chance.is(1, 3);
    let plan = DeflatePlan {
        server_takeover: chance.is(1, 2),
        client_takeover: chance.is(1, 2),
        server_bits: chance.pick(&[9, 12, 15]),
        client_bits: chance.pick(&[9, 12, 15]),
        threshold: chance.pick(&[0, 64, 1000]),
    };
    wanted.then_some(plan)
}

pub(super) fn draw(chance: &mut Chance, fair: bool) -> ServerPlan {
    let secs = |chance: &mut Chance, low: u64, high: u64| match fair {
        true => Duration::from_secs(100_000),
        false => millis(chance, low * 1000, high * 1000),
    };
    ServerPlan {
        inbox_size: chance.pick(&[200, 3_000, 40_000, 1 << 20]),
        send_queue_size: chance.pick(&[100, 3_000, 60_000, 1 << 20]),
        active: chance.pick(&[
            Active::True,
            Active::True,
            Active::Once,
            Active::Count(1),
            Active::Count(3),
            Active::Count(20),
        ]),
        close_timeout: Duration::from_secs(if fair { 5000 } else { chance.pick(&[1, 5, 30]) }),
        send_timeout: secs(chance, 2, 60),
        idle_timeout: secs(chance, 5, 100),
        ping_interval: if fair {
            millis(chance, 300, 30_000)
        } else {
            millis(chance, 500, 40_000)
        },
        pong_timeout: secs(chance, 1, 30),
        max_age: match fair || chance.is(3, 4) {
            true => Duration::MAX,
            false => millis(chance, 500, 60_000),
        },
        max_connections: match fair || chance.is(3, 4) {
            true => usize::MAX,
            false => between(chance, 1, 5) as usize,
        },
        per_address: match fair || chance.is(3, 4) {
            true => usize::MAX,
            false => between(chance, 1, 3) as usize,
        },
        control_frames: chance.is(1, 3),
        asks: chance.is(1, 4),
        close_slow: !fair && chance.is(1, 3),
        rate: match chance.below(4) {
            0 if !fair => Some((
                between(chance, 1, 100) as u32,
                between(chance, 1, 20) as u32,
                true,
            )),
            1 => Some((
                between(chance, 5, 200) as u32,
                between(chance, 1, 20) as u32,
                false,
            )),
            _ => None,
        },
        deflate: None,
        max_message: if fair {
            1 << 20
        } else {
            chance.pick(&[1000, 70_000, 1 << 20])
        },
    }
}
