//! The connections of HTTP/2 that some clients share, one after the other: behind GOAWAY there is a new one.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use sockeye_world::task;

use super::connection::Connection;
use super::shared::Shared;
use super::stream::Stream;
use crate::clients::endpoint::Endpoint;
use crate::model::ledger::SharedLedger;
use crate::plan::http2::Http2Plan;

/// How often a client tries again.
const TRIES: usize = 8;

/// The connections of one plan.
pub(in crate::clients) struct Pool {
    shared: Rc<Shared>,
    endpoint: Endpoint,
    /// A WebSocket has, see [`Stream::raced_goaway`].
    pub(in crate::clients) raced_goaway: Cell<bool>,
    all: RefCell<Vec<Rc<Connection>>>,
}

impl Pool {
    /// Starts the first one.
    pub(in crate::clients) fn start(
        number: usize,
        (plan, fair): (Http2Plan, bool),
        ledger: &SharedLedger,
        (places, users): (Vec<usize>, usize),
        endpoint: Endpoint,
    ) -> Rc<Self> {
        let shared = Shared {
            number,
            plan,
            fair,
            ledger: ledger.clone(),
            places,
            users: Cell::new(users),
        };
        let pool = Rc::new(Pool {
            shared: Rc::new(shared),
            endpoint,
            raced_goaway: Cell::new(false),
            all: RefCell::default(),
        });
        pool.connect();
        pool
    }

    fn connect(self: &Rc<Self>) -> Rc<Connection> {
        let mut all = self.all.borrow_mut();
        let connection = Connection::new(&self.shared, all.len());
        all.push(connection.clone());
        drop(all);
        let (me, runs) = (self.clone(), connection.clone());
        task::spawn_local(async move { runs.run(&me.endpoint).await });
        connection
    }

    /// Whether all connections have ended.
    pub(in crate::clients) fn is_over(&self) -> bool {
        self.all
            .borrow()
            .iter()
            .all(|connection| connection.is_over())
    }

    /// A client needs it no more.
    pub(in crate::clients) fn leave(&self) {
        let users = &self.shared.users;
        users.set(users.get() - 1);
        let all = self.all.borrow();
        all.iter()
            .for_each(|connection| connection.changed.notify_waiters());
    }

    /// Opens a stream.
    pub(in crate::clients) async fn begin(
        self: &Rc<Self>,
        fields: &[(&str, &str)],
        ends: bool,
    ) -> Option<Stream> {
        for _ in 0..TRIES {
            let last = self.all.borrow().last().cloned();
            let connection = match last {
                Some(last) if !last.got_goaway() => last,
                _ => self.connect(),
            };
            let stream = connection.open(fields, ends).await;
            if stream.is_some() || !connection.got_goaway() {
                return stream.map(|id| Stream::new(connection, id));
            }
        }
        None
    }

    /// Opens a stream and waits for the head of its response. What the server has not processed is requested once more, on another connection.
    pub(in crate::clients) async fn open(
        self: &Rc<Self>,
        fields: &[(&str, &str)],
    ) -> Option<Stream> {
        for _ in 0..TRIES {
            let stream = self.begin(fields, false).await?;
            let answered = stream.head().await.is_some();
            self.raced_goaway
                .set(self.raced_goaway.get() || stream.raced_goaway());
            if answered || !stream.is_unprocessed() {
                return answered.then_some(stream);
            }
        }
        None
    }
}
