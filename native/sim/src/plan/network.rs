//! How the network behaves.

use sockeye_world::Chance;
use sockeye_world::net::Faults;

use super::random::MS;

/// Where a connection holds fewer bytes than this, messages are small: large ones would take hours.
pub(super) const SMALL: usize = 8_000;

pub(super) fn draw(chance: &mut Chance, fair: bool) -> Faults {
    let mut rare = |most: u64| match fair || chance.is(2, 3) {
        true => 0,
        false => chance.below(most) + 1,
    };
    let (resets, silences, refusals, accept_errors) = (rare(20), rare(20), rare(100), rare(200));
    let window = chance.pick(&[64, 1000, 8_000, 64_000, 300_000]);
    let delay = chance.pick(&[10_000, MS, 30 * MS]);
    Faults {
        // Small windows and long delays together take hours, and show nothing more.
        delay: if window < SMALL { 10_000 } else { delay },
        cuts: chance.pick(&[0, 20, 300]),
        stalls: chance.pick(&[0, 0, 10]),
        stall: if fair {
            200 * MS
        } else {
            chance.pick(&[300 * MS, 20_000 * MS, 7_200_000 * MS])
        },
        resets,
        silences,
        window,
        windows: window * 4,
        refusals,
        accept_errors,
    }
}

/// The same network with room for a handshake of TLS, in which both sides write before they read.
pub(super) fn with_room(net: Faults) -> Faults {
    Faults {
        window: net.window.max(SMALL),
        windows: net.windows.max(SMALL),
        ..net
    }
}
