//! The connections of HTTP/2 to one server that some clients share, one after the other: a server may say that it takes no more streams.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use sockeye_world::task;

use super::Stream;
use super::carrier::Carrier;
use super::plan::CarrierPlan;
use crate::book::Shared;
use crate::door::Door;

/// How often a client tries it anew.
const TRIES: usize = 8;

/// Connections of a plan.
pub(crate) struct Pool {
    pub(super) number: usize,
    pub(super) plan: CarrierPlan,
    pub(super) fair: bool,
    pub(super) book: Shared,
    door: Door,
    /// Their places in the book.
    pub(super) places: Vec<usize>,
    /// Clients that may still come, or have a stream.
    pub(super) users: Cell<usize>,
    /// A WebSocket was, see [`Stream::has_crossed`].
    pub(crate) crossed: Cell<bool>,
    all: RefCell<Vec<Rc<Carrier>>>,
}

impl Pool {
    /// Starts the first one.
    pub(crate) fn start(
        number: usize,
        plan: CarrierPlan,
        fair: bool,
        book: &Shared,
        (places, users): (Vec<usize>, usize),
        door: Door,
    ) -> Rc<Self> {
        let pool = Rc::new(Pool {
            number,
            plan,
            fair,
            book: book.clone(),
            door,
            users: Cell::new(users),
            places,
            crossed: Cell::new(false),
            all: RefCell::default(),
        });
        pool.connect();
        pool
    }

    fn connect(self: &Rc<Self>) -> Rc<Carrier> {
        let mut all = self.all.borrow_mut();
        let carrier = Carrier::new(self, all.len());
        all.push(carrier.clone());
        drop(all);
        let (me, lives) = (self.clone(), carrier.clone());
        task::spawn_local(async move { lives.run(&me.door).await });
        carrier
    }

    /// Whether all have come to their end.
    pub(crate) fn is_over(&self) -> bool {
        self.all.borrow().iter().all(|carrier| carrier.is_over())
    }

    /// One of those that use it has come to its end.
    pub(crate) fn leave(&self) {
        self.users.set(self.users.get() - 1);
        let all = self.all.borrow();
        all.iter().for_each(|carrier| carrier.news.notify_waiters());
    }

    /// Opens a stream.
    pub(crate) async fn begin(
        self: &Rc<Self>,
        fields: &[(&str, &str)],
        ends: bool,
    ) -> Option<Stream> {
        for _ in 0..TRIES {
            let last = self.all.borrow().last().cloned();
            let carrier = match last {
                Some(last) if !last.goes_away() => last,
                _ => self.connect(),
            };
            let stream = carrier.open(fields, ends).await;
            if stream.is_some() || !carrier.goes_away() {
                return stream;
            }
        }
        None
    }

    /// Opens a stream whose head is answered. What the server has not looked at is said once more, on another connection.
    pub(crate) async fn open(self: &Rc<Self>, fields: &[(&str, &str)]) -> Option<Stream> {
        for _ in 0..TRIES {
            let stream = self.begin(fields, false).await?;
            let answered = stream.head().await.is_some();
            self.crossed.set(self.crossed.get() || stream.has_crossed());
            if answered || !stream.was_not_seen() {
                return answered.then_some(stream);
            }
        }
        None
    }
}
