//! Processes of a virtual machine that does what the plan says: workers, acceptors, and plain owners.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sockeye_simulated_engine::active::SetActive;
use sockeye_simulated_engine::batch::Event;
use sockeye_simulated_engine::inbox::{Left, Visit};
use sockeye_simulated_engine::{Active, ConnId, Engine, Inbox, Mode, Notifier, Server};
use sockeye_world::{chance, draw, executor, on_executor, task, time, trace};

use crate::book::Shared;
use crate::pieces;
use crate::plan::Plan;
use crate::requests::Request;
use crate::wakeup::Wakeup;

struct InboxNotifier {
    wakeup: Arc<Wakeup>,
    /// The executor of processes, which may run at once.
    runs: usize,
}

impl Notifier for InboxNotifier {
    fn notify(&self) -> bool {
        if self.wakeup.is_dead() {
            return false;
        }
        self.wakeup.notify();
        sockeye_world::preempt(self.runs, 1, 8);
        true
    }
}

/// An event, kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    Open(String),
    Text(Vec<u8>),
    Other,
    Passive,
    Ending,
    Closed(u16),
}

impl From<&Event<'_>> for Got {
    fn from(event: &Event<'_>) -> Self {
        match event {
            Event::Open(info) => Got::Open(info.request.path().to_owned()),
            Event::Text(bytes) => Got::Text(bytes.to_vec()),
            Event::Binary(_) | Event::Ping(_) | Event::Pong(_) => Got::Other,
            Event::Passive => Got::Passive,
            Event::Ending => Got::Ending,
            Event::Closed(ended) => Got::Closed(ended.code),
        }
    }
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Crash,
    Normal,
}

/// The virtual machine.
pub(crate) struct Vm {
    pub(crate) engine: Arc<Engine>,
    pub(crate) server: Arc<Server>,
    pub(crate) book: Shared,
    pub(crate) plan: Rc<Plan>,
    /// Where processes run.
    pub(crate) runs: usize,
    /// The one who gets new connections.
    pub(crate) owner: Arc<Mutex<Option<Arc<Inbox>>>>,
    pub(crate) owners: RefCell<Vec<Arc<Inbox>>>,
    /// Clients of the engine's that live.
    pub(crate) diallers: Cell<usize>,
    /// No process misbehaves any more.
    pub(crate) calm: Cell<bool>,
}

impl Vm {
    pub(crate) fn new(
        engine: &Arc<Engine>,
        server: &Arc<Server>,
        book: &Shared,
        plan: &Rc<Plan>,
        runs: usize,
        owner: Arc<Mutex<Option<Arc<Inbox>>>>,
    ) -> Rc<Self> {
        Rc::new(Vm {
            engine: engine.clone(),
            server: server.clone(),
            book: book.clone(),
            plan: plan.clone(),
            runs,
            owner,
            owners: RefCell::default(),
            diallers: Cell::new(0),
            calm: Cell::new(false),
        })
    }

