//! Processes of the VM, and what comes to them.

use std::cell::RefCell;
use std::collections::VecDeque;

use sockeye_simulated_engine::ConnId;
use tokio::sync::Notify;

use crate::process::Got;
use crate::terms::Term;

/// What comes to a process.
#[derive(Debug)]
pub(super) enum Mail {
    Batch(u64, Vec<(Term, Term)>),
    Term(Term),
    /// An event that its courier has brought to an owner.
    Event(ConnId, Got),
    /// It is to end when nothing is left for it.
    Stop,
    /// Nothing is.
    Rest,
}

/// A process.
pub(super) struct Process {
    pub(super) number: u32,
    mail: RefCell<VecDeque<Mail>>,
    news: Notify,
}

impl Process {
    pub(super) fn new(number: u32) -> Self {
        Process {
            number,
            mail: RefCell::default(),
            news: Notify::new(),
        }
    }

    pub(super) fn put(&self, mail: Mail) {
        self.mail.borrow_mut().push_back(mail);
        self.news.notify_one();
    }

    pub(super) async fn next(&self) -> Mail {
        loop {
            let mail = self.mail.borrow_mut().pop_front();
            match mail {
                Some(mail) => return mail,
                None => self.news.notified().await,
            }
        }
    }
}

/// What came of a call.
#[derive(Debug)]
pub(super) enum Answer {
    Value(Term),
    Raised,
    /// The link has ended.
    Gone,
}

#[derive(Default)]
pub(super) struct Waiting {
    pub(super) answer: RefCell<Option<Answer>>,
    pub(super) news: Notify,
}
