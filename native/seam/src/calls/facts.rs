//! Information about the engine, a server and a connection, as maps.

use sockeye_engine::op::ConnStats;
use sockeye_engine::{Active, CLOSE_CODES, Engine, RefusedFor, ServerStats};

use crate::atoms::Atom;
use crate::events::{PEER_PAIRS, peer_info, subprotocol};
use crate::write::Writer;

fn counts<W: Writer>(w: &mut W, pairs: &[(Atom, u64)]) -> W::Term {
    w.map(pairs.len() as u32);
    let written = counted(w, pairs);
    w.end_map(&written)
}

fn counted<W: Writer>(w: &mut W, pairs: &[(Atom, u64)]) -> Vec<(W::Term, W::Term)> {
    let write = |(key, n): &(Atom, u64)| (w.atom(*key), w.integer(*n));
    pairs.iter().map(write).collect()
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
    let numbers = [
        (Atom::connections, stats.connections as u64),
        (Atom::accepted, stats.accepted),
        (Atom::rejected, stats.rejected()),
        (Atom::frames_in, stats.frames_in),
        (Atom::frames_out, stats.frames_out),
        (Atom::bytes_in, stats.bytes_in),
        (Atom::bytes_out, stats.bytes_out),
        (Atom::dropped, stats.dropped),
        (Atom::busy, stats.busy),
        (Atom::failed, stats.failed),
        (Atom::requests, stats.requests),
        (Atom::answering, stats.answering as u64),
        (Atom::proxied, stats.proxied),
        (Atom::proxy_errors, stats.proxy_errors),
        (Atom::bytes_saved, stats.saved),
        (Atom::unanswered, stats.unanswered),
        (Atom::no_process, stats.no_process),
        (Atom::no_descriptor, stats.no_descriptor),
        (Atom::accept_errors, stats.accept_errors),
        (Atom::accept_pauses, stats.accept_pauses),
        (Atom::unattached, stats.unattached as u64),
    ];
    w.map(numbers.len() as u32 + 3);
    let mut pairs = counted(w, &numbers);
    pairs.push((w.atom(Atom::closes), closes(w, stats)));
    pairs.push((w.atom(Atom::refused), refusals(w, stats)));
    let memory = [
        (Atom::send_queues, stats.queued_bytes),
        (Atom::inboxes, stats.inbox_bytes),
    ];
    pairs.push((w.atom(Atom::memory), counts(w, &memory)));
    w.end_map(&pairs)
}

/// A server has stopped: `{sockeye_stopped, Id, Map}`, with all that was counted of it.
pub fn stopped<W: Writer>(w: &mut W, id: u64, stats: &ServerStats) -> W::Term {
    w.tuple(3);
    let parts = [
        w.atom(Atom::sockeye_stopped),
        w.integer(id),
        server_map(w, stats),
    ];
    w.end_tuple(&parts)
}

/// Ends of connections, by code; all others are `other`.
fn closes<W: Writer>(w: &mut W, stats: &ServerStats) -> W::Term {
    w.map(stats.closes.len() as u32);
    let mut pairs = Vec::with_capacity(stats.closes.len());
    for (place, count) in stats.closes.iter().enumerate() {
        let code = match CLOSE_CODES.get(place) {
            Some(code) => w.integer((*code).into()),
            None => w.atom(Atom::other),
        };
        pairs.push((code, w.integer(*count)));
    }
    w.end_map(&pairs)
}

fn refusals<W: Writer>(w: &mut W, stats: &ServerStats) -> W::Term {
    let reasons = RefusedFor::ALL.iter().zip(stats.refused);
    let pairs: Vec<_> = reasons
        .map(|(reason, count)| (name_of(*reason), count))
        .collect();
    counts(w, &pairs)
}

fn name_of(reason: RefusedFor) -> Atom {
    match reason {
        RefusedFor::MaxConnections => Atom::max_connections,
        RefusedFor::NoDescriptor => Atom::no_descriptor,
        RefusedFor::PerAddress => Atom::max_connections_per_address,
        RefusedFor::Rate => Atom::connection_rate,
        RefusedFor::Timeout => Atom::timeout,
        RefusedFor::Left => Atom::left,
        RefusedFor::Tls => Atom::tls,
        RefusedFor::BadRequest => Atom::bad_request,
        RefusedFor::Path => Atom::path,
        RefusedFor::Origin => Atom::origin,
        RefusedFor::Accept => Atom::accept,
        RefusedFor::Unavailable => Atom::unavailable,
        RefusedFor::Draining => Atom::draining,
        RefusedFor::Upstream => Atom::upstream,
    }
}

/// What became of a frame for many.
pub fn dropped<W: Writer>(w: &mut W, sent: u64, dropped: u64) -> W::Term {
    counts(w, &[(Atom::sent, sent), (Atom::dropped, dropped)])
}

/// Of a connection.
pub fn conn_map<W: Writer>(w: &mut W, stats: &ConnStats) -> W::Term {
    let has_headers = !stats.headers.is_empty();
    w.map(PEER_PAIRS + 11 + u32::from(has_headers));
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
        (
            w.atom(Atom::user_data),
            w.binary(stats.user_data.as_bytes()),
        ),
        (w.atom(Atom::topics), {
            w.list(stats.topics.len() as u32);
            let topics: Vec<_> = stats.topics.iter().map(|topic| w.binary(topic)).collect();
            w.end_list(&topics)
        }),
    ]);
    if has_headers {
        pairs.push((w.atom(Atom::headers), kept_headers(w, &stats.headers)));
    }
    w.end_map(&pairs)
}

fn kept_headers<W: Writer>(w: &mut W, headers: &str) -> W::Term {
    let pairs = headers.lines().filter_map(|line| line.split_once(": "));
    w.list(pairs.clone().count() as u32);
    let pairs: Vec<_> = pairs
        .map(|(name, value)| {
            w.tuple(2);
            let pair = [w.binary(name.as_bytes()), w.binary(value.as_bytes())];
            w.end_tuple(&pair)
        })
        .collect();
    w.end_list(&pairs)
}

/// A page of connections: the rows, and where the next page begins, or `done`.
pub fn rows<W: Writer>(w: &mut W, rows: &[u8], next: Option<u32>) -> W::Term {
    w.tuple(2);
    let page = [
        w.binary(rows),
        match next {
            Some(next) => w.integer(next.into()),
            None => w.atom(Atom::done),
        },
    ];
    w.end_tuple(&page)
}
