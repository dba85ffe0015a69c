//! The ledger: what was sent and received on both sides of each connection. What must hold of it while the run goes on is checked here, the rest in
//! [`super::checks`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sockeye_simulated_engine::ConnId;
use sockeye_world::trace;

/// How a client's socket has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// There was no WebSocket.
    NotOpened,
    /// The server has closed it.
    Eof,
    /// The network has failed.
    Error,
    /// The client has closed it.
    Left,
}

/// One connection: first as its client knows it, then as the processes of the VM do.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnRecord {
    /// Whole messages that the client has written.
    pub(crate) messages_sent: u64,
    /// Replies that it has asked for with these.
    pub(crate) replies_requested: u64,
    /// Replies that it has read.
    pub(crate) replies_read: u64,
    /// The number of the next one, unless that one is refused.
    pub(crate) next_reply: u64,
    /// Smaller numbers that it has not read.
    pub(crate) skipped_replies: BTreeSet<u64>,
    /// The last publication that it has read of each process.
    pub(crate) topics_read: BTreeMap<u64, u64>,
    /// The code of its Close frame, if it has closed first.
    pub(crate) close_sent: Option<u16>,
    /// It has closed the socket for writing.
    pub(crate) half_closed: bool,
    /// It has broken the protocol, or has gone.
    pub(crate) misbehaved: bool,
    /// The code of the Close frame that it has read.
    pub(crate) close_read: Option<u16>,
    pub(crate) end: Option<End>,
    /// Its stream may have come to a server that had sent GOAWAY.
    pub(crate) raced_goaway: bool,

    /// Its client is one of the engine's own.
    pub(crate) by_engine: bool,
    pub(crate) conn: Option<ConnId>,
    /// `open` events.
    pub(crate) opens: u32,
    /// `closed` events.
    pub(crate) closes: u32,
    /// The `closed` event came before the server was stopped.
    pub(crate) closed_while_serving: bool,
    /// The code of the `closed` event.
    pub(crate) close_event_code: Option<u16>,
    /// Messages that were delivered.
    pub(crate) messages_received: u64,
    /// Replies that the engine has accepted: each has the next number.
    pub(crate) replies_accepted: u64,
    /// Numbers of those of which their process has heard later that they are refused.
    pub(crate) replies_refused: BTreeSet<u64>,
    /// Numbers of those that were sent on a grant: nothing tells what became of them.
    pub(crate) sent_on_grant: BTreeSet<u64>,
    /// The first reply in pieces that has no end: no reply behind it can be sent.
    pub(crate) first_broken_stream: Option<u64>,
    /// A reply whose last piece was not accepted yet: its name and its number.
    pub(crate) open_stream: Option<(u64, u64)>,
    /// The largest reply, in bytes.
    pub(crate) largest_reply: usize,
    /// The code with which a process asked to close, and how many replies were accepted before.
    pub(crate) close_requested: Option<(u16, u64)>,
    /// Keys of the processes that got its events.
    pub(crate) inboxes: Vec<u64>,
    /// One of them has died.
    pub(crate) receiver_died: bool,
    /// It was given to another owner.
    pub(crate) changed_owner: bool,
    /// Messages that may still be delivered, where they are counted.
    pub(crate) credits: Option<i64>,
}

impl ConnRecord {
    /// Whether the client has read all replies with a number below this one that were not refused.
    pub(crate) fn has_read_below(&self, bound: u64) -> bool {
        let behind = self.next_reply..bound;
        let mut unread = self.skipped_replies.range(..bound).copied().chain(behind);
        // What an earlier owner sends on a grant may come too late.
        let is_late = |number: &u64| self.changed_owner && self.sent_on_grant.contains(number);
        unread.all(|number| self.replies_refused.contains(&number) || is_late(&number))
    }

    /// Replies that were accepted, and not refused later.
    pub(crate) fn replies_taken(&self) -> u64 {
        self.replies_accepted - self.replies_refused.len() as u64
    }
}

