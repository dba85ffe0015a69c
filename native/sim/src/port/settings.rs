//! What `listen` is given.

use std::net::IpAddr;
use std::time::Duration;

use sockeye_simulated_engine::{Active, Mode};

use super::terms::{FRONT, SERVER};
use crate::front;
use crate::front::FrontPlan;
use crate::http;
use crate::options::config;
use crate::plan::Plan;
use crate::terms::{Term, atom, binary, int, list, process, tagged, tuple};

/// Settings of the server.
pub(super) fn settings(plan: &Plan, owner: Option<u32>, is_named: bool, batch: bool) -> Term {
    let server = &plan.server;
    let bound = |n: usize| match n {
        usize::MAX => atom("infinity"),
        n => int(n as i64),
    };
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
    let http2 = cleartext(!plan.carriers.is_empty() && plan.tls.is_none());
    let tls = plan.tls.map_or(atom("undefined"), |_| {
        let pem = || binary(crate::tls::PEM);
        map(&[
            ("versions", versions()),
            ("sni", list(Vec::new())),
            ("identity", tuple(vec![pem(), pem()])),
            ("cacertfile", atom("undefined")),
            ("verify", atom("none")),
            ("http2", boolean(!plan.carriers.is_empty())),
        ])
    });
    let trusted = plan
        .front
        .map(|_| tuple(vec![inet(front::ADDRESS), int(32)]));
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
            ("tls", tls),
            ("trusted_proxies", list(trusted.into_iter().collect())),
            ("format", format),
            ("routes", routes),
            ("max_body_size", int(1 << 20)),
            ("max_bodies_size", int(64 << 20)),
        ],
    )
}

fn ms(time: Duration) -> Term {
    match time {
        Duration::MAX => atom("infinity"),
        time => int(time.as_millis() as i64),
    }
}

fn map(pairs: &[(&str, Term)]) -> Term {
    let pairs = pairs.iter().map(|(key, value)| (atom(key), value.clone()));
    Term::Map(pairs.collect())
}

fn boolean(is: bool) -> Term {
    atom(if is { "true" } else { "false" })
}

/// Whether HTTP/2 is spoken without TLS.
fn cleartext(is: bool) -> Term {
    atom(if is { "cleartext" } else { "false" })
}

/// Of TLS.
pub(super) fn versions() -> Term {
    list(vec![atom("tlsv1.2"), atom("tlsv1.3")])
}

fn inet(ip: IpAddr) -> Term {
    match ip {
        IpAddr::V4(ip) => tuple(ip.octets().map(|n| int(n.into())).to_vec()),
        IpAddr::V6(ip) => tuple(ip.segments().map(|n| int(n.into())).to_vec()),
    }
}

/// Settings of the server before it, which passes on what comes to the one at this port.
pub(super) fn of_front(plan: &Plan, front: &FrontPlan, behind: u16) -> Term {
    let upstream = map(&[
        ("to", tagged("inet", binary(format!("127.0.0.1:{behind}")))),
        ("connect_timeout", ms(front.patience)),
        ("timeout", ms(front.patience)),
        ("idle_timeout", ms(front.patience)),
        ("keepalive", ms(front.keepalive)),
        ("pool_size", int(front.pool_size as i64)),
        ("max_requests", atom("infinity")),
        ("max_body_size", atom("infinity")),
    ]);
    let route = tuple(vec![binary("/"), tagged("proxy", upstream)]);
    let (handshake, send) = match plan.fair {
        true => (1_000_000, 100_000_000),
        false => (10_000, 30_000),
    };
    config(
        FRONT,
        &[
            ("routes", list(vec![route])),
            ("paths", list(vec![binary("/own")])),
            ("http2", cleartext(!plan.carriers.is_empty())),
            ("close_timeout", ms(plan.server.close_timeout)),
            ("handshake_timeout", int(handshake)),
            ("send_timeout", int(send)),
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