    /// Starts the processes of the server.
    pub(crate) fn start(self: &Rc<Self>) {
        match self.plan.mode {
            Mode::Workers(count) => {
                for slot in 0..count {
                    self.spawn(self.clone().worker(slot));
                }
            }
            Mode::PerConnection => self.spawn(self.clone().acceptor()),
            Mode::Owner => {
                self.spawn(self.clone().owner(true));
                self.spawn(self.clone().owner(false));
            }
        }
    }

    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        on_executor(self.runs, || task::spawn_local(work));
    }

    pub(crate) fn inbox(&self) -> (Arc<Inbox>, Arc<Wakeup>) {
        let wakeup = Arc::new(Wakeup::default());
        let ring = InboxNotifier {
            wakeup: wakeup.clone(),
            runs: self.runs,
        };
        let inbox = Inbox::new(self.plan.server.inbox_size, 0, Box::new(ring));
        (inbox, wakeup)
    }

    pub(crate) fn happens(&self, part: u64) -> bool {
        chance(part, 1000) && !self.calm.get()
    }

    pub(crate) async fn pause(&self) {
        if self.happens(self.plan.processes.pauses) {
            let pause = draw(self.plan.processes.pause);
            time::sleep(Duration::from_nanos(pause)).await;
        }
    }

    /// A message of a monitor takes a while.
    pub(crate) async fn a_while(&self) {
        time::sleep(Duration::from_nanos(draw(20_000_000))).await;
    }

    async fn worker(self: Rc<Self>, slot: usize) {
        loop {
            let (inbox, wakeup) = self.inbox();
            self.engine.set_worker(&self.server, slot, &inbox);
            let exit = self.serve(&inbox, &wakeup, None).await;
            self.die(&inbox, &wakeup, exit).await;
            self.a_while().await;
        }
    }

    /// A process is dead.
    pub(crate) async fn die(&self, inbox: &Arc<Inbox>, wakeup: &Wakeup, exit: Exit) {
        trace::note(&[10, inbox.key()], || format!("a process ends: {exit:?}"));
        wakeup.die();
        if exit == Exit::Crash {
            self.orphan(inbox);
        }
        self.a_while().await;
        self.orphan(inbox);
        if self.plan.mode == Mode::Owner {
            self.engine.owner_died(inbox);
        } else {
            self.engine.inbox_died(&self.server, inbox);
        }
    }

    /// Connections of this inbox lose their process.
    fn orphan(&self, inbox: &Inbox) {
        let mut book = self.book.open();
        for account in &mut book.accounts {
            account.orphaned |= account.inboxes.contains(&inbox.key());
        }
    }

    /// The process of the server, which starts one for each connection. With it the server would end.
    async fn acceptor(self: Rc<Self>) {
        let (inbox, wakeup) = self.inbox();
        self.engine.set_acceptor(&self.server, &inbox);
        loop {
            wakeup.notified().await;
            loop {
                let (events, left) = self.take(&inbox);
                for (conn, _) in events {
                    self.pause().await;
                    if !self.happens(self.plan.processes.missing) {
                        self.spawn(self.clone().own_process(conn));
                    } else if chance(1, 2) {
                        self.engine.no_process(conn);
                    }
                    // Else it dies while it starts, of which nobody tells.
                }
                if left == Left::Nothing {
                    break;
                }
            }
        }
    }

    /// The process of one connection.
    async fn own_process(self: Rc<Self>, conn: ConnId) {
        self.pause().await;
        let (inbox, wakeup) = self.inbox();
        if self.engine.attach(conn, &inbox).is_err() {
            return;
        }
        let exit = self.serve(&inbox, &wakeup, Some(conn)).await;
        self.die(&inbox, &wakeup, exit).await;
    }

    /// Fetches events as a process does: what has ended, and of which nothing stands before it, is answered at once.
    fn take(&self, inbox: &Arc<Inbox>) -> (Vec<(ConnId, Got)>, Left) {
        let mut events: Vec<(ConnId, Got)> = Vec::new();
        let mut answered = Vec::new();
        let (left, shards) = inbox.drain(self.plan.processes.batch, |conn, event, _| {
            let got = Got::from(&event);
            if let Got::Closed(_) = got {
                if events.iter().any(|(of, _)| *of == conn) {
                    events.push((conn, Got::Ending));
                } else {
                    answered.push(conn);
                }
            }
            events.push((conn, got));
            Visit::Next
        });
        events
            .iter()
            .for_each(|(conn, got)| self.note(inbox, *conn, got));
        self.engine.resume(inbox, shards);
        answered.iter().for_each(|conn| self.engine.answered(*conn));
        (events, left)
    }

    pub(crate) fn note(&self, inbox: &Inbox, conn: ConnId, got: &Got) {
        note(&self.book, &self.plan, inbox.key(), conn, got);
    }

    async fn serve(&self, inbox: &Arc<Inbox>, wakeup: &Wakeup, only: Option<ConnId>) -> Exit {
        loop {
            wakeup.notified().await;
            loop {
                let (events, left) = self.take(inbox);
                let mut requests = VecDeque::new();
                for (conn, got) in events {
                    if self.happens(self.plan.processes.crashes) {
                        return Exit::Crash;
                    }
                    self.pause().await;
                    if self.handle(conn, &got, &mut requests).await && only.is_some() {
                        return Exit::Normal;
                    }
                }
                self.carry_out(&mut requests).await;
                if left == Left::Nothing {
                    break;
                }
            }
        }
    }

    /// Handles an event. True if it was the last of its connection.
    pub(crate) async fn handle(
        &self,
        conn: ConnId,
        got: &Got,
        requests: &mut VecDeque<Request>,
    ) -> bool {
        if self.happens(self.plan.processes.meddles) {
            self.meddle(conn);
        }
        match got {
            Got::Text(text) => {
                let (replies, size) = (word(text, 2), word(text, 3));
                let client = self.book.client_of(conn).unwrap_or(usize::MAX);
                if text.starts_with(b"topic") {
                    self.book
                        .problem(format!("{conn:?} has sent a publication"));
                }
                let streams = self.plan.processes.streams;
                for _ in 0..replies {
                    match streams > 0 && self.happens(streams) {
                        true => pieces::push(self, conn, (client, size), requests),
                        false => requests.push_back(Request::Reply(conn, client, size)),
                    }
                }
                if self.plan.server.active == Active::Once {
                    requests.push_back(Request::Active(conn, SetActive::To(Active::Once)));
                }
                if self.happens(self.plan.processes.publishes) {
                    crate::meddle::publish(self, conn);
                }
                if self.happens(self.plan.processes.closes) {
                    requests.push_back(Request::Close(conn, 3000 + draw(3) as u16));
                }
            }
            Got::Other if self.plan.server.active == Active::Once => {
                requests.push_back(Request::Active(conn, SetActive::To(Active::Once)));
            }
            Got::Passive => {
                let credits = self.book.client_of(conn);
                let credits = credits.and_then(|client| self.book.of(client, |a| a.credits));
                if let Some(Some(left)) = credits
                    && left != 0
                {
                    self.book
                        .problem(format!("{conn:?} is passive with {left} credits"));
                }
                let more = 1 + draw(5) as i32;
                requests.push_back(Request::Active(conn, SetActive::Add(more)));
            }
            Got::Ending => {
                self.carry_out(requests).await;
                self.engine.answered(conn);
            }
            Got::Closed(_) => return true,
            Got::Open(_) => crate::meddle::subscribe(self, conn),
            Got::Other => {}
        }
        false
    }

    fn meddle(&self, conn: ConnId) {
        crate::meddle::meddle(self, conn);
    }
}

