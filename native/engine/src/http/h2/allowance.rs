//! How many errors a client may make on a connection: many at once, and some every second for
//! ever. Beyond that it makes us work for nothing.

use crate::admission::forwarded;
use crate::net::peer::PeerInfo;
use crate::server::Server;
use crate::world::time::Instant;

/// What a client may do that is nothing but work for us. Beyond it the client is cut off, with all
/// its streams.
pub(super) struct AbuseLimits {
    /// Streams that it has reset before they were looked at.
    pub(super) resets: usize,
    /// Streams that we end for an error of its own, or refuse since there are too many.
    pub(super) errors: u32,
    /// How many of those are forgotten each second.
    pub(super) forgotten: u32,
}

impl AbuseLimits {
    /// A proxy answers for many clients: one of them must not end the connections of the others.
    pub(super) fn with(server: &Server, peer_info: &PeerInfo) -> Self {
        match forwarded::is_trusted(server, peer_info) {
            true => AbuseLimits {
                resets: 2_000,
                errors: 10_000,
                forgotten: 1_000,
            },
            // As many as clients open at once that do not know our settings yet.
            false => AbuseLimits {
                resets: 20,
                errors: 100,
                forgotten: 1,
            },
        }
    }
}

/// An allowance that grows again.
#[derive(Debug)]
pub(super) struct Allowance {
    left: u32,
    most: u32,
    /// How many come back each second.
    rate: u32,
    /// Until when those that came back are counted.
    since: Instant,
}

impl Allowance {
    pub(super) fn new(most: u32, rate: u32) -> Self {
        Allowance {
            left: most,
            most,
            rate,
            since: Instant::now(),
        }
    }

    /// Counts an error. False if that is one too many.
    pub(super) fn spend(&mut self, now: Instant) -> bool {
        let seconds = now.saturating_duration_since(self.since).as_secs();
        if seconds > 0 {
            let back = seconds.saturating_mul(self.rate.into());
            let back = u32::try_from(back).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(back).min(self.most);
            self.since = now;
        }
        let (left, allowed) = match self.left.checked_sub(1) {
            Some(left) => (left, true),
            None => (0, false),
        };
        self.left = left;
        allowed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_comes_back_and_never_grows_beyond_what_it_was() {
        let mut allowance = Allowance::new(3, 2);
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let spend = |allowance: &mut Allowance, millis, count| {
            (0..count)
                .filter(|_| allowance.spend(after(millis)))
                .count()
        };
        assert_eq!(spend(&mut allowance, 0, 5), 3);
        assert_eq!(spend(&mut allowance, 900, 1), 0);
        assert_eq!(spend(&mut allowance, 1100, 5), 2);
        assert_eq!(spend(&mut allowance, 60_000, 5), 3);
        // A clock that stands still gives nothing.
        assert_eq!(spend(&mut allowance, 60_000, 5), 0);
        assert_eq!(spend(&mut allowance, u64::MAX / 1_000_000, 5), 3);
    }
}
