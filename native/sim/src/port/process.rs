//! A process of the VM with its mailbox, and the answer to a call.

use std::cell::RefCell;
use std::collections::VecDeque;

use sockeye_simulated_engine::ConnId;
use tokio::sync::Notify;

use crate::terms::Term;
use crate::vm::event::VmEvent;

/// A message of a mailbox.
#[derive(Debug)]
pub(super) enum Message {
    /// Events of an Id: connection and event.
    Batch(u64, Vec<(Term, Term)>),
    Term(Term),
    /// An event for an owner, from its delivery process.
    Event(ConnId, VmEvent),
    /// It is to end when it has got all its events.
    Stop,
    /// It has got all its events.
    AllDelivered,
}

/// A process.
pub(super) struct Process {
    pub(super) number: u32,
    mailbox: RefCell<VecDeque<Message>>,
    changed: Notify,
}

impl Process {
    pub(super) fn new(number: u32) -> Self {
        Process {
            number,
            mailbox: RefCell::default(),
            changed: Notify::new(),
        }
    }

    pub(super) fn put(&self, message: Message) {
        self.mailbox.borrow_mut().push_back(message);
        self.changed.notify_one();
    }

    pub(super) async fn next(&self) -> Message {
        loop {
            let message = self.mailbox.borrow_mut().pop_front();
            match message {
                Some(message) => return message,
                None => self.changed.notified().await,
            }
        }
    }
}

/// The answer to a call.
#[derive(Debug)]
pub(super) enum Answer {
    Value(Term),
    /// An exception.
    Raised,
    /// The link has ended.
    Gone,
}

/// A call without an answer.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) answer: RefCell<Option<Answer>>,
    pub(super) changed: Notify,
}
