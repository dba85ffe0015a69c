//! Smaller plans of the same seed, for the shrinker: without some clients, or without a kind of trouble.

use sockeye_world::net::Faults;

use super::Plan;
use super::port::PortPlan;

impl Plan {
    /// The same plan with these clients only, by their numbers.
    #[must_use]
    pub fn with_clients(mut self, numbers: &[usize]) -> Self {
        self.clients
            .retain(|client| numbers.contains(&client.number));
        self
    }

    /// The same plan without a kind of trouble.
    #[must_use]
    pub fn without(mut self, trouble: &str) -> Self {
        match trouble {
            "cuts" => self.net.cuts = 0,
            "stalls" => self.net.stalls = 0,
            "resets" => self.net.resets = 0,
            "silences" => self.net.silences = 0,
            "refusals" => (self.net.refusals, self.net.accept_errors) = (0, 0),
            "windows" => self.net.windows = self.net.window.max(1 << 20),
            "freezes" => self.freezes = 0,
            "preempts" => self.preempts = u64::MAX,
            "pauses" => self.processes.pauses = 0,
            "crashes" => self.processes.crashes = 0,
            "random_calls" => self.processes.random_calls = 0,
            "closes" => self.processes.closes = 0,
            "missing" => self.processes.missing = 0,
            "moves" => self.processes.moves = 0,
            "publishing" => self.processes.publishes = 0,
            "pieces" => self.processes.streams = 0,
            "rate" => self.server.rate = None,
            "engine_clients" => self.engine_clients.clear(),
            "link" => {
                self.port = self.port.map(|port| PortPlan {
                    link: Faults::default(),
                    ..port
                });
            }
            "deflate" => self.server.deflate = None,
            "http2" => {
                self.http2_conns.clear();
                self.clients
                    .iter_mut()
                    .for_each(|client| client.http2_conn = None);
            }
            "proxy" => {
                self.proxy = None;
                self.clients
                    .iter_mut()
                    .for_each(|client| client.via_proxy = false);
                self.http2_conns
                    .iter_mut()
                    .for_each(|http2_conn| http2_conn.via_proxy = false);
                self.requesters
                    .iter_mut()
                    .for_each(|requester| requester.via_proxy = false);
            }
            "parent" => self.parent = None,
            "requests" => self.requesters.clear(),
            "http2_trouble" => {
                let all = self.http2_conns.iter_mut();
                all.for_each(|http2_conn| http2_conn.trouble = None);
            }
            "asking" => self.server.asks = false,
            _ => {}
        }
        self
    }

    /// The kinds of trouble that [`Plan::without`] knows.
    pub const TROUBLES: [&'static str; 26] = [
        "cuts",
        "stalls",
        "resets",
        "silences",
        "refusals",
        "windows",
        "freezes",
        "preempts",
        "pauses",
        "crashes",
        "random_calls",
        "closes",
        "missing",
        "moves",
        "publishing",
        "rate",
        "asking",
        "engine_clients",
        "link",
        "deflate",
        "http2",
        "http2_trouble",
        "requests",
        "pieces",
        "proxy",
        "parent",
    ];
}