/// An event has come to a process, which the book knows by this key.
pub(crate) fn note(book: &Shared, plan: &Plan, key: u64, conn: ConnId, got: &Got) {
    trace::note(&[11, conn.as_u64(), kind(got)], || {
        format!("event of {conn:?}: {}", short(got))
    });
    if let Got::Open(path) = got {
        let client = match path.strip_prefix("/d") {
            // A client of the engine's keeps books of its own.
            Some(_) => book.enter_dialled(),
            None => path.trim_start_matches('/').parse().unwrap_or(usize::MAX),
        };
        let credits = match plan.server.active {
            Active::Count(n) => Some(i64::from(n)),
            Active::Once => Some(1),
            _ => None,
        };
        let first = book.of(client, |account| {
            account.opens += 1;
            account.conn = Some(conn);
            account.inboxes.push(key);
            account.credits = credits.filter(|_| !plan.server.control_frames);
            account.opens == 1
        });
        if first != Some(true) {
            book.problem(format!("{conn:?} is opened once more"));
        }
        return;
    }
    let Some(client) = book.client_of(conn) else {
        if plan.mode != Mode::PerConnection || *got != Got::Passive {
            book.problem(format!("{got:?} of {conn:?}, which is not open"));
        }
        return;
    };
    match got {
        Got::Text(text) => {
            let number = word(text, 1) as u64;
            if !crate::packer::is_whole(text, number) {
                book.problem(format!("message {number} of client {client} is another"));
            }
            book.received(client, number);
        }
        Got::Closed(code) => {
            let in_peace = !book.open().stopping;
            let again = book.of(client, |account| {
                account.closed += 1;
                account.closed_in_peace = in_peace;
                account.code = Some(*code);
                account.closed > 1
            });
            if again == Some(true) {
                book.problem(format!("client {client} is closed once more"));
            }
        }
        _ => {}
    }
}

/// A word of a message, as a number.
pub(crate) fn word(text: &[u8], at: usize) -> usize {
    let text = String::from_utf8_lossy(text);
    let word = text.split(' ').nth(at);
    word.and_then(|word| word.parse().ok())
        .unwrap_or(usize::MAX >> 1)
}

pub(crate) fn kind(got: &Got) -> u64 {
    match got {
        Got::Open(_) => 1,
        Got::Text(text) => 10 + text.len() as u64,
        Got::Other => 2,
        Got::Passive => 3,
        Got::Ending => 4,
        Got::Closed(code) => 1_000_000 + u64::from(*code),
    }
}

fn short(got: &Got) -> String {
    match got {
        Got::Text(text) => {
            let shown: String = String::from_utf8_lossy(text).chars().take(20).collect();
            format!("Text {shown:?} ({})", text.len())
        }
        other => format!("{other:?}"),
    }
}

/// Makes the executor of processes.
pub(crate) fn machine() -> usize {
    executor(sockeye_world::Order::Any)
}