/// All connections, and what was found wrong.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// A process may hear only later that a reply is refused.
    pub(crate) late_refusals: bool,
    /// Those of scripted clients by their place in the plan, then those of the engine's clients.
    pub(crate) records: Vec<ConnRecord>,
    pub(crate) problems: Vec<String>,
    /// Questions that the engine has taken from processes.
    pub(crate) questions_asked: u64,
    pub(crate) questions_answered: u64,
    pub(crate) publications: u64,
    /// Replies in pieces that were begun.
    pub(crate) streams: u64,
    /// Clients with ordinary requests that have not come to their end.
    pub(crate) open_requesters: usize,
    /// The server is being stopped.
    pub(crate) stopping: bool,
}

/// The ledger, as all parts of a run hold it.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedLedger(Arc<Mutex<Ledger>>);

impl SharedLedger {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is wrong: the run fails.
    pub(crate) fn problem(&self, what: String) {
        trace::note(&[0xBAD], || format!("PROBLEM {what}"));
        self.lock().problems.push(what);
    }

    /// Changes a record. None if there is none of this number.
    pub(crate) fn update<T>(
        &self,
        client: usize,
        change: impl FnOnce(&mut ConnRecord) -> T,
    ) -> Option<T> {
        self.lock().records.get_mut(client).map(change)
    }

    /// A record for a connection of the engine's own client, which keeps account of its side itself.
    pub(crate) fn add_engine_client(&self) -> usize {
        let mut ledger = self.lock();
        ledger.records.push(ConnRecord {
            end: Some(End::Eof),
            by_engine: true,
            ..ConnRecord::default()
        });
        ledger.records.len() - 1
    }

    /// The number of a connection's record.
    pub(crate) fn client_of(&self, conn: ConnId) -> Option<usize> {
        let ledger = self.lock();
        ledger.records.iter().position(|a| a.conn == Some(conn))
    }

    /// A message has been delivered to a process.
    pub(crate) fn message_received(&self, client: usize, number: u64) {
        let wrong = self.update(client, |record| {
            let in_order = record.messages_received == number
                || (record.changed_owner && (record.by_engine || number < record.messages_sent));
            record.messages_received += 1;
            let credit = record.credits.as_mut().map(|credits| {
                *credits -= 1;
                *credits
            });
            let is_closed = record.closes > 0 && !record.changed_owner;
            if !in_order {
                Some(format!(
                    "message {number} came as number {}",
                    record.messages_received - 1
                ))
            } else if is_closed {
                Some(format!("message {number} came behind the end"))
            } else if credit.is_some_and(|credit| credit < 0) {
                Some(format!("message {number} came without a credit"))
            } else {
                None
            }
        });
        match wrong {
            Some(Some(wrong)) => self.problem(format!("client {client}: {wrong}")),
            Some(None) => {}
            None => self.problem(format!("client {client} does not exist")),
        }
    }

    /// A client has read a reply: number `number` of the client `of`, if all is right.
    pub(crate) fn reply_read(&self, client: usize, of: usize, number: u64) {
        let late = self.lock().late_refusals;
        let wrong = self.update(client, |record| {
            let expected = record.next_reply;
            let skipped = expected..number;
            let may_skip = late || skipped.clone().all(|n| record.replies_refused.contains(&n));
            // The last replies of an earlier owner may be overtaken by shorter ones of the next owner.
            let was_overtaken = record.changed_owner && record.skipped_replies.remove(&number);
            record.replies_read += 1;
            if !was_overtaken {
                record.next_reply = number.saturating_add(1);
            }
            let is_right = of == client
                && (was_overtaken || number == expected || (number > expected && may_skip))
                && number < record.replies_accepted
                && !record.replies_refused.contains(&number);
            if is_right && !was_overtaken {
                record.skipped_replies.extend(skipped);
            }
            (!is_right).then(|| format!("read reply {of}/{number} and not {client}/{expected}"))
        });
        if let Some(Some(wrong)) = wrong {
            self.problem(format!("client {client}: {wrong}"));
        }
    }

    /// A process has heard that a reply is refused which had a number.
    pub(crate) fn reply_refused(&self, client: usize, number: u64) {
        let wrong = self.update(client, |record| {
            let was_read = number < record.next_reply && !record.skipped_replies.contains(&number);
            let is_second = !record.replies_refused.insert(number);
            (was_read || is_second || number >= record.replies_accepted).then_some(was_read)
        });
        if let Some(Some(was_read)) = wrong {
            let what = if was_read {
                "and was read"
            } else {
                "twice, or was never sent"
            };
            self.problem(format!("client {client}: reply {number} is refused {what}"));
        }
    }
}
