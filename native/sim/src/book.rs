//! What was said and heard on both sides of each connection, and what must hold of that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sockeye_simulated_engine::ConnId;
use sockeye_world::trace;

/// How a client's socket has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was never a connection.
    NotOpened,
    /// The other side has closed.
    Eof,
    /// The network has.
    Error,
    /// The client itself has gone.
    Left,
}

/// A connection, as each side knows it.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Whole messages that the client has written.
    pub said: u64,
    /// Replies that it has asked for with these.
    pub promised: u64,
    /// Replies that it has read.
    pub heard: u64,
    /// The number of the next one, unless that is refused.
    pub next: u64,
    /// Numbers before it that it has not read.
    pub skipped: BTreeSet<u64>,
    /// The last publication that it has read of each process.
    pub heard_topics: BTreeMap<u64, u64>,
    /// The code of the Close frame that it has written first.
    pub close_sent: Option<u16>,
    /// It writes no more.
    pub fin: bool,
    /// It has broken the protocol, or has gone.
    pub bad: bool,
    /// The Close frame that it has read.
    pub close_got: Option<u16>,
    pub end: Option<End>,
    /// It may have come to a server that went away.
    pub crossed: bool,

    /// Its client is the engine's own.
    pub dialled: bool,
    pub conn: Option<ConnId>,
    pub opens: u32,
    pub closed: u32,
    /// The server was not stopping when it was.
    pub closed_in_peace: bool,
    /// What the last event said.
    pub code: Option<u16>,
    /// Messages that were delivered.
    pub received: u64,
    /// Replies that were accepted: each has the next number.
    pub accepted: u64,
    /// Numbers of those that were not, of which their process has heard later.
    pub refused: BTreeSet<u64>,
    /// Numbers of those of which nobody hears more.
    pub unasked: BTreeSet<u64>,
    /// The first reply in pieces that has no end: what waits behind it cannot be sent.
    pub cut_off: Option<u64>,
    /// A reply whose last piece was not taken yet: its name and its number.
    pub streaming: Option<(u64, u64)>,
    /// The largest of them, in bytes.
    pub largest: usize,
    /// How many were accepted when a process asked to close, and the code.
    pub close_asked: Option<(u16, u64)>,
    /// Where its events have come.
    pub inboxes: Vec<u64>,
    /// A receiver has died.
    pub orphaned: bool,
    /// It was given to another owner.
    pub moved: bool,
    /// What may still be delivered; none where there is no count.
    pub credits: Option<i64>,
}

impl Account {
    /// Whether the client has read all replies with a number below this.
    pub fn has_heard(&self, bound: u64) -> bool {
        let behind = self.next..bound;
        let mut unheard = self.skipped.range(..bound).copied().chain(behind);
        // What an owner before the last one says without a question may come too late.
        let is_late = |number: &u64| self.moved && self.unasked.contains(number);
        unheard.all(|number| self.refused.contains(&number) || is_late(&number))
    }

    /// Replies that were accepted.
    pub fn taken(&self) -> u64 {
        self.accepted - self.refused.len() as u64
    }
}

/// All accounts, and what was found wrong.
#[derive(Debug, Default)]
pub struct Book {
    /// A process may hear only later that a reply is refused.
    pub late_refusals: bool,
    pub accounts: Vec<Account>,
    pub problems: Vec<String>,
    /// Questions that the engine has taken, and those that were answered.
    pub asked: u64,
    pub answered: u64,
    pub publications: u64,
    /// Replies that were begun in pieces.
    pub streams: u64,
    /// Those that ask for something, and have not come to their end.
    pub asking: usize,
    /// The server stops.
    pub stopping: bool,
}

/// The book, as all parts hold it.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<Mutex<Book>>);

impl Shared {
    pub fn open(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is wrong.
    pub fn problem(&self, what: String) {
        trace::note(&[0xBAD], || format!("PROBLEM {what}"));
        self.open().problems.push(what);
    }

    /// Changes an account.
    pub fn of<T>(&self, client: usize, change: impl FnOnce(&mut Account) -> T) -> Option<T> {
        self.open().accounts.get_mut(client).map(change)
    }

    /// An account for a connection of which only one side is watched here.
    pub fn enter_dialled(&self) -> usize {
        let mut book = self.open();
        book.accounts.push(Account {
            end: Some(End::Eof),
            dialled: true,
            ..Account::default()
        });
        book.accounts.len() - 1
    }

    /// The client of a connection.
    pub fn client_of(&self, conn: ConnId) -> Option<usize> {
        let book = self.open();
        book.accounts.iter().position(|a| a.conn == Some(conn))
    }

    /// A message has been delivered to a process.
    pub fn received(&self, client: usize, number: u64) {
        let wrong = self.of(client, |account| {
            let in_order = account.received == number
                || (account.moved && (account.dialled || number < account.said));
            account.received += 1;
            let credit = account.credits.as_mut().map(|credits| {
                *credits -= 1;
                *credits
            });
            let moved = account.moved;
            let closed = account.closed > 0 && !moved;
            if !in_order {
                Some(format!(
                    "message {number} came as number {}",
                    account.received - 1
                ))
            } else if closed {
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

    /// A reply has been read.
    pub fn heard(&self, client: usize, of: usize, number: u64) {
        let late = self.open().late_refusals;
        let wrong = self.of(client, |account| {
            let expected = account.next;
            let skipped = expected..number;
            // That the rest of a message is refused is known at once, and what there was of it may be there.
            let missed = late || skipped.clone().all(|n| account.refused.contains(&n));
            // The last words of an owner before may be longer than those of the next one, which pass them on their way.
            let passed = account.moved && account.skipped.remove(&number);
            account.heard += 1;
            if !passed {
                account.next = number.saturating_add(1);
            }
            let right = of == client
                && (passed || number == expected || (number > expected && missed))
                && number < account.accepted
                && !account.refused.contains(&number);
            if right && !passed {
                account.skipped.extend(skipped);
            }
            (!right).then(|| format!("heard {of}/{number} and not {client}/{expected}"))
        });
        if let Some(Some(wrong)) = wrong {
            self.problem(format!("client {client}: {wrong}"));
        }
    }

    /// A process has heard that a reply is refused, which had a number.
    pub fn refused(&self, client: usize, number: u64) {
        let wrong = self.of(client, |account| {
            let heard = number < account.next && !account.skipped.contains(&number);
            let twice = !account.refused.insert(number);
            (heard || twice || number >= account.accepted).then_some(heard)
        });
        if let Some(Some(heard)) = wrong {
            let what = if heard {
                "and was read"
            } else {
                "twice, or was never sent"
            };
            self.problem(format!("client {client}: reply {number} is refused {what}"));
        }
    }
}
