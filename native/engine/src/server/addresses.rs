//! Limits of one client address: its connections, and the rate at which it opens them.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use sockeye_protocol::handshake::Refusal;

use crate::model::lock::lock;
use crate::model::refused::{Refused, RefusedFor};
use crate::settings::rates::ConnectionRate;
use crate::world::collections::HashMap;
use crate::world::sync::Mutex;
use crate::world::time::Instant;

/// Addresses without a connection that are remembered for their rate. An attacker with more of
/// them is not held up by a limit for each.
const REMEMBERED: usize = 65_536;

/// Addresses from which on the table is looked through now and then.
const FEW: usize = 1024;

/// How often at most the table is looked through.
const PAUSE: Duration = Duration::from_secs(1);

/// Why an address gets no further connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AddressLimit {
    /// It has as many as it may have.
    Connections,
    /// It opened too many lately: the time until it may open one.
    Rate(Duration),
}

impl AddressLimit {
    pub(crate) fn refusal(&self) -> Refused {
        let (reason, text, wait) = match self {
            AddressLimit::Connections => (
                RefusedFor::PerAddress,
                "Too many connections from this address.\n",
                1,
            ),
            AddressLimit::Rate(wait) => (
                RefusedFor::Rate,
                "Too many new connections from this address.\n",
                wait.as_secs_f64().ceil().max(1.0) as u64,
            ),
        };
        let refusal = Refusal::new(429, text).with_header("Retry-After", &wait.to_string());
        reason.with(refusal)
    }
}

/// What is known of the addresses of a server's clients.
pub(crate) struct Addresses {
    most: usize,
    rate: Option<ConnectionRate>,
    table: Mutex<AddressTable>,
}

struct AddressTable {
    known: HashMap<IpAddr, AddressEntry>,
    /// Looked through when it has so many.
    look_at: usize,
    looked: Instant,
}

struct AddressEntry {
    open: usize,
    tokens: f64,
    at: Instant,
}

impl AddressEntry {
    fn refill(&mut self, rate: ConnectionRate, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let tokens = self.tokens + passed * f64::from(rate.per_second);
        self.tokens = tokens.min(rate.burst.into());
        self.at = now;
    }
}

/// What counts as one address: who has an IPv6 address mostly has all of its /64.
fn key(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.into(),
            None => {
                let [a, b, c, d, ..] = v6.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
        },
        v4 => v4,
    }
}

impl Addresses {
    /// None if nothing is limited.
    pub(crate) fn new(most: usize, rate: Option<ConnectionRate>) -> Option<Self> {
        (most != usize::MAX || rate.is_some()).then(|| Addresses {
            most,
            rate,
            table: Mutex::new(AddressTable {
                known: HashMap::default(),
                look_at: FEW,
                looked: Instant::now(),
            }),
        })
    }

