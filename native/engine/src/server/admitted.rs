//! Requests that were accepted, and answered by another server, and whose sockets have not come yet.

use tokio::sync::oneshot;

use crate::model::lock::lock;
use crate::net::transport::Detached;
use crate::world::collections::HashMap;
use crate::world::sync::Mutex;

/// What a server says to a request that another one answers.
pub enum Verdict {
    /// It becomes a connection, for which a place is kept under this number.
    Accepted {
        /// For [`crate::Engine::settle`].
        ticket: u64,
        /// The head of the 101.
        head: Vec<u8>,
    },
    /// All of the answer.
    Refused(Vec<u8>),
}

/// Where a verdict goes. Dropped, it is one: the server is about to stop, or the answer took too long.
pub(crate) struct VerdictReply {
    tell: Option<Box<dyn FnOnce(Verdict) + Send>>,
    otherwise: fn() -> Vec<u8>,
}

impl VerdictReply {
    pub(crate) fn new(tell: Box<dyn FnOnce(Verdict) + Send>, otherwise: fn() -> Vec<u8>) -> Self {
        VerdictReply {
            tell: Some(tell),
            otherwise,
        }
    }

    pub(crate) fn give(mut self, verdict: Verdict) {
        if let Some(tell) = self.tell.take() {
            tell(verdict);
        }
    }
}

impl Drop for VerdictReply {
    fn drop(&mut self) {
        if let Some(tell) = self.tell.take() {
            tell(Verdict::Refused((self.otherwise)()));
        }
    }
}

/// A socket, and what was read behind the request.
type Came = (Detached, Vec<u8>);

/// Each has a permit, and a task that waits: there are no more of them than connections may be.
#[derive(Default)]
pub(crate) struct Admitted(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    last: u64,
    places: HashMap<u64, oneshot::Sender<Came>>,
}

/// Ends the wait.
pub(crate) struct Kept<'a>(&'a Admitted, u64);

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        lock(&self.0.0).places.remove(&self.1);
    }
}

impl Admitted {
    /// A new place, and what comes there.
    pub(crate) fn open(&self) -> (u64, oneshot::Receiver<Came>) {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = lock(&self.0);
        waiting.last += 1;
        let ticket = waiting.last;
        waiting.places.insert(ticket, sender);
        (ticket, receiver)
    }

    /// The place is there as long as this is.
    pub(crate) fn kept(&self, ticket: u64) -> Kept<'_> {
        Kept(self, ticket)
    }

    /// False if nobody waits for it any more.
    pub(crate) fn settle(&self, ticket: u64, socket: Detached, read: Vec<u8>) -> bool {
        let place = lock(&self.0).places.remove(&ticket);
        place.is_some_and(|place| place.send((socket, read)).is_ok())
    }

    #[cfg(sim)]
    pub(crate) fn len(&self) -> usize {
        lock(&self.0).places.len()
    }
}
