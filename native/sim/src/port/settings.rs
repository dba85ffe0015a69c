//! What `listen` is given.

use std::time::Duration;

use sockeye_simulated_engine::{Active, Mode};

use super::terms::SERVER;
use crate::http;
use crate::options::config;
use crate::plan::Plan;
use crate::terms::{Term, atom, binary, int, list, process, tagged, tuple};

/// Settings of the server.
pub(super) fn settings(plan: &Plan, owner: Option<u32>, is_named: bool, batch: bool) -> Term {
    let server = &plan.server;
    let ms = |time: Duration| match time {
        Duration::MAX => atom("infinity"),
        time => int(time.as_millis() as i64),
    };
    let bound = |n: usize| match n {
        usize::MAX => atom("infinity"),
        n => int(n as i64),
    };
    let map = |pairs: &[(&str, Term)]| {
        let pairs = pairs.iter().map(|(key, value)| (atom(key), value.clone()));
        Term::Map(pairs.collect())
    };
    let boolean = |is: bool| atom(if is { "true" } else { "false" });
    let mode = match (plan.mode, owner) {
        (Mode::Workers(count), _) => tagged("workers", int(count as i64)),
        (Mode::PerConnection, _) => atom("per_connection"),
        (Mode::Owner, owner) => {
            let owner = match is_named {
                true => atom("the_owner"),
                false => process(owner.unwrap_or_default()),
            };
            tuple(vec![atom("owner"), owner, boolean(batch)])
        }
    };
    let patience = int(if plan.fair { 1_000_000 } else { 10_000 });
    let none = || atom("infinity");
    let rate = server.rate.map_or_else(none, |(rate, burst, close)| {
        let action = atom(if close { "close" } else { "pause" });
        let (rate, burst) = (int(rate.into()), int(burst.into()));
        map(&[("rate", rate), ("burst", burst), ("action", action)])
    });
    let connection_rate = match server.per_address {
        usize::MAX => atom("infinity"),
        _ => map(&[("rate", int(2)), ("burst", int(2))]),
    };
    let deflate = server.deflate.map_or(atom("false"), |plan| {
        map(&[
            ("server_context_takeover", boolean(plan.server_takeover)),
            ("client_context_takeover", boolean(plan.client_takeover)),
            ("server_max_window_bits", int(plan.server_bits.into())),
            ("client_max_window_bits", int(plan.client_bits.into())),
            ("level", int(2)),
            ("mem_level", int(5)),
            ("threshold", int(plan.threshold as i64)),
        ])
    });
    let http2 = atom(match plan.carriers.is_empty() {
        true => "false",
        false => "cleartext",
    });
    let is_json = plan.port.is_some_and(|port| port.json);
    let format = atom(if is_json { "json" } else { "raw" });
    let routes = match plan.askers.is_empty() {
        true => list(Vec::new()),
        false => routes(),
    };
    config(
        SERVER,
        &[
            ("mode", mode),
            ("max_message_size", int(server.max_message as i64)),
            (
                "active",
                match server.active {
                    Active::True => atom("true"),
                    Active::False => atom("false"),
                    Active::Once => atom("once"),
                    Active::Count(n) => int(n.into()),
                },
            ),
            ("inbox_size", int(server.inbox_size as i64)),
            ("send_queue_size", int(server.send_queue_size.into())),
            ("message_rate", rate),
            ("control_frames", boolean(server.control_frames)),
            ("max_connections", bound(server.max_connections)),
            ("max_connections_per_address", bound(server.per_address)),
            ("connection_rate", connection_rate),
            (
                "slow_subscriber",
                atom(if server.close_slow { "close" } else { "drop" }),
            ),
            ("asks", boolean(server.asks)),
            ("send_timeout", ms(server.send_timeout)),
            ("close_timeout", ms(server.close_timeout)),
            ("idle_timeout", ms(server.idle_timeout)),
            ("ping_interval", ms(server.ping_interval)),
            ("pong_timeout", ms(server.pong_timeout)),
            ("max_age", ms(server.max_age)),
            ("handshake_timeout", patience.clone()),
            ("accept_timeout", patience),
            ("deflate", deflate),
            ("http2", http2),
            ("format", format),
            ("routes", routes),
            ("max_body_size", int(1 << 20)),
            ("max_bodies_size", int(64 << 20)),
        ],
    )
}

/// What is answered to ordinary requests.
fn routes() -> Term {
    let file = || vec![atom("file"), binary(http::file()), Term::Map(Vec::new())];
    list(vec![
        tuple(vec![binary("/text"), tagged("text", binary(http::text()))]),
        tuple(vec![binary("/file"), tuple(file())]),
        tuple(vec![binary("/ask/*"), atom("ask")]),
    ])
}
