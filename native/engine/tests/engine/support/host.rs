//! Processes that are channels.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use sockeye_engine::host::{Notice, ServerHost};
use sockeye_engine::inbox::{Left, ReadStep, Visit};
use sockeye_engine::{ConnId, Engine, Inbox, Notifier, ServerStats};
use sockeye_protocol::frame::Opcode;

use super::{Got, LONG, send};

struct Ring(Sender<()>);

impl Notifier for Ring {
    fn notify(&self) -> bool {
        self.0.send(()).is_ok()
    }
}

/// Whoever gets events.
pub trait Process {
    fn next(&mut self) -> (ConnId, Got);

    fn opened(&mut self) -> ConnId {
        match self.next() {
            (conn, Got::Open(_)) => conn,
            other => panic!("{other:?} and not open"),
        }
    }

    fn expect(&mut self, conn: ConnId, event: Got) {
        assert_eq!(self.next(), (conn, event));
    }
}

/// A handler process.
pub struct Puller {
    pub inbox: Arc<Inbox>,
    pub rings: Receiver<()>,
    engine: Arc<Engine>,
    queue: VecDeque<(ConnId, Got)>,
    more: bool,
    /// Says that a connection is answered when it comes upon its end, as a process does; otherwise the test does.
    pub answers: bool,
}

impl Puller {
    pub fn new(engine: &Arc<Engine>, limit: usize) -> Self {
        let (sender, rings) = channel();
        Puller {
            inbox: Inbox::new(limit, 0, Box::new(Ring(sender))),
            rings,
            engine: engine.clone(),
            queue: VecDeque::new(),
            more: false,
            answers: true,
        }
    }

    /// One call, as a process makes it: so many events and what is left.
    pub fn take(&mut self, max: usize) -> (Vec<(ConnId, Got)>, Left) {
        let mut events = Vec::new();
        let (left, shards) = self.inbox.drain(max, |conn, event, _| {
            events.push((conn, event.into()));
            Visit::Next
        });
        self.engine.resume(&self.inbox, shards);
        self.more = left == Left::More;
        (events, left)
    }

    /// Waits for the end of a connection and gives its messages, and the code.
    pub fn until_closed(&mut self, conn: ConnId) -> (Vec<Vec<u8>>, u16) {
        let mut messages = Vec::new();
        loop {
            match self.next() {
                (of, Got::Text(m) | Got::Binary(m)) if of == conn => messages.push(m),
                (of, Got::Closed(code, _)) if of == conn => return (messages, code),
                _ => {}
            }
        }
    }

    /// Sends everything back until nobody is left.
    pub fn echo(&mut self, mut open: usize) {
        while open > 0 {
            match self.next() {
                (conn, Got::Text(m)) => send(&self.engine, conn, Opcode::Text, &m).unwrap(),
                (conn, Got::Binary(m)) => send(&self.engine, conn, Opcode::Binary, &m).unwrap(),
                (_, Got::Closed(..)) => open -= 1,
                _ => {}
            }
        }
    }
}

impl Process for Puller {
    fn next(&mut self) -> (ConnId, Got) {
        loop {
            if let Some(event) = self.queue.pop_front() {
                if self.answers && matches!(event.1, Got::Closed(..) | Got::Ending) {
                    self.engine.answered(event.0);
                    if event.1 == Got::Ending {
                        continue;
                    }
                }
                return event;
            }
            if !self.more {
                self.rings.recv_timeout(LONG).expect("the notice");
            }
            let (events, _) = self.take(64);
            self.queue.extend(events);
        }
    }
}

/// A plain process, with a thread of its own that brings its events.
pub struct Mailbox {
    pub owner: Arc<Inbox>,
    pub batches: Receiver<Vec<(ConnId, Got)>>,
    engine: Arc<OnceLock<Weak<Engine>>>,
    queue: VecDeque<(ConnId, Got)>,
    /// Has answered at once what came before an end; otherwise the test says when, and sees the question.
    pub answers: Arc<AtomicBool>,
}

fn bring(
    inbox: &Arc<Inbox>,
    engine: Option<Arc<Engine>>,
    to: &Sender<Vec<(ConnId, Got)>>,
    answers: bool,
) {
    let mut dead = false;
    let mut ending = Vec::new();
    let served = inbox.serve(true, |batch, index| {
        let events = (index..batch.len()).filter_map(|i| batch.event(i));
        let mut events: Vec<(ConnId, Got)> =
            events.map(|(conn, event)| (conn, event.into())).collect();
        if answers {
            let asked = events.iter().filter(|(_, event)| *event == Got::Ending);
            ending.extend(asked.map(|(conn, _)| *conn));
            events.retain(|(_, event)| *event != Got::Ending);
        }
        dead = to.send(events).is_err();
        ReadStep::On(batch.len())
    });
    let (_, shards) = served.expect("nobody else brings them");
    if let Some(engine) = engine {
        if dead {
            engine.owner_died(inbox);
        }
        engine.resume(inbox, shards);
        for conn in ending {
            engine.answered(conn);
        }
    }
}

impl Mailbox {
    pub fn new() -> Self {
        let (ring, rings) = channel();
        let (sender, batches) = channel();
        let owner = Inbox::new(1 << 20, 0, Box::new(Ring(ring)));
        let engine = Arc::<OnceLock<Weak<Engine>>>::default();
        let (inbox, known) = (Arc::downgrade(&owner), engine.clone());
        let answers = Arc::new(AtomicBool::new(true));
        let answering = answers.clone();
        std::thread::spawn(move || {
            for () in rings {
                let Some(inbox) = inbox.upgrade() else { return };
                let engine = known.get().and_then(Weak::upgrade);
                bring(&inbox, engine, &sender, answering.load(Ordering::Relaxed));
            }
        });
        Mailbox {
            owner,
            batches,
            engine,
            queue: VecDeque::new(),
            answers,
        }
    }

    /// Its connections are of this engine.
    pub fn belongs_to(&self, engine: &Arc<Engine>) {
        let _ = self.engine.set(Arc::downgrade(engine));
    }

    /// Nothing has come. For use after an event that would have come later.
    pub fn is_empty(&mut self) -> bool {
        self.queue.extend(self.batches.try_iter().flatten());
        self.queue.is_empty()
    }
}

impl Process for Mailbox {
    fn next(&mut self) -> (ConnId, Got) {
        while self.queue.is_empty() {
            let batch = self.batches.recv_timeout(LONG).expect("a message");
            self.queue.extend(batch);
        }
        self.queue.pop_front().unwrap()
    }
}

/// The process that started a server.
pub struct Host {
    owner: Option<Arc<Inbox>>,
    stopped: Mutex<Sender<()>>,
}

impl Host {
    pub fn new(owner: Option<Arc<Inbox>>) -> (Self, Receiver<()>) {
        let (sender, stopped) = channel();
        let host = Host {
            owner,
            stopped: Mutex::new(sender),
        };
        (host, stopped)
    }
}

impl ServerHost for Host {
    fn owner(&self) -> Option<Arc<Inbox>> {
        self.owner.clone()
    }

    fn stopped(&self, _: &ServerStats) {
        let _ = self.stopped.lock().unwrap().send(());
    }

    fn event(&self, _: Notice) {}
}
