//! What must hold after each step, and at the end.

use sockeye_simulated_engine::Server;
use sockeye_simulated_engine::batch::EVENT_COST;
use sockeye_simulated_engine::census::{ShardCensus, census};

use crate::book::{Account, End, Shared};
use crate::drawn::Reads;
use crate::http2::plan::{CarrierPlan, Trouble};
use crate::plan::{Action, Plan};

/// What a read may bring beyond a bound on what is held.
const READ: usize = 128 * 1024;
/// What is held for a receiver that wants nothing.
const HOLD: usize = 16 * 1024;
/// What clients here make the protocol owe, in answers to their pings and in Close frames.
const OWED: usize = 2000;

/// What may be granted for a connection, where the engine is a process.
const GRANTED: usize = 1024;

/// No queue is above its bound, and no slot has two lives.
pub(crate) fn bounds(plan: &Plan, book: &Shared) {
    for shard in census() {
        slots(book, &shard);
        let frame = 110_000;
        for conn in &shard.conns {
            // An empty queue takes a frame of any size.
            let client = book.client_of(conn.id);
            let largest = client.and_then(|client| book.of(client, |a| a.largest));
            let meddled = if plan.processes.meddles > 0 {
                100_100
            } else {
                0
            };
            let limit = (plan.server.send_queue_size as usize).max(meddled);
            let granted = if plan.port.is_some() { GRANTED } else { 0 };
            // What waits for the end of a message, and that message.
            let rooms = if plan.processes.streams > 0 { 2 } else { 1 };
            let most = rooms * limit.max(largest.unwrap_or_default()) + OWED + granted;
            if conn.queued > most {
                book.problem(format!(
                    "{:?} has queued {} of {most}",
                    conn.id, conn.queued
                ));
            }
            // A read that brings small messages: each costs something.
            let most = HOLD + (READ / 6 + 1) * (EVENT_COST + 6) + frame;
            if conn.held > most {
                book.problem(format!("{:?} holds {} of {most}", conn.id, conn.held));
            }
            if conn.unread > READ {
                book.problem(format!("{:?} has not read {}", conn.id, conn.unread));
            }
        }
    }
}

/// No more of an answer waits for its client than it may, and a piece.
pub(crate) fn answers(plan: &Plan, book: &Shared, server: &Server) {
    const ROOM: usize = 64 * 1024;
    if plan.askers.is_empty() {
        return;
    }
    let asks = plan.askers.iter().flat_map(|asker| &asker.asks);
    let piece = asks.map(|ask| ask.answer.div_ceil(ask.pieces.max(1))).max();
    let counted = server.census();
    let waiting = counted
        .iter()
        .find(|(what, _)| *what == "bytes of an answer");
    let waiting = waiting.map_or(0, |(_, count)| *count);
    if waiting > ROOM + piece.unwrap_or_default() {
        book.problem(format!("{waiting} bytes of an answer wait"));
    }
}

