//! Questions to the virtual machine, and the answers that are waited for.

use std::any::Any;
use std::hash::BuildHasher;

use sockeye_protocol::handshake::{Refusal, Request};
use tokio::sync::oneshot;

use crate::model::lock::lock;
use crate::net::peer::PeerInfo;
use crate::settings::options::ConnOptions;
use crate::vm::stream::StreamAnswer;
use crate::world::collections::{HashMap, RandomState};
use crate::world::sync::Mutex;

/// Questions of a server that may wait at once. What comes then is refused with 503.
const MAX_QUESTIONS: usize = 1024;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// Whether this request may become a connection.
    Upgrade,
    /// What to answer to a request for this route.
    Route(usize),
}

/// A question, as [`crate::vm::host::ServerHost::ask`] gets it.
#[derive(Debug)]
pub struct Question<'a> {
    /// What is asked.
    pub about: About,
    /// The request.
    pub request: &'a Request,
    /// Who sent it.
    pub peer_info: &'a PeerInfo,
    /// Its body. Always empty when it is about an upgrade.
    pub body: &'a [u8],
}

/// What the decision to accept a connection hands to the process that will serve it.
pub struct AcceptState(pub Box<dyn Any + Send>);

impl std::fmt::Debug for AcceptState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AcceptState")
    }
}

/// How a connection is let in.
#[derive(Debug, Default)]
pub struct Acceptance {
    /// The subprotocol, or that there is none, where the server's own choice does not stand.
    pub subprotocol: Option<Option<String>>,
    /// More headers of the 101.
    pub headers: Vec<(String, String)>,
    /// Settings of the connection.
    pub options: ConnOptions,
    /// For its receiver.
    pub accept_state: Option<AcceptState>,
    /// What an operator is to know it by.
    pub user_data: Option<Box<str>>,
}

/// An answer.
#[derive(Debug)]
pub enum Answer {
    /// Let it in.
    Accept(Box<Acceptance>),
    /// Answer with this.
    Respond(Refusal),
    /// Answer with this head, and the pieces that come.
    Stream(Box<StreamAnswer>),
}

/// The questions of a server that wait for an answer.
#[derive(Default)]
pub(crate) struct Questions {
    waiting: Mutex<PendingAnswers>,
}

struct PendingAnswers {
    next: u64,
    answers: HashMap<u64, oneshot::Sender<Answer>>,
}

impl Default for PendingAnswers {
    /// Who answers may outlive the process that asked: no token may mean another question in the next one. It is a small integer to
    /// the VM.
    fn default() -> Self {
        PendingAnswers {
            next: RandomState::default().hash_one(0_u8) >> 6,
            answers: HashMap::default(),
        }
    }
}

impl Questions {
    /// A place among those that wait. None if there are too many.
    pub(crate) fn open(&self) -> Option<(u64, oneshot::Receiver<Answer>)> {
        let mut waiting = lock(&self.waiting);
        if waiting.answers.len() >= MAX_QUESTIONS {
            return None;
        }
        let token = waiting.next;
        waiting.next += 1;
        let (sender, receiver) = oneshot::channel();
        waiting.answers.insert(token, sender);
        Some((token, receiver))
    }

    /// The question of this token, as long as somebody waits for its answer.
    pub(crate) fn pending(&self, token: u64) -> PendingQuestion<'_> {
        PendingQuestion(self, token)
    }

    /// Brings an answer to who waits for it. It comes back if nobody does.
    pub(crate) fn answer(&self, token: u64, answer: Answer) -> Result<(), Answer> {
        let sender = lock(&self.waiting).answers.remove(&token);
        match sender {
            Some(sender) => sender.send(answer),
            None => Err(answer),
        }
    }

    /// How many wait.
    #[cfg(sim)]
    pub(crate) fn len(&self) -> usize {
        lock(&self.waiting).answers.len()
    }

    /// Nobody will answer what was asked so far.
    pub(crate) fn forget(&self) {
        let forgotten = std::mem::take(&mut lock(&self.waiting).answers);
        drop(forgotten);
    }
}

/// Forgets a question whose asker is gone, whatever the reason.
pub(crate) struct PendingQuestion<'a>(&'a Questions, u64);

impl Drop for PendingQuestion<'_> {
    fn drop(&mut self) {
        lock(&self.0.waiting).answers.remove(&self.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_bounded_and_an_answer_finds_its_own() {
        let questions = Questions::default();
        let mut all: Vec<_> = (0..MAX_QUESTIONS)
            .map(|_| questions.open().unwrap())
            .collect();
        assert!(questions.open().is_none(), "one too many");
        let (token, mut receiver) = all.swap_remove(7);
        let teapot = || Answer::Respond(Refusal::new(418, ""));
        assert!(questions.answer(token, teapot()).is_ok());
        assert!(matches!(receiver.try_recv(), Ok(Answer::Respond(r)) if r.status == 418));
        assert!(questions.answer(token, teapot()).is_err(), "twice");
        let (next, _receiver) = questions.open().unwrap();
        assert!(
            all.iter().all(|(known, _)| *known != next),
            "no token comes twice"
        );
        let another = Questions::default();
        let (first, _receiver) = another.open().unwrap();
        assert!(
            all.iter().all(|(known, _)| *known != first),
            "no token means a question of another server"
        );
        questions.forget();
        assert!(matches!(
            all[0].1.try_recv(),
            Err(oneshot::error::TryRecvError::Closed)
        ));
    }

    #[test]
    fn a_question_whose_asker_is_gone_leaves_its_place() {
        let questions = Questions::default();
        for _ in 0..=MAX_QUESTIONS {
            let (token, _receiver) = questions.open().expect("room");
            drop(questions.pending(token));
        }
    }
}
