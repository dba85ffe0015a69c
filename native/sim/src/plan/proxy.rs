//! A reverse proxy before the server under test: another server of the engine, which passes on requests and WebSockets.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use sockeye_world::Chance;

use super::client::{ClientPlan, ReadPace};
use super::http2::Http2Plan;
use super::requests::RequesterPlan;
use super::tls::{self, TlsPlan};

/// From where it connects to the server behind it.
pub(crate) const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

#[derive(Clone, Copy, Debug)]
pub struct ProxyPlan {
    /// Connections that it keeps for further requests, and for how long.
    pub pool_size: usize,
    pub keepalive: Duration,
    /// How long it waits for a response, and for more of it.
    pub timeout: Duration,
    /// It stops before the server behind it.
    pub stops_first: bool,
    /// Its clients speak TLS with it. To the server behind it there is none.
    pub tls: Option<TlsPlan>,
}

/// The proxy, if there is one.
pub(super) fn draw(chance: &mut Chance, fair: bool) -> Option<ProxyPlan> {
    let seconds = chance.pick(&[1, 5, 60]);
    let plan = ProxyPlan {
        pool_size: chance.pick(&[0, 1, 32]),
        keepalive: Duration::from_millis(chance.pick(&[50, 4000])),
        timeout: Duration::from_secs(if fair { 100_000 } else { seconds }),
        stops_first: chance.is(1, 2),
        tls: None,
    };
    chance.is(1, 4).then_some(plan)
}

/// Decides whether its clients speak TLS.
pub(super) fn secure(chance: &mut Chance, proxy: &mut ProxyPlan) {
    let tls = tls::draw(chance);
    proxy.tls = chance.is(1, 4).then_some(tls);
}

/// Decides which clients come to it.
pub(super) fn place(
    chance: &mut Chance,
    fair: bool,
    (clients, http2_conns, requesters): (&mut [ClientPlan], &mut [Http2Plan], &mut [RequesterPlan]),
) {
    for client in &mut *clients {
        client.via_proxy = chance.is(2, 3);
    }
    for http2_conn in &mut *http2_conns {
        http2_conn.via_proxy = chance.is(2, 3);
        if fair {
            // A server that has sent all waits for one second for its client to take it. The client is the proxy here.
            http2_conn.window = http2_conn.window.max(65_535);
            http2_conn.resizes = 0;
            http2_conn.slow = http2_conn.slow.filter(|_| !http2_conn.via_proxy);
        }
    }
    for client in clients {
        let passes = match client.http2_conn {
            Some(number) => http2_conns
                .get(number)
                .is_some_and(|http2_conn| http2_conn.via_proxy),
            None => client.via_proxy,
        };
        if fair && passes {
            client.reads = ReadPace::Always;
        }
    }
    for requester in requesters {
        requester.via_proxy = chance.is(2, 3);
    }
}
