//! The settings of servers, as `listen` takes them.

use std::net::IpAddr;
use std::time::Duration;

use sockeye_simulated_engine::{Active, Mode};

use super::terms::{PARENT, PROXY, SERVER};
use crate::model::http_content;
use crate::options::config;
use crate::plan::proxy::ProxyPlan;
use crate::plan::{Plan, parent, proxy};
use crate::terms::{Term, atom, binary, int, list, process, tagged, tuple};
use crate::vm::tls::PEM;

/// Settings of the server under test.
pub(super) fn settings(plan: &Plan, owner: Option<u32>, is_named: bool, batch: bool) -> Term {
    let server = &plan.server;
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
    let none = || atom("infinity");
    let rate = server.rate.map_or_else(none, |(rate, burst, close)| {
        let action = atom(if close { "close" } else { "pause" });
        let (rate, burst) = (int(rate.into()), int(burst.into()));
        map(&[("rate", rate), ("burst", burst), ("action", action)])
    });
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
    let is_json = plan.port.is_some_and(|port| port.json);
    let format = atom(if is_json { "json" } else { "raw" });
    let (mut options, place) = match plan.parent {
        Some(_) => (limits(plan), ("ip", atom("none"))),
        None => (of_listener(plan), ("paths", atom("any"))),
    };
    options.extend([
        place,
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
        ("deflate", deflate),
        ("format", format),
    ]);
    config(SERVER, &options)
}

fn bound(n: usize) -> Term {
    match n {
        usize::MAX => atom("infinity"),
        n => int(n as i64),
    }
}

type Options = Vec<(&'static str, Term)>;

/// Limits of connections, and of the time that they take to open.
fn limits(plan: &Plan) -> Options {
    let timeout = int(if plan.fair { 1_000_000 } else { 10_000 });
    let connection_rate = match plan.server.per_address {
        usize::MAX => atom("infinity"),
        _ => map(&[("rate", int(2)), ("burst", int(2))]),
    };
    vec![
        (
            "max_connections_per_address",
            bound(plan.server.per_address),
        ),
        ("connection_rate", connection_rate),
        ("handshake_timeout", timeout.clone()),
        ("accept_timeout", timeout),
    ]
}

/// TLS, and HTTP/2 without it.
fn tls_and_http2(has_tls: bool, http2: bool) -> [(&'static str, Term); 2] {
    let pem = || binary(PEM);
    let tls = || {
        map(&[
            ("versions", versions()),
            ("sni", list(Vec::new())),
            ("identity", tuple(vec![pem(), pem()])),
            ("cacertfile", atom("undefined")),
            ("verify", atom("none")),
            ("http2", boolean(http2)),
        ])
    };
    let tls = if has_tls { tls() } else { atom("undefined") };
    [("http2", cleartext(http2 && !has_tls)), ("tls", tls)]
}

/// What belongs to the listening socket.
fn of_listener(plan: &Plan) -> Options {
    let trusted = plan
        .proxy
        .map(|_| tuple(vec![inet(proxy::ADDRESS), int(32)]));
    let routes = match plan.requesters.is_empty() {
        true => list(Vec::new()),
        false => routes(),
    };
    let mut options = limits(plan);
    options.extend(tls_and_http2(
        plan.tls.is_some(),
        !plan.http2_conns.is_empty(),
    ));
    options.extend([
        ("trusted_proxies", list(trusted.into_iter().collect())),
        ("routes", routes),
        ("max_body_size", int(1 << 20)),
        ("max_bodies_size", int(64 << 20)),
    ]);
    options
}

/// Settings of the parent.
pub(super) fn parent_settings(plan: &Plan) -> Term {
    let nested = tuple(vec![binary(parent::PATHS), int(SERVER)]);
    let mut options = of_listener(plan);
    options.extend([
        ("nested", nested),
        ("paths", list(vec![binary("/own")])),
        ("close_timeout", ms(plan.server.close_timeout)),
        ("send_timeout", ms(plan.server.send_timeout)),
    ]);
    config(PARENT, &options)
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

/// The option `http2`.
fn cleartext(is: bool) -> Term {
    atom(if is { "cleartext" } else { "false" })
}

/// Versions of TLS.
pub(super) fn versions() -> Term {
    list(vec![atom("tlsv1.2"), atom("tlsv1.3")])
}

fn inet(ip: IpAddr) -> Term {
    match ip {
        IpAddr::V4(ip) => tuple(ip.octets().map(|n| int(n.into())).to_vec()),
        IpAddr::V6(ip) => tuple(ip.segments().map(|n| int(n.into())).to_vec()),
    }
}

/// Settings of the proxy before the server at this port.
pub(super) fn proxy_settings(plan: &Plan, proxy: &ProxyPlan, behind: u16) -> Term {
    let upstream = map(&[
        ("to", tagged("inet", binary(format!("127.0.0.1:{behind}")))),
        ("connect_timeout", ms(proxy.timeout)),
        ("timeout", ms(proxy.timeout)),
        ("idle_timeout", ms(proxy.timeout)),
        ("keepalive", ms(proxy.keepalive)),
        ("pool_size", int(proxy.pool_size as i64)),
        ("max_requests", atom("infinity")),
        ("max_body_size", atom("infinity")),
    ]);
    let route = tuple(vec![binary("/"), tagged("proxy", upstream)]);
    let (handshake, send) = match plan.fair {
        true => (1_000_000, 100_000_000),
        false => (10_000, 30_000),
    };
    let mut options = vec![
        ("routes", list(vec![route])),
        ("paths", list(vec![binary("/own")])),
        ("close_timeout", ms(plan.server.close_timeout)),
        ("handshake_timeout", int(handshake)),
        ("send_timeout", int(send)),
    ];
    options.extend(tls_and_http2(
        proxy.tls.is_some(),
        !plan.http2_conns.is_empty(),
    ));
    config(PROXY, &options)
}

/// Routes of ordinary requests.
fn routes() -> Term {
    let file = || {
        vec![
            atom("file"),
            binary(http_content::file()),
            Term::Map(Vec::new()),
        ]
    };
    list(vec![
        tuple(vec![
            binary("/text"),
            tagged("text", binary(http_content::text())),
        ]),
        tuple(vec![binary("/file"), tuple(file())]),
        tuple(vec![binary("/ask/*"), atom("ask")]),
    ])
}
