//! Questions to the virtual machine while a client waits, each with a deadline.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sockeye_protocol::handshake::{Refusal, Request};
use tokio::sync::oneshot;

use super::visitor::Visitor;
use crate::options::ConnOptions;
use crate::server::Server;

/// Questions of a server that may wait at once. What comes then is refused with 503.
const MOST: usize = 1024;

/// The virtual machine keeps the deadline itself, and ends what took too long. It gets this much
/// longer to say so.
const GRACE: Duration = Duration::from_millis(500);

/// How long to wait before asking again when nobody was there.
const RETRY: Duration = Duration::from_millis(5);

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// Whether this request may become a connection.
    Upgrade,
    /// What to answer to a request for this route.
    Route(usize),
}

/// A question, as [`crate::host::ServerHost::ask`] gets it.
#[derive(Debug)]
pub struct Question<'a> {
    /// What is asked.
    pub about: About,
    /// The request.
    pub request: &'a Request,
    /// Who sent it.
    pub visitor: &'a Visitor,
    /// Its body. Always empty when it is about an upgrade.
    pub body: &'a [u8],
}

/// What a receiver gets with a new connection, as the virtual machine made it.
pub struct Luggage(pub Box<dyn Any + Send>);

impl std::fmt::Debug for Luggage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Luggage")
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
    pub luggage: Option<Luggage>,
}

/// An answer.
#[derive(Debug)]
pub enum Answer {
    /// Let it in.
    Accept(Box<Acceptance>),
    /// Answer with this.
    Respond(Refusal),
}

/// The questions of a server that wait for an answer.
#[derive(Default)]
pub(crate) struct Asking {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    answers: HashMap<u64, oneshot::Sender<Answer>>,
}

impl Asking {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Option<(u64, oneshot::Receiver<Answer>)> {
        let mut waiting = self.waiting();
        if waiting.answers.len() >= MOST {
            return None;
        }
        let token = waiting.next;
        waiting.next += 1;
        let (sender, receiver) = oneshot::channel();
        waiting.answers.insert(token, sender);
        Some((token, receiver))
    }

    /// Brings an answer to who waits for it. False if nobody does.
    pub(crate) fn answer(&self, token: u64, answer: Answer) -> bool {
        let sender = self.waiting().answers.remove(&token);
        sender.is_some_and(|sender| sender.send(answer).is_ok())
    }

    /// Nobody will answer what was asked so far.
    pub(crate) fn forget(&self) {
        let forgotten = std::mem::take(&mut self.waiting().answers);
        drop(forgotten);
    }
}

/// Forgets a question whose asker is gone, whatever the reason.
struct Open<'a>(&'a Asking, u64);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.waiting().answers.remove(&self.1);
    }
}

/// The longest that a question takes.
pub(crate) fn limit(server: &Server) -> Duration {
    server.config.accept_timeout + GRACE
}

/// Asks the virtual machine. Without an answer in time, the answer is 503.
pub(crate) async fn ask(server: &Server, question: &Question<'_>) -> Answer {
    let unavailable = |why: &str| {
        let refusal = Refusal::new(503, why).with_header("Retry-After", "1");
        Answer::Respond(refusal)
    };
    let Some((token, answer)) = server.asking.open() else {
        return unavailable("Too many requests are waiting for an answer.\n");
    };
    let _open = Open(&server.asking, token);
    let asked = async {
        // There is nobody yet when the server starts, and for a moment when the one who answered
        // has died.
        while !server.host.ask(token, question) {
            tokio::time::sleep(RETRY).await;
        }
        answer.await
    };
    match tokio::time::timeout(limit(server), asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => unavailable("Nobody is there to answer.\n"),
        Err(_) => unavailable("The answer took too long.\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_bounded_and_an_answer_finds_its_own() {
        let asking = Asking::default();
        let mut all: Vec<_> = (0..MOST).map(|_| asking.open().unwrap()).collect();
        assert!(asking.open().is_none(), "one too many");
        let (token, mut receiver) = all.swap_remove(7);
        assert!(asking.answer(token, Answer::Respond(Refusal::new(418, ""))));
        assert!(matches!(receiver.try_recv(), Ok(Answer::Respond(r)) if r.status == 418));
        assert!(
            !asking.answer(token, Answer::Respond(Refusal::new(418, ""))),
            "twice"
        );
        let (next, _receiver) = asking.open().unwrap();
        assert!(
            all.iter().all(|(known, _)| *known != next),
            "no token comes twice"
        );
        asking.forget();
        assert!(matches!(
            all[0].1.try_recv(),
            Err(oneshot::error::TryRecvError::Closed)
        ));
    }
}
