//! The link's end in the VM: who writes to it and who reads from it, for all processes of the node.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sockeye_simulated_engine::ConnId;
use sockeye_simulated_port::packets::Incoming;
use sockeye_simulated_port::simulated::CREDIT;
use sockeye_world::net::TcpStream;
use sockeye_world::{chance, draw, on_executor, task, time, trace};
use tokio::sync::Notify;

use super::mail::{Answer, Mail, Process, Waiting};
use super::terms::{conn_term, failures, reply_of};
use crate::book::Shared;
use crate::http::answerer::Gone;
use crate::plan::Plan;
use crate::sections::{Section, parse};
use crate::terms::{Term, atom, bytes, list, process, tuple};

pub(super) const CALL: u8 = 1;
pub(super) const COMMANDS: u8 = 2;
const DOWN: u8 = 3;
const CAST: u8 = 5;
const PING: u8 = 6;
pub(super) const FRAME: u8 = 7;
pub(super) const PUBLISH: u8 = 10;

/// Beyond so many bytes that have not been written, who gives more waits.
const ROOM: usize = 64 * 1024;

struct Known {
    process: u32,
    host: u64,
    /// Who gets what is for it.
    to: Option<Rc<Process>>,
    is_courier: bool,
}

pub(super) struct Machine {
    pub(super) book: Shared,
    pub(super) plan: Rc<Plan>,
    pub(super) runs: usize,
    pub(super) stream: Arc<TcpStream>,
    /// Sections that processes have given.
    pub(super) out: RefCell<VecDeque<(u32, u8, Vec<u8>)>>,
    pub(super) unwritten: Cell<usize>,
    /// Bytes of all commands: those that are refused come back.
    pub(super) commanded: Cell<usize>,
    pub(super) given: Notify,
    pub(super) written: Notify,
    ids: RefCell<BTreeMap<u64, Known>>,
    alive: RefCell<BTreeMap<u32, Rc<Process>>>,
    processes: Cell<u32>,
    calls: RefCell<BTreeMap<u16, Rc<Waiting>>>,
    called: Cell<u16>,
    grants: RefCell<BTreeMap<u64, i64>>,
    /// Batches of an Id that have not been acknowledged.
    unacknowledged: RefCell<BTreeMap<u64, u8>>,
    /// It is not pinged any more.
    pub(super) is_ending: Cell<bool>,
    pub(super) pinged: Cell<u64>,
    pub(super) ponged: Cell<u64>,
    /// The owner of the server's connections, where it is named.
    pub(super) named: Cell<Option<u32>>,
    pub(super) owners: RefCell<Vec<u32>>,
    /// Processes that have a courier.
    pub(super) served: RefCell<BTreeSet<u32>>,
    /// Clients of the engine's that are not done.
    pub(super) diallers: Cell<usize>,
    /// Answers in pieces.
    pub(super) gone: Gone,
    /// The link is no more.
    pub(super) lost: Cell<bool>,
    /// No process misbehaves any more.
    pub(super) calm: Cell<bool>,
}

impl Machine {
    pub(super) fn new(book: &Shared, plan: &Rc<Plan>, runs: usize, stream: TcpStream) -> Rc<Self> {
        Rc::new(Machine {
            book: book.clone(),
            plan: plan.clone(),
            runs,
            stream: Arc::new(stream),
            out: RefCell::default(),
            unwritten: Cell::new(0),
            commanded: Cell::new(0),
            given: Notify::new(),
            written: Notify::new(),
            ids: RefCell::default(),
            alive: RefCell::default(),
            processes: Cell::new(0),
            calls: RefCell::default(),
            called: Cell::new(0),
            grants: RefCell::default(),
            unacknowledged: RefCell::default(),
            is_ending: Cell::new(false),
            pinged: Cell::new(0),
            ponged: Cell::new(0),
            named: Cell::new(None),
            owners: RefCell::default(),
            served: RefCell::default(),
            diallers: Cell::new(0),
            gone: Gone::default(),
            lost: Cell::new(false),
            calm: Cell::new(false),
        })
    }

