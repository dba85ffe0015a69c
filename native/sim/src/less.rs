//! A world with less in it: whether a failure needs what is left out.

use sockeye_world::net::Faults;

use crate::plan::Plan;
use crate::port::plan::PortPlan;

impl Plan {
    /// The same world with these clients only, by their numbers.
    #[must_use]
    pub fn with_clients(mut self, numbers: &[usize]) -> Self {
        self.clients
            .retain(|client| numbers.contains(&client.number));
        self
    }

    /// The same world without a kind of trouble.
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
            "meddling" => self.processes.meddles = 0,
            "closes" => self.processes.closes = 0,
            "missing" => self.processes.missing = 0,
            "moves" => self.processes.moves = 0,
            "publishing" => self.processes.publishes = 0,
            "pieces" => self.processes.streams = 0,
            "rate" => self.server.rate = None,
            "dials" => self.dials.clear(),
            "link" => {
                self.port = self.port.map(|port| PortPlan {
                    link: Faults::default(),
                    ..port
                });
            }
            "deflate" => self.server.deflate = None,
            "http2" => {
                self.carriers.clear();
                self.clients
                    .iter_mut()
                    .for_each(|client| client.carrier = None);
            }
            "front" => {
                self.front = None;
                self.clients
                    .iter_mut()
                    .for_each(|client| client.behind = false);
                self.carriers
                    .iter_mut()
                    .for_each(|carrier| carrier.behind = false);
                self.askers
                    .iter_mut()
                    .for_each(|asker| asker.behind = false);
            }
            "outer" => self.outer = None,
            "requests" => self.askers.clear(),
            "http2_trouble" => {
                let all = self.carriers.iter_mut();
                all.for_each(|carrier| carrier.trouble = None);
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
        "meddling",
        "closes",
        "missing",
        "moves",
        "publishing",
        "rate",
        "asking",
        "dials",
        "link",
        "deflate",
        "http2",
        "http2_trouble",
        "requests",
        "pieces",
        "front",
        "outer",
    ];
}
