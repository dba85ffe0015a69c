//! The invariants: what must hold of the engine after each step, and at the end of a run.

use sockeye_simulated_engine::Server;
use sockeye_simulated_engine::batch::EVENT_COST;
use sockeye_simulated_engine::census::{ShardCensus, census};

use super::ledger::{ConnRecord, End, SharedLedger};
use crate::plan::Plan;
use crate::plan::client::{Action, ReadPace};
use crate::plan::http2::{Http2Plan, Trouble};

/// The most bytes of one read of a shard.
const READ: usize = 128 * 1024;
/// The most bytes that are held for a receiver without credits.
const HOLD: usize = 16 * 1024;
/// The most bytes of Pong and Close frames that clients here make the engine owe.
const OWED: usize = 2000;

/// The most bytes that are granted to the VM for a connection, where the engine is a process.
const GRANTED: usize = 1024;

/// No queue is above its bound, and no slot is in use twice.
pub(crate) fn bounds(plan: &Plan, ledger: &SharedLedger) {
    for shard in census() {
        slots(ledger, &shard);
        let frame = 110_000;
        for conn in &shard.conns {
            // An empty queue takes a frame of any size.
            let client = ledger.client_of(conn.id);
            let largest = client.and_then(|client| ledger.update(client, |a| a.largest_reply));
            let random_calls = if plan.processes.random_calls > 0 {
                100_100
            } else {
                0
            };
            let limit = (plan.server.send_queue_size as usize).max(random_calls);
            let granted = if plan.port.is_some() { GRANTED } else { 0 };
            // A message in pieces, and what waits for its end.
            let queues = if plan.processes.streams > 0 { 2 } else { 1 };
            let most = queues * limit.max(largest.unwrap_or_default()) + OWED + granted;
            if conn.queued > most {
                ledger.problem(format!(
                    "{:?} has queued {} of {most}",
                    conn.id, conn.queued
                ));
            }
            // A read of small messages, each of which costs something.
            let most = HOLD + (READ / 6 + 1) * (EVENT_COST + 6) + frame;
            if conn.held > most {
                ledger.problem(format!("{:?} holds {} of {most}", conn.id, conn.held));
            }
            if conn.unread > READ {
                ledger.problem(format!("{:?} has not read {}", conn.id, conn.unread));
            }
        }
    }
}

/// No more of a response waits for its client than its bound, and one piece.
pub(crate) fn response_bounds(plan: &Plan, ledger: &SharedLedger, server: &Server) {
    const ROOM: usize = 64 * 1024;
    if plan.requesters.is_empty() {
        return;
    }
    let requests = plan
        .requesters
        .iter()
        .flat_map(|requester| &requester.requests);
    let piece = requests
        .map(|request| request.answer.div_ceil(request.pieces.max(1)))
        .max();
    let counted = server.census();
    let waiting = counted
        .iter()
        .find(|(what, _)| *what == "bytes of an answer");
    let waiting = waiting.map_or(0, |(_, count)| *count);
    if waiting > ROOM + piece.unwrap_or_default() {
        ledger.problem(format!("{waiting} bytes of an answer wait"));
    }
}

fn slots(ledger: &SharedLedger, shard: &ShardCensus) {
    let mut free = shard.free.clone();
    free.sort_unstable();
    let all = free.len();
    free.dedup();
    if free.len() != all {
        ledger.problem(format!("a slot of shard {} is free twice", shard.index));
    }
    if free.len() + shard.conns.len() != shard.slots {
        ledger.problem(format!(
            "shard {}: {} free slots and {} in use are not {}",
            shard.index,
            free.len(),
            shard.conns.len(),
            shard.slots
        ));
    }
}

/// Whether no shard has anything left.
pub(crate) fn is_empty() -> bool {
    let nothing = |shard: &ShardCensus| {
        shard.conns.is_empty() && shard.rest.iter().all(|(_, count)| *count == 0)
    };
    census().iter().all(nothing)
}

/// Whether the counters of a server are all zero.
pub(crate) fn is_done(server: &Server) -> bool {
    let mut counted = server.census().into_iter();
    counted.all(|(what, count)| count == 0 || what == "addresses")
}

/// When a server has stopped and its processes have taken all events, nothing is left of it.
pub(crate) fn nothing_left(ledger: &SharedLedger, server: &Server) {
    for shard in census() {
        slots(ledger, &shard);
        if let Some(conn) = shard.conns.first() {
            ledger.problem(format!("shard {} still has {conn:?}", shard.index));
        }
        for (what, count) in shard.rest.iter().filter(|(_, count)| *count > 0) {
            ledger.problem(format!("shard {}: {count} {what}", shard.index));
        }
    }
    let left = server.census();
    for (what, count) in left.iter().filter(|(_, count)| *count > 0) {
        if *what != "addresses" {
            ledger.problem(format!("the server has {count} {what}"));
        }
    }
    let stats = server.stats();
    if stats.connections != 0 {
        ledger.problem(format!("connections are counted: {stats:?}"));
    }
}

