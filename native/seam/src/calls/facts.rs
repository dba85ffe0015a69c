//! What is known of the engine, a server and a connection, as maps.

use sockeye_engine::op::ConnStats;
use sockeye_engine::{Active, Engine, ServerStats};

use crate::atoms::Atom;
use crate::events::{PEER_PAIRS, peer_info, subprotocol};
use crate::write::Writer;

fn counts<W: Writer>(w: &mut W, pairs: &[(Atom, u64)]) -> W::Term {
    w.map(pairs.len() as u32);
    let written: Vec<_> = pairs
        .iter()
        .map(|(key, n)| (w.atom(*key), w.integer(*n)))
        .collect();
    w.end_map(&written)
}

/// Of the engine; `memory` is in bytes, `more` are pairs that only the host knows.
pub fn engine_map<W: Writer>(w: &mut W, engine: &Engine, more: &[(Atom, u64)]) -> W::Term {
    let servers = engine.all_servers();
    let open = servers.iter().map(|s| s.stats().connections as u64).sum();
    let mut pairs = vec![
        (Atom::shards, engine.shards() as u64),
        (Atom::servers, servers.len() as u64),
        (Atom::connections, open),
        (Atom::queued_calls, engine.queued_calls() as u64),
        (Atom::delayed_calls, engine.delayed_calls()),
    ];
    pairs.extend_from_slice(more);
    counts(w, &pairs)
}

/// Of a server.
pub fn server_map<W: Writer>(w: &mut W, stats: &ServerStats) -> W::Term {
    counts(
        w,
        &[
            (Atom::connections, stats.connections as u64),
            (Atom::accepted, stats.accepted),
            (Atom::rejected, stats.rejected),
            (Atom::frames_in, stats.frames_in),
            (Atom::frames_out, stats.frames_out),
            (Atom::bytes_in, stats.bytes_in),
            (Atom::bytes_out, stats.bytes_out),
            (Atom::dropped, stats.dropped),
            (Atom::busy, stats.busy),
            (Atom::failed, stats.failed),
            (Atom::requests, stats.requests),
            (Atom::proxied, stats.proxied),
            (Atom::proxy_errors, stats.proxy_errors),
            (Atom::bytes_saved, stats.saved),
            (Atom::unanswered, stats.unanswered),
            (Atom::no_process, stats.no_process),
            (Atom::no_descriptor, stats.no_descriptor),
            (Atom::accept_errors, stats.accept_errors),
            (Atom::accept_pauses, stats.accept_pauses),
        ],
    )
}

/// What became of a frame for many.
pub fn dropped<W: Writer>(w: &mut W, sent: u64, dropped: u64) -> W::Term {
    counts(w, &[(Atom::sent, sent), (Atom::dropped, dropped)])
}

/// Of a connection.
pub fn conn_map<W: Writer>(w: &mut W, stats: &ConnStats) -> W::Term {
    w.map(PEER_PAIRS + 9);
    let mut pairs = peer_info(w, &stats.peer_info).to_vec();
    pairs.extend([
        (w.atom(Atom::path), w.binary(stats.path.as_bytes())),
        (w.atom(Atom::query), w.binary(stats.query.as_bytes())),
        (
            w.atom(Atom::subprotocol),
            subprotocol(w, stats.subprotocol.as_deref()),
        ),
        (w.atom(Atom::age), w.integer(stats.age)),
        (w.atom(Atom::send_queue), w.integer(stats.queue as u64)),
        (w.atom(Atom::held), w.integer(stats.held as u64)),
        (w.atom(Atom::frames_in), w.integer(stats.frames_in)),
        (w.atom(Atom::active), {
            match stats.active {
                Active::True => w.atom(Atom::true_),
                Active::False => w.atom(Atom::false_),
                Active::Once => w.atom(Atom::once),
                Active::Count(n) => w.integer(n.into()),
            }
        }),
        (w.atom(Atom::deflate), w.boolean(stats.deflate)),
    ]);
    w.end_map(&pairs)
}