    pub(super) fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        on_executor(self.runs, || task::spawn_local(work));
    }

    pub(super) fn happens(&self, part: u64) -> bool {
        chance(part, 1000) && !self.calm.get()
    }

    pub(super) async fn pause(&self) {
        if self.happens(self.plan.processes.pauses) {
            let pause = draw(self.plan.processes.pause);
            time::sleep(Duration::from_nanos(pause)).await;
        }
    }

    /// A message of a monitor takes a while.
    pub(super) async fn a_while(&self) {
        time::sleep(Duration::from_nanos(draw(20_000_000))).await;
    }

    /// A new process.
    pub(super) fn process(&self) -> Rc<Process> {
        let number = self.processes.get() + 1;
        self.processes.set(number);
        let process = Rc::new(Process::new(number));
        self.alive.borrow_mut().insert(number, process.clone());
        process
    }

    /// All that live hear this behind what they have been sent.
    pub(super) fn stop_all(&self) {
        for process in self.alive.borrow().values() {
            process.put(Mail::Stop);
        }
    }

    /// Ends a process at once.
    pub(super) async fn kill(&self, number: u32) {
        let process = self.alive.borrow().get(&number).cloned();
        if let Some(process) = process {
            self.die(&process).await;
        }
    }

    /// It is dead: the engine hears of that behind all that it has said.
    pub(super) async fn die(&self, process: &Process) {
        self.alive.borrow_mut().remove(&process.number);
        self.a_while().await;
        let ids = self.ids.borrow();
        let of = |(id, known): (&u64, &Known)| (known.process == process.number).then_some(*id);
        let dead: Vec<_> = ids.iter().filter_map(of).collect();
        drop(ids);
        dead.into_iter().for_each(|id| self.say_dead(id));
    }

    fn say_dead(&self, id: u64) {
        let Some(known) = self.ids.borrow_mut().remove(&id) else {
            return;
        };
        self.unacknowledged.borrow_mut().remove(&id);
        if known.is_courier {
            known.to.inspect(|courier| courier.put(Mail::Stop));
        }
        // Who dies after its server made no mistake.
        let host = self.ids.borrow().get(&known.host).map(|h| h.process);
        if host.is_some_and(|host| !self.alive.borrow().contains_key(&host)) {
            self.say_dead(known.host);
        }
        self.post(known.process, DOWN, id.to_be_bytes().to_vec());
    }

    // ------------------------------------------------------------ to the engine

    /// Gives a section to the writer.
    pub(super) fn post(&self, by: u32, kind: u8, body: Vec<u8>) {
        if self.lost.get() {
            return;
        }
        trace::note(&[64, by.into(), kind.into(), body.len() as u64], || {
            format!(
                "process {by} gives a section of kind {kind} ({})",
                body.len()
            )
        });
        self.unwritten.set(self.unwritten.get() + body.len());
        self.out.borrow_mut().push_back((by, kind, body));
        self.given.notify_one();
    }

    /// Waits while much has not been written.
    pub(super) async fn room(&self) {
        while self.unwritten.get() > ROOM && !self.lost.get() {
            self.written.notified().await;
        }
    }

    /// Commands of a process, and how many batches are acknowledged with them.
    pub(super) fn commands(&self, by: u32, id: u64, acks: u8, commands: &mut Vec<(ConnId, Term)>) {
        let mut body = id.to_be_bytes().to_vec();
        body.push(acks);
        let max = if chance(1, 8) { 1 + draw(64) as u16 } else { 0 };
        body.extend_from_slice(&max.to_be_bytes());
        if !commands.is_empty() {
            let (mut heads, mut terms) = (Vec::new(), Vec::new());
            for (conn, frame) in commands.drain(..) {
                let text = frame.tuple().ok().filter(|parts| parts[0].is("text"));
                match text {
                    Some(parts) if chance(3, 4) => {
                        heads.extend_from_slice(&conn.as_u64().to_be_bytes());
                        heads.push(2);
                        terms.push(parts[1].clone());
                    }
                    _ => {
                        heads.extend_from_slice(&[0; 9]);
                        terms.push(conn_term(conn));
                        terms.push(frame);
                    }
                }
            }
            body.extend_from_slice(&(heads.len() as u32).to_be_bytes());
            body.extend_from_slice(&heads);
            body.extend_from_slice(&bytes(&list(terms)));
        }
        if acks > 0
            && let Some(count) = self.unacknowledged.borrow_mut().get_mut(&id)
        {
            *count -= acks;
        }
        self.commanded.set(self.commanded.get() + body.len());
        self.post(by, COMMANDS, body);
    }

    /// A message that goes without a question, if there is a grant for it.
    pub(super) fn take_grant(&self, by: u32, conn: ConnId, frame: &Term, len: usize) -> bool {
        let mut grants = self.grants.borrow_mut();
        let Some(left) = grants.get_mut(&conn.as_u64()) else {
            return false;
        };
        *left -= len as i64 + 14;
        if *left < 0 {
            *left = -1;
            return false;
        }
        drop(grants);
        let mut body = conn.as_u64().to_be_bytes().to_vec();
        body.extend(bytes(frame));
        self.post(by, FRAME, body);
        true
    }

    pub(super) fn cast(&self, by: u32, function: &str, args: Vec<Term>) {
        let call = tuple(vec![process(by), atom(function), list(args)]);
        self.post(by, CAST, bytes(&call));
    }

    pub(super) async fn call(&self, by: u32, function: &str, args: Vec<Term>) -> Answer {
        if self.lost.get() {
            return Answer::Gone;
        }
        self.called.set(self.called.get().wrapping_add(1));
        let from = self.called.get();
        let waiting = Rc::new(Waiting::default());
        self.calls.borrow_mut().insert(from, waiting.clone());
        self.book.open().asked += 1;
        trace::note(&[67, from.into()], || {
            format!("process {by} calls {function}: {from}")
        });
        let mut body = vec![0, 2];
        body.extend_from_slice(&from.to_be_bytes());
        let call = tuple(vec![process(by), atom(function), list(args)]);
        body.extend(bytes(&call));
        self.post(by, CALL, body);
        loop {
            let answer = waiting.answer.take();
            if let Some(answer) = answer {
                return answer;
            }
            waiting.news.notified().await;
        }
    }

    /// Pings once a second, as long as the link is there.
    pub(super) async fn ping(self: Rc<Self>) {
        while !self.lost.get() && !self.is_ending.get() {
            self.pinged.set(self.pinged.get() + 1);
            self.post(0, PING, self.pinged.get().to_be_bytes().to_vec());
            let pause = if self.plan.fair { 60 } else { 10 };
            time::sleep(Duration::from_secs(pause)).await;
        }
    }

    // ------------------------------------------------------------ from the engine

    /// Reads until the end of the link.
    pub(super) async fn read(self: Rc<Self>) {
        let mut incoming = Incoming::default();
        loop {
            match self.stream.read_some(64 << 10).await {
                // Who has hung up hears no more.
                Ok(bytes) if !bytes.is_empty() && !self.lost.get() => incoming.room().extend(bytes),
                _ => break,
            }
            let taken = incoming.sections(|kind, body| {
                self.came(parse(kind, body));
                Ok(())
            });
            if let Err(broken) = taken {
                self.book
                    .problem(format!("the engine says nonsense: {broken:?}"));
                break;
            }
        }
        trace::note(&[60], || "the link has ended".into());
        self.lose();
    }

    /// The engine is gone: who waits for it hears of that.
    pub(super) fn lose(&self) {
        if self.lost.replace(true) {
            return;
        }
        for (_, waiting) in std::mem::take(&mut *self.calls.borrow_mut()) {
            *waiting.answer.borrow_mut() = Some(Answer::Gone);
            waiting.news.notify_one();
            self.book.open().answered += 1;
        }
        self.stop_all();
        for known in self.ids.borrow().values().filter(|known| known.is_courier) {
            known.to.as_ref().inspect(|courier| courier.put(Mail::Stop));
        }
        self.written.notify_waiters();
    }

    fn to(&self, id: u64) -> Option<Rc<Process>> {
        self.ids.borrow().get(&id)?.to.clone()
    }

    fn came(self: &Rc<Self>, section: Section) {
        match section {
            Section::Batch { id, events, .. } => {
                trace::note(&[61, id, events.len() as u64], || {
                    let kinds: Vec<_> = events
                        .iter()
                        .map(|(_, e)| crate::process::kind(&super::handler::got(e)))
                        .collect();
                    format!("a batch of {} for {id}: {kinds:?}", events.len())
                });
                let Some(process) = self.to(id) else { return };
                let mut all = self.unacknowledged.borrow_mut();
                let count = all.entry(id).or_insert(0);
                *count += 1;
                if *count > CREDIT {
                    self.book
                        .problem(format!("{count} batches are on their way to {id}"));
                }
                process.put(Mail::Batch(id, events));
            }
            Section::Answer(from, answer) => {
                trace::note(&[65, from.into()], || format!("an answer to call {from}"));
                let waiting = self.calls.borrow_mut().remove(&from);
                let Some(waiting) = waiting else {
                    self.book
                        .problem(format!("an answer to nobody: {answer:?}"));
                    return;
                };
                self.book.open().answered += 1;
                let value = match answer.tuple() {
                    Ok([tag, value]) if tag.is("return") => Answer::Value(value.clone()),
                    _ => Answer::Raised,
                };
                *waiting.answer.borrow_mut() = Some(value);
                waiting.news.notify_one();
            }
            Section::Message(id, term) => {
                trace::note(&[66, id], || format!("a message for {id}"));
                self.refusals(&term);
                if let Some(process) = self.to(id) {
                    process.put(Mail::Term(term));
                } else if id == 0 {
                    self.whereis(&term);
                }
            }
            Section::Watch(id, whom) => self.watch(id, &whom),
            Section::Unwatch(id) => {
                let known = self.ids.borrow_mut().remove(&id);
                let known = known.filter(|known| known.is_courier);
                known
                    .and_then(|known| known.to)
                    .inspect(|courier| courier.put(Mail::Stop));
            }
            Section::Pong(n) => {
                if n > self.pinged.get() || n != self.ponged.get() + 1 {
                    self.book
                        .problem(format!("pong {n} behind {}", self.ponged.get()));
                }
                self.ponged.set(n);
            }
            Section::Grant(conn, 0) => {
                self.grants.borrow_mut().remove(&conn);
            }
            Section::Grant(conn, bytes) => {
                self.grants.borrow_mut().insert(conn, bytes.into());
            }
        }
    }

    /// Replies among commands that were not taken. Their process may be dead.
    fn refusals(&self, term: &Term) {
        for (_, frame, _) in failures(term) {
            let Some((client, number, _)) = reply_of(frame) else {
                continue;
            };
            self.book.refused(client, number);
        }
    }

    /// Connections of this process lose it.
    pub(super) fn orphan(&self, process: u32) {
        let mut book = self.book.open();
        for account in &mut book.accounts {
            account.orphaned |= account.inboxes.contains(&process.into());
        }
    }

    /// Grants that the VM counts on.
    pub(super) fn granted(&self) -> usize {
        self.grants.borrow().len()
    }

    fn watch(self: &Rc<Self>, id: u64, whom: &Term) {
        let Ok([role, Term::Process(pid), Term::Integer(host)]) = whom.tuple() else {
            self.book
                .problem(format!("nobody is to be watched: {whom:?}"));
            return;
        };
        let number = pid
            .len()
            .checked_sub(12)
            .and_then(|at| pid[at..].first_chunk());
        let number = u32::from_be_bytes(*number.unwrap_or(&[0; 4]));
        let process = self.alive.borrow().get(&number).cloned();
        let is_courier = role.is("plain") || role.is("plain_batch");
        let to = match (&process, is_courier) {
            (Some(owner), true) => Some(super::owner::courier(self, owner.clone(), id)),
            (process, _) => process.clone(),
        };
        let host = *host as u64;
        let known = Known {
            process: number,
            host,
            to,
            is_courier,
        };
        self.ids.borrow_mut().insert(id, known);
        if process.is_none() {
            self.say_dead(id);
        }
    }

    /// Who has the name of an owner.
    fn whereis(&self, term: &Term) {
        let Ok([_, server, _, conn]) = term.tuple() else {
            self.book
                .problem(format!("a question that is none: {term:?}"));
            return;
        };
        let owner = self
            .alive
            .borrow()
            .values()
            .find(|p| Some(p.number) == self.named.get())
            .map(|p| p.number);
        let owner = owner.map_or_else(|| atom("none"), process);
        self.cast(0, "owner_is", vec![server.clone(), conn.clone(), owner]);
    }
}