    fn entry<'t>(
        &self,
        table: &'t mut AddressTable,
        ip: IpAddr,
        now: Instant,
    ) -> &'t mut AddressEntry {
        table.known.entry(key(ip)).or_insert_with(|| AddressEntry {
            open: 0,
            tokens: self.rate.map_or(0, |rate| rate.burst).into(),
            at: now,
        })
    }

    /// Counts a connection of this address, or says why there is none.
    pub(crate) fn enter(&self, ip: IpAddr, now: Instant) -> Result<(), AddressLimit> {
        let mut table = lock(&self.table);
        self.forget_some(&mut table, now);
        let known = self.entry(&mut table, ip, now);
        if known.open >= self.most {
            return Err(AddressLimit::Connections);
        }
        if let Some(rate) = self.rate {
            known.refill(rate, now);
            if known.tokens < 1.0 {
                let missing = (1.0 - known.tokens) / f64::from(rate.per_second.max(1));
                let missing = Duration::try_from_secs_f64(missing);
                return Err(AddressLimit::Rate(missing.unwrap_or(Duration::MAX)));
            }
            known.tokens -= 1.0;
        }
        known.open += 1;
        Ok(())
    }

    /// Counts a connection that is there already.
    pub(crate) fn add(&self, ip: IpAddr, now: Instant) {
        let mut table = lock(&self.table);
        self.entry(&mut table, ip, now).open += 1;
    }

    /// A connection of this address that was counted is gone.
    pub(crate) fn leave(&self, ip: IpAddr) {
        let mut table = lock(&self.table);
        let is_full = table.known.len() > REMEMBERED;
        if let Some(known) = table.known.get_mut(&key(ip)) {
            known.open = known.open.saturating_sub(1);
            if known.open == 0 && (self.rate.is_none() || is_full) {
                table.known.remove(&key(ip));
            }
        }
    }

    /// Takes out who has no connection and a full bucket, now and then.
    fn forget_some(&self, table: &mut AddressTable, now: Instant) {
        let due = now.saturating_duration_since(table.looked) >= PAUSE;
        if table.known.len() < table.look_at || !due {
            return;
        }
        table.looked = now;
        table.known.retain(|_, known| {
            let Some(rate) = self.rate else {
                return known.open > 0;
            };
            known.refill(rate, now);
            known.open > 0 || known.tokens < rate.burst.into()
        });
        table.look_at = FEW.max(2 * table.known.len()).min(REMEMBERED);
        if table.known.capacity() > 4 * table.known.len().max(FEW) {
            table.known.shrink_to_fit();
        }
    }

    #[cfg(any(test, sim))]
    pub(crate) fn len(&self) -> usize {
        lock(&self.table).known.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    fn rate(per_second: u32, burst: u32) -> Option<ConnectionRate> {
        Some(ConnectionRate { per_second, burst })
    }

    #[test]
    fn so_many_of_an_address_and_no_more() {
        assert!(Addresses::new(usize::MAX, None).is_none());
        let addresses = Addresses::new(3, None).unwrap();
        let now = Instant::now();
        for _ in 0..3 {
            assert_eq!(addresses.enter(v4(1), now), Ok(()));
        }
        assert_eq!(addresses.enter(v4(1), now), Err(AddressLimit::Connections));
        assert_eq!(addresses.enter(v4(2), now), Ok(()));
        addresses.leave(v4(1));
        assert_eq!(addresses.enter(v4(1), now), Ok(()));
        assert_eq!(addresses.enter(v4(1), now), Err(AddressLimit::Connections));
        for _ in 0..3 {
            addresses.leave(v4(1));
        }
        addresses.leave(v4(2));
        assert_eq!(addresses.len(), 0, "nobody is remembered for nothing");
    }

    #[test]
    fn a_burst_and_then_by_the_clock() {
        let addresses = Addresses::new(usize::MAX, rate(2, 3)).unwrap();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        for _ in 0..3 {
            assert_eq!(addresses.enter(v4(1), at(0)), Ok(()));
        }
        let half = Duration::from_millis(500);
        assert_eq!(addresses.enter(v4(1), at(0)), Err(AddressLimit::Rate(half)));
        assert_eq!(addresses.enter(v4(2), at(0)), Ok(()));
        assert!(matches!(
            addresses.enter(v4(1), at(499)),
            Err(AddressLimit::Rate(_))
        ));
        assert_eq!(addresses.enter(v4(1), at(500)), Ok(()));
        assert!(matches!(
            addresses.enter(v4(1), at(501)),
            Err(AddressLimit::Rate(_))
        ));
        // However long it waits, a bucket holds no more than a burst.
        for _ in 0..3 {
            assert_eq!(addresses.enter(v4(1), at(60_000)), Ok(()));
        }
        assert!(matches!(
            addresses.enter(v4(1), at(60_000)),
            Err(AddressLimit::Rate(_))
        ));
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let addresses = Addresses::new(1, None).unwrap();
        let now = Instant::now();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(addresses.enter(ip("2001:db8::1"), now), Ok(()));
        assert_eq!(
            addresses.enter(ip("2001:db8::2:3"), now),
            Err(AddressLimit::Connections)
        );
        assert_eq!(addresses.enter(ip("2001:db8:0:1::1"), now), Ok(()));
        assert_eq!(addresses.enter(ip("::ffff:1.2.3.4"), now), Ok(()));
        assert_eq!(
            addresses.enter(ip("1.2.3.4"), now),
            Err(AddressLimit::Connections)
        );
    }

    #[test]
    fn idle_addresses_are_forgotten() {
        let addresses = Addresses::new(usize::MAX, rate(1, 1)).unwrap();
        let start = Instant::now();
        for n in 0..2000 {
            assert_eq!(addresses.enter(v4(n), start), Ok(()));
            if n > 0 {
                addresses.leave(v4(n));
            }
        }
        assert_eq!(addresses.len(), 2000);
        assert_eq!(
            addresses.enter(v4(5000), start + Duration::from_secs(2)),
            Ok(())
        );
        // The one that has a connection, and the new one.
        assert_eq!(addresses.len(), 2);
    }

    #[test]
    #[cfg_attr(miri, ignore = "so many addresses take an hour there")]
    fn the_table_is_bounded() {
        let addresses = Addresses::new(usize::MAX, rate(1, 1)).unwrap();
        let now = Instant::now();
        for n in 0..(REMEMBERED as u32 + 1000) {
            assert_eq!(addresses.enter(v4(n), now), Ok(()));
            addresses.leave(v4(n));
        }
        assert_eq!(addresses.len(), REMEMBERED);
    }
}