/// In a fair run all clients have come to a good end.
pub(crate) fn good_end(plan: &Plan, ledger: &SharedLedger) {
    let records = ledger.lock().records.clone();
    for (n, (record, client)) in records.iter().zip(&plan.clients).enumerate() {
        let may_be_refused = plan.server.asks || record.raced_goaway;
        if record.end == Some(End::NotOpened) && may_be_refused {
            continue;
        }
        let wrong = |what: &str| {
            ledger.problem(format!("client {n}: {what}: {record:?}"));
        };
        if record.end != Some(End::Eof) {
            wrong("no good end");
        }
        // Replies of an earlier owner may come too late. Where the engine is a process, a handler may hear that
        // a reply is refused when its connection is over.
        let answered = match plan.port {
            Some(_) => record.replies_accepted,
            None => record.replies_taken(),
        };
        let all_accepted = record.changed_owner || answered >= record.replies_requested;
        // No reply can be sent behind a message in pieces that an earlier owner has begun and not ended.
        let begun = record.open_stream.map(|(_, number)| number);
        let broken = record
            .first_broken_stream
            .or(begun)
            .filter(|_| record.changed_owner);
        if !record.has_read_below(broken.unwrap_or(record.replies_accepted)) || !all_accepted {
            wrong("replies are missing");
        }
        if record.messages_received != record.messages_sent {
            wrong("messages are missing");
        }
        let last = client.script.last();
        match last {
            Some(Action::Close(code)) => {
                if record.close_read != Some(*code) {
                    wrong("another Close frame");
                }
                if record.close_event_code != Some(*code) {
                    wrong("another close event");
                }
            }
            Some(Action::Fin) if record.close_event_code != Some(1006) => {
                wrong("another close event")
            }
            _ => {}
        }
    }
}

/// No client waits for ever, but for those that do nothing themselves.
pub(crate) fn no_client_waits(plan: &Plan, ledger: &SharedLedger) {
    let records = ledger.lock().records.clone();
    for (n, (record, client)) in records.iter().zip(&plan.clients).enumerate() {
        let is_silent = plan.net.silences > 0;
        let may_wait = matches!(client.reads, ReadPace::Until(_)) || record.misbehaved || is_silent;
        if record.end.is_none() && !may_wait {
            ledger.problem(format!("client {n} still waits: {record:?}"));
        }
    }
    let open_requesters = ledger.lock().open_requesters;
    let mut requests = plan
        .requesters
        .iter()
        .flat_map(|requester| &requester.requests);
    let vanishes =
        |http2_conn: &Http2Plan| matches!(http2_conn.trouble, Some((_, Trouble::Vanish)));
    let may_wait = requests.any(|request| matches!(request.reads, ReadPace::Until(_)))
        || plan.http2_conns.iter().any(vanishes)
        || plan.net.silences > 0;
    if open_requesters > 0 && !may_wait {
        ledger.problem(format!(
            "{open_requesters} clients with requests still wait"
        ));
    }
}

/// Whether no shard has a connection.
pub(crate) fn has_no_conns() -> bool {
    census().iter().all(|shard| shard.conns.is_empty())
}

/// A shard that has a connection is a failure.
pub(crate) fn no_conns(ledger: &SharedLedger) {
    for shard in census() {
        if let Some(conn) = shard.conns.first() {
            ledger.problem(format!("shard {} still has {conn:?}", shard.index));
        }
    }
}

/// The whole ledger at the end of a run.
pub(crate) fn final_ledger(plan: &Plan, ledger: &SharedLedger) {
    let records = ledger.lock().records.clone();
    for (n, record) in records[..plan.clients.len()].iter().enumerate() {
        if let Some(wrong) = what_is_wrong(record) {
            ledger.problem(format!("client {n}: {wrong}: {record:?}"));
        }
    }
    for record in &records[plan.clients.len()..] {
        if record.opens != 1 || (record.closes != 1 && !record.receiver_died) {
            ledger.problem(format!("a connection of the engine's client: {record:?}"));
        }
    }
    let (asked, answered) = {
        let ledger = ledger.lock();
        (ledger.questions_asked, ledger.questions_answered)
    };
    if asked != answered {
        ledger.problem(format!("{asked} questions, and {answered} answers"));
    }
}

/// Whether each receiver knows that its connection is over, and all questions are answered.
pub(crate) fn all_notified(ledger: &SharedLedger) -> bool {
    let ledger = ledger.lock();
    let is_notified = |record: &ConnRecord| {
        // An earlier owner takes its events when it likes.
        let has_all = !record.changed_owner
            || !closed_cleanly(record)
            || record.messages_received == record.messages_sent;
        record.receiver_died || (record.opens == record.closes && has_all)
    };
    ledger.records.iter().all(is_notified) && ledger.questions_asked == ledger.questions_answered
}

/// Whether the client has closed first, behind all its messages.
fn closed_cleanly(record: &ConnRecord) -> bool {
    // The engine takes nothing behind its own Close frame, which the client would have read.
    record.closed_while_serving
        && record.close_sent.is_some()
        && record.close_event_code == record.close_sent
        && record.close_read == record.close_sent
}

fn what_is_wrong(record: &ConnRecord) -> Option<&'static str> {
    if record.opens > 1 || record.closes > 1 {
        return Some("opened or closed twice");
    }
    if record.opens == 1 && record.closes == 0 && !record.receiver_died {
        return Some("it has not been closed");
    }
    if record.messages_received > record.messages_sent && !record.misbehaved {
        return Some("more messages were received than sent");
    }
    if record.replies_read > record.replies_accepted {
        return Some("more replies were read than accepted");
    }
    if closed_cleanly(record)
        && !record.receiver_died
        && record.messages_received != record.messages_sent
    {
        return Some("messages before the Close frame are missing");
    }
    // What a process has sent before it died goes before the Close frame.
    let died = record.close_read == Some(1011) && record.end == Some(End::Eof);
    if died
        && record.receiver_died
        && !record.changed_owner
        && !record.has_read_below(record.replies_accepted)
    {
        return Some("frames of a dead process are missing");
    }
    if let (Some((code, accepted)), Some(got)) = (record.close_requested, record.close_read)
        && code == got
        && record.close_sent != Some(code)
        && !record.has_read_below(accepted)
    {
        return Some("frames before the Close frame are missing");
    }
    None
}
