//! What compression costs: nanoseconds a message and bytes on the wire, by size, level and window.
//!
//! `cargo run --release -p sockeye-protocol --example deflate`
//!
//! *shared*: contexts of the thread, each message on its own, as without context takeover. *kept*: a window of the
//! connection's own; the messages differ in their numbers only, as those of one connection tend to.

use std::hint::black_box;
use std::time::{Duration, Instant};

use sockeye_protocol::deflate::{Codecs, Params, Policy, accept};
use sockeye_protocol::{Kind, Limits, Payload, Role, Session, Sink};

const TIME: Duration = Duration::from_millis(60);
const ROUNDS: usize = 3;

struct Count(usize);

impl Sink for Count {
    fn message(&mut self, _kind: Kind, payload: Payload<'_>) {
        self.0 += payload.len();
    }
}

/// JSON with numbers that differ from message to message.
fn json(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state >> 33
    };
    let mut text = String::from("{\"items\":[");
    while text.len() < len {
        let (id, user, price) = (next() % 1_000_000, next() % 1000, next() % 50_000);
        text += &format!("{{\"id\":{id},\"name\":\"user{user}\",\"ok\":true,\"price\":{price}}},");
    }
    text.truncate(len);
    text.into_bytes()
}

fn agreed(takeover: bool) -> (Params, Policy) {
    let mut policy = Policy::default();
    (policy.server_takeover, policy.client_takeover) = (takeover, takeover);
    let params = accept([&b"permessage-deflate"[..]], &policy);
    match params {
        Some((params, _)) => (params, policy),
        None => std::process::exit(1),
    }
}

/// The shortest of some rounds: nanoseconds a call.
fn time(mut work: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let (start, mut calls) = (Instant::now(), 0);
        while start.elapsed() < TIME {
            for _ in 0..8 {
                work();
            }
            calls += 8;
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(calls));
    }
    best
}

fn main() {
    println!("size    level  window   compress ns  bytes    inflate ns");
    for size in [100, 250, 300, 1000, 10_000, 64_000] {
        let messages: Vec<_> = (0..16).map(|seed| json(size, seed)).collect();
        for level in [1, 2, 3, 6, 9] {
            for takeover in [false, true] {
                let (params, policy) = agreed(takeover);
                let mut tuning = policy.tuning;
                tuning.level = level;
                let mut codecs = Codecs::default();
                let mut server = Session::with_deflate(Role::Server, Some(params));
                let mut wires = Vec::new();
                for message in messages.iter().cycle().take(64) {
                    let mut wire = Vec::new();
                    server.encode(Kind::Text, message, &tuning, &mut codecs, &mut wire);
                    wires.push(wire);
                }
                let bytes = wires.iter().map(Vec::len).sum::<usize>() / wires.len();
                let (mut out, mut turn) = (Vec::new(), messages.iter().cycle());
                let compress = time(|| {
                    out.clear();
                    if let Some(message) = turn.next() {
                        server.encode(Kind::Text, message, &tuning, &mut codecs, &mut out);
                    }
                    black_box(&out);
                });
                let limits = Limits::default();
                let mut count = Count(0);
                let mut client = Session::with_deflate(Role::Client, Some(params));
                let (mut left, mut answers) = (wires.iter(), Vec::new());
                let inflate = time(|| {
                    let Some(wire) = left.next() else {
                        // From the beginning, as the window demands.
                        client = Session::with_deflate(Role::Client, Some(params));
                        left = wires.iter();
                        return;
                    };
                    let mut input = wire.clone();
                    client.receive_with(&mut input, &limits, &mut codecs, &mut answers, &mut count);
                });
                let window = if takeover { "kept" } else { "shared" };
                println!(
                    "{size:<7} {level:<6} {window:<8} {compress:<12.0} {bytes:<8} {inflate:<8.0}"
                );
            }
        }
    }
}