fn slots(book: &Shared, shard: &ShardCensus) {
    let mut free = shard.free.clone();
    free.sort_unstable();
    let all = free.len();
    free.dedup();
    if free.len() != all {
        book.problem(format!("a slot of shard {} is free twice", shard.index));
    }
    if free.len() + shard.conns.len() != shard.slots {
        book.problem(format!(
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

/// Whether a server counts nothing any more.
pub(crate) fn is_done(server: &Server) -> bool {
    let mut counted = server.census().into_iter();
    counted.all(|(what, count)| count == 0 || what == "addresses")
}

/// When a server has stopped, and its processes have taken all, nothing is left of it.
pub(crate) fn nothing_left(book: &Shared, server: &Server) {
    for shard in census() {
        slots(book, &shard);
        if let Some(conn) = shard.conns.first() {
            book.problem(format!("shard {} still has {conn:?}", shard.index));
        }
        for (what, count) in shard.rest.iter().filter(|(_, count)| *count > 0) {
            book.problem(format!("shard {}: {count} {what}", shard.index));
        }
    }
    let left = server.census();
    for (what, count) in left.iter().filter(|(_, count)| *count > 0) {
        if *what != "addresses" {
            book.problem(format!("the server has {count} {what}"));
        }
    }
    let stats = server.stats();
    if stats.connections != 0 {
        book.problem(format!("connections are counted: {stats:?}"));
    }
}

/// Where nothing is lost, all has come to a good end.
pub(crate) fn good_end(plan: &Plan, book: &Shared) {
    let accounts = book.open().accounts.clone();
    for (n, (account, client)) in accounts.iter().zip(&plan.clients).enumerate() {
        let may = plan.server.asks || account.crossed;
        let refused = account.end == Some(End::NotOpened) && may;
        if refused {
            continue;
        }
        let wrong = |what: &str| {
            book.problem(format!("client {n}: {what}: {account:?}"));
        };
        if account.end != Some(End::Eof) {
            wrong("no good end");
        }
        // The answers of an owner before the last one may come too late.
        // A handler of another process may hear that a reply is refused when its connection is over.
        let answered = match plan.port {
            Some(_) => account.accepted,
            None => account.taken(),
        };
        let all_accepted = account.moved || answered >= account.promised;
        // Nor can the next owner's, behind the message in pieces that such an owner has begun, and may not have ended.
        let begun = account.streaming.map(|(_, number)| number);
        let cut_off = account.cut_off.or(begun).filter(|_| account.moved);
        if !account.has_heard(cut_off.unwrap_or(account.accepted)) || !all_accepted {
            wrong("replies are missing");
        }
        if account.received != account.said {
            wrong("messages are missing");
        }
        let last = client.script.last();
        match last {
            Some(Action::Close(code)) => {
                if account.close_got != Some(*code) {
                    wrong("another Close frame");
                }
                if account.code != Some(*code) {
                    wrong("another close event");
                }
            }
            Some(Action::Fin) if account.code != Some(1006) => wrong("another close event"),
            _ => {}
        }
    }
}

/// No client waits for something that does not come.
pub(crate) fn clients_end(plan: &Plan, book: &Shared) {
    let accounts = book.open().accounts.clone();
    for (n, (account, client)) in accounts.iter().zip(&plan.clients).enumerate() {
        let silent = plan.net.silences > 0;
        let patient = matches!(client.reads, Reads::Until(_)) || account.bad || silent;
        if account.end.is_none() && !patient {
            book.problem(format!("client {n} still waits: {account:?}"));
        }
    }
    let asking = book.open().asking;
    let mut asks = plan.askers.iter().flat_map(|asker| &asker.asks);
    let vanishes = |carrier: &CarrierPlan| matches!(carrier.trouble, Some((_, Trouble::Vanish)));
    let patient = asks.any(|ask| matches!(ask.reads, Reads::Until(_)))
        || plan.carriers.iter().any(vanishes)
        || plan.net.silences > 0;
    if asking > 0 && !patient {
        book.problem(format!("{asking} who have asked still wait"));
    }
}

/// Whether no shard has a connection.
pub(crate) fn has_no_conns() -> bool {
    census().iter().all(|shard| shard.conns.is_empty())
}

/// No shard has a connection.
pub(crate) fn no_conns(book: &Shared) {
    for shard in census() {
        if let Some(conn) = shard.conns.first() {
            book.problem(format!("shard {} still has {conn:?}", shard.index));
        }
    }
}

/// At the end of the world.
pub(crate) fn ends(plan: &Plan, book: &Shared) {
    let accounts = book.open().accounts.clone();
    for (n, account) in accounts[..plan.clients.len()].iter().enumerate() {
        if let Some(wrong) = account_is_wrong(account) {
            book.problem(format!("client {n}: {wrong}: {account:?}"));
        }
    }
    for account in &accounts[plan.clients.len()..] {
        if account.opens != 1 || (account.closed != 1 && !account.orphaned) {
            book.problem(format!("a connection of the engine's client: {account:?}"));
        }
    }
    let (asked, answered) = {
        let book = book.open();
        (book.asked, book.answered)
    };
    if asked != answered {
        book.problem(format!("{asked} questions, and {answered} answers"));
    }
}

/// Whether each receiver knows that its connection is over, and all questions are answered.
pub(crate) fn all_told(book: &Shared) -> bool {
    let book = book.open();
    let told = |account: &Account| {
        // An owner before the last one takes what is its own when it likes.
        let all = !account.moved || !said_all(account) || account.received == account.said;
        account.orphaned || (account.opens == account.closed && all)
    };
    book.accounts.iter().all(told) && book.asked == book.answered
}

/// Whether the client has closed behind all that it had to say, and nobody before it.
fn said_all(account: &Account) -> bool {
    // Behind a Close frame of ours nothing is taken: then the client has read that one.
    account.closed_in_peace
        && account.close_sent.is_some()
        && account.code == account.close_sent
        && account.close_got == account.close_sent
}

fn account_is_wrong(account: &Account) -> Option<&'static str> {
    if account.opens > 1 || account.closed > 1 {
        return Some("more than one life");
    }
    if account.opens == 1 && account.closed == 0 && !account.orphaned {
        return Some("it has not been closed");
    }
    if account.received > account.said && !account.bad {
        return Some("more was received than said");
    }
    if account.heard > account.accepted {
        return Some("more was heard than accepted");
    }
    if said_all(account) && !account.orphaned && account.received != account.said {
        return Some("messages before the Close frame are missing");
    }
    // What a process has sent before it died leaves before the Close frame.
    let died = account.close_got == Some(1011) && account.end == Some(End::Eof);
    if died && account.orphaned && !account.moved && !account.has_heard(account.accepted) {
        return Some("frames of a dead process are missing");
    }
    if let (Some((code, accepted)), Some(got)) = (account.close_asked, account.close_got)
        && code == got
        && account.close_sent != Some(code)
        && !account.has_heard(accepted)
    {
        return Some("frames before the Close frame are missing");
    }
    None
}
