//! What was said and heard on both sides of each connection, and what must hold of that.

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
    /// The last publication that it has read.
    pub heard_topic: u64,
    /// The code of the Close frame that it has written first.
    pub close_sent: Option<u16>,
    /// It writes no more.
    pub fin: bool,
    /// It has broken the protocol, or has gone.
    pub bad: bool,
    /// The Close frame that it has read.
    pub close_got: Option<u16>,
    pub end: Option<End>,

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
    /// Replies that were accepted.
    pub accepted: u64,
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

/// All accounts, and what was found wrong.
#[derive(Debug, Default)]
pub struct Book {
    pub accounts: Vec<Account>,
    pub problems: Vec<String>,
    /// Questions that the engine has taken, and those that were answered.
    pub asked: u64,
    pub answered: u64,
    pub publications: u64,
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
        let wrong = self.of(client, |account| {
            let expected = account.heard;
            account.heard += 1;
            let right = of == client && number == expected && number < account.accepted;
            (!right).then(|| format!("heard {of}/{number} and not {client}/{expected}"))
        });
        if let Some(Some(wrong)) = wrong {
            self.problem(format!("client {client}: {wrong}"));
        }
    }
}
