//! What `listen` is given. The simulation has this file, too.

use sockeye_seam::value::Value;

use crate::terms::{Term, atom, int, list, tagged, tuple};

/// The map of a server with one handler, on a free port of 127.0.0.1, with these options instead of the usual ones.
pub fn config(number: i64, options: &[(&str, Term)]) -> Term {
    let no = || atom("false");
    let never = || atom("infinity");
    let mut pairs = vec![
        ("id", int(number)),
        ("ip", tuple([127, 0, 0, 1].map(int).to_vec())),
        ("port", int(0)),
        ("mode", tagged("workers", int(1))),
        ("max_message_size", int(64 << 20)),
        ("max_frame_size", int(64 << 20)),
        ("max_fragments", int(1024)),
        ("null", atom("null")),
        ("reuseport", no()),
        ("http2", no()),
        ("proxy_protocol", no()),
        ("trusted_proxies", list(vec![])),
        ("backlog", int(128)),
        ("active", atom("true")),
        ("inbox_size", int(1 << 20)),
        ("send_queue_size", int(64 << 20)),
        ("message_rate", never()),
        ("control_frames", no()),
        ("max_connections", never()),
        ("max_descriptor", never()),
        ("max_connections_per_address", never()),
        ("connection_rate", never()),
        ("subprotocols", list(vec![])),
        ("max_header_size", int(16384)),
        ("max_headers", int(100)),
        ("origins", atom("any")),
        ("paths", atom("any")),
        ("routes", list(vec![])),
        ("nested", atom("none")),
        ("max_body_size", int(1 << 20)),
        ("max_bodies_size", int(64 << 20)),
        ("max_subscriptions", int(1024)),
        ("slow_subscriber", atom("drop")),
        ("asks", no()),
        ("deflate", no()),
        ("objects", atom("map")),
        ("max_depth", int(128)),
        ("keys", atom("binary")),
        ("format", atom("raw")),
        ("on_invalid_json", atom("close")),
        ("tls", atom("undefined")),
    ];
    for time in [
        "send_timeout",
        "handshake_timeout",
        "close_timeout",
        "idle_timeout",
        "ping_interval",
        "pong_timeout",
        "max_age",
        "accept_timeout",
    ] {
        pairs.push((time, int(20_000)));
    }
    for (key, value) in options {
        let pair = pairs.iter_mut().find(|(known, _)| known == key).unwrap();
        pair.1 = value.clone();
    }
    let pairs = pairs.into_iter().map(|(key, value)| (atom(key), value));
    Value::Map(pairs.collect())
}
