//! The node: processes of the VM, and what all of them send over the link to the engine.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sockeye_simulated_engine::ConnId;
use sockeye_world::net::TcpStream;
use sockeye_world::{chance, draw, on_executor, task, time, trace};
use tokio::sync::Notify;

use super::process::{Answer, Message, Process, Waiting};
use super::terms::conn_term;
use crate::model::ledger::SharedLedger;
use crate::plan::Plan;
use crate::terms::{Term, atom, bytes, list, process, tuple};
use crate::vm::behaviour::Behaviour;
use crate::vm::left_clients::LeftClients;

pub(super) const CALL: u8 = 1;
pub(super) const COMMANDS: u8 = 2;
const DOWN: u8 = 3;
const CAST: u8 = 5;
const PING: u8 = 6;
pub(super) const FRAME: u8 = 7;
pub(super) const PUBLISH: u8 = 10;

/// Processes wait while more bytes than this have not been written.
const ROOM: usize = 64 * 1024;

/// A process that the engine has named by an Id, and watches.
pub(super) struct Watched {
    pub(super) process: u32,
    /// The Id of the process that has started its server.
    pub(super) host: u64,
    /// Who gets what is sent to the Id: the process, or its delivery process.
    pub(super) receiver: Option<Rc<Process>>,
    pub(super) is_delivery: bool,
}

pub(super) struct Node {
    pub(super) ledger: SharedLedger,
    pub(super) plan: Rc<Plan>,
    /// The executor of its processes.
    executor: usize,
    pub(super) stream: Arc<TcpStream>,
    /// Sections that are to be written: by whom, their kind and their content.
    pub(super) out: RefCell<VecDeque<(u32, u8, Vec<u8>)>>,
    /// Bytes that have not been written.
    pub(super) unwritten: Cell<usize>,
    /// Bytes of all commands: the engine returns those that it refuses.
    pub(super) command_bytes: Cell<usize>,
    /// There is a section to write.
    pub(super) has_output: Notify,
    /// Something was written.
    pub(super) written: Notify,
    pub(super) watched: RefCell<BTreeMap<u64, Watched>>,
    pub(super) alive: RefCell<BTreeMap<u32, Rc<Process>>>,
    last_process: Cell<u32>,
    /// Calls without an answer.
    pub(super) calls: RefCell<BTreeMap<u16, Rc<Waiting>>>,
    last_call: Cell<u16>,
    /// Bytes that may be sent without a call, by connection.
    pub(super) grants: RefCell<BTreeMap<u64, i64>>,
    /// Batches of an Id that have not been acknowledged.
    pub(super) unacknowledged: RefCell<BTreeMap<u64, u8>>,
    /// The engine is not pinged any more.
    pub(super) pings_end: Cell<bool>,
    pub(super) pinged: Cell<u64>,
    pub(super) ponged: Cell<u64>,
    /// The process that has the registered name of the owner.
    pub(super) named: Cell<Option<u32>>,
    pub(super) owners: RefCell<Vec<u32>>,
    /// Processes that have a delivery process.
    pub(super) has_delivery: RefCell<BTreeSet<u32>>,
    /// The engine's own clients that have not come to their end.
    pub(super) engine_clients_running: Cell<usize>,
    /// Clients of responses in pieces.
    pub(super) left_clients: LeftClients,
    /// The link has ended.
    pub(super) is_closed: Cell<bool>,
    pub(super) behaviour: Behaviour,
}

impl Node {
    pub(super) fn new(
        ledger: &SharedLedger,
        plan: &Rc<Plan>,
        executor: usize,
        stream: TcpStream,
    ) -> Rc<Self> {
        Rc::new(Node {
            ledger: ledger.clone(),
            plan: plan.clone(),
            executor,
            stream: Arc::new(stream),
            out: RefCell::default(),
            unwritten: Cell::new(0),
            command_bytes: Cell::new(0),
            has_output: Notify::new(),
            written: Notify::new(),
            watched: RefCell::default(),
            alive: RefCell::default(),
            last_process: Cell::new(0),
            calls: RefCell::default(),
            last_call: Cell::new(0),
            grants: RefCell::default(),
            unacknowledged: RefCell::default(),
            pings_end: Cell::new(false),
            pinged: Cell::new(0),
            ponged: Cell::new(0),
            named: Cell::new(None),
            owners: RefCell::default(),
            has_delivery: RefCell::default(),
            engine_clients_running: Cell::new(0),
            left_clients: LeftClients::default(),
            is_closed: Cell::new(false),
            behaviour: Behaviour::new(plan.processes),
        })
    }

    pub(super) fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        on_executor(self.executor, || task::spawn_local(work));
    }

    /// A new process.
    pub(super) fn process(&self) -> Rc<Process> {
        let number = self.last_process.get() + 1;
        self.last_process.set(number);
        let process = Rc::new(Process::new(number));
        self.alive.borrow_mut().insert(number, process.clone());
        process
    }

    /// Tells all processes to stop, behind what they have been sent.
    pub(super) fn stop_all(&self) {
        for process in self.alive.borrow().values() {
            process.put(Message::Stop);
        }
    }

    /// Ends a process at once.
    pub(super) async fn kill(&self, number: u32) {
        let process = self.alive.borrow().get(&number).cloned();
        if let Some(process) = process {
            self.die(&process).await;
        }
    }

    /// A process dies: the engine is told behind all that the process has sent.
    pub(super) async fn die(&self, process: &Process) {
        self.alive.borrow_mut().remove(&process.number);
        self.behaviour.monitor_delay().await;
        let ids = self.watched.borrow();
        let of = |(id, known): (&u64, &Watched)| (known.process == process.number).then_some(*id);
        let dead: Vec<_> = ids.iter().filter_map(of).collect();
        drop(ids);
        dead.into_iter().for_each(|id| self.send_down(id));
    }

    pub(super) fn send_down(&self, id: u64) {
        let Some(known) = self.watched.borrow_mut().remove(&id) else {
            return;
        };
        self.unacknowledged.borrow_mut().remove(&id);
        if known.is_delivery {
            known
                .receiver
                .inspect(|delivery| delivery.put(Message::Stop));
        }
        // Where the process that has started the server is dead as well, its death is told first.
        let host = self.watched.borrow().get(&known.host).map(|h| h.process);
        if host.is_some_and(|host| !self.alive.borrow().contains_key(&host)) {
            self.send_down(known.host);
        }
        self.post(known.process, DOWN, id.to_be_bytes().to_vec());
    }

    /// Gives a section to the writer.
    pub(super) fn post(&self, by: u32, kind: u8, body: Vec<u8>) {
        if self.is_closed.get() {
            return;
        }
        trace::note(&[64, by.into(), kind.into(), body.len() as u64], || {
            format!(
                "process {by} sends a section of kind {kind} ({})",
                body.len()
            )
        });
        self.unwritten.set(self.unwritten.get() + body.len());
        self.out.borrow_mut().push_back((by, kind, body));
        self.has_output.notify_one();
    }

    /// Waits while too much has not been written.
    pub(super) async fn wait_for_room(&self) {
        while self.unwritten.get() > ROOM && !self.is_closed.get() {
            self.written.notified().await;
        }
    }

    /// Sends commands of a process, and acknowledges so many batches with them.
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
        self.command_bytes
            .set(self.command_bytes.get() + body.len());
        self.post(by, COMMANDS, body);
    }

    /// Sends a message without a call, if there is a grant for it.
    pub(super) fn send_on_grant(&self, by: u32, conn: ConnId, frame: &Term, len: usize) -> bool {
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

    /// Calls something that has no answer.
    pub(super) fn cast(&self, by: u32, function: &str, args: Vec<Term>) {
        let call = tuple(vec![process(by), atom(function), list(args)]);
        self.post(by, CAST, bytes(&call));
    }

    /// Calls something, and waits for the answer.
    pub(super) async fn call(&self, by: u32, function: &str, args: Vec<Term>) -> Answer {
        if self.is_closed.get() {
            return Answer::Gone;
        }
        self.last_call.set(self.last_call.get().wrapping_add(1));
        let from = self.last_call.get();
        let waiting = Rc::new(Waiting::default());
        self.calls.borrow_mut().insert(from, waiting.clone());
        self.ledger.lock().questions_asked += 1;
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
            waiting.changed.notified().await;
        }
    }

    /// Pings the engine as long as the link is there.
    pub(super) async fn ping(self: Rc<Self>) {
        while !self.is_closed.get() && !self.pings_end.get() {
            self.pinged.set(self.pinged.get() + 1);
            self.post(0, PING, self.pinged.get().to_be_bytes().to_vec());
            let pause = if self.plan.fair { 60 } else { 10 };
            time::sleep(Duration::from_secs(pause)).await;
        }
    }

    /// The link has ended: those that wait for an answer are told.
    pub(super) fn link_ended(&self) {
        if self.is_closed.replace(true) {
            return;
        }
        for (_, waiting) in std::mem::take(&mut *self.calls.borrow_mut()) {
            *waiting.answer.borrow_mut() = Some(Answer::Gone);
            waiting.changed.notify_one();
            self.ledger.lock().questions_answered += 1;
        }
        self.stop_all();
        for known in self
            .watched
            .borrow()
            .values()
            .filter(|known| known.is_delivery)
        {
            known
                .receiver
                .as_ref()
                .inspect(|delivery| delivery.put(Message::Stop));
        }
        self.written.notify_waiters();
    }

    /// Connections of this process lose it.
    pub(super) fn note_death(&self, process: u32) {
        let mut ledger = self.ledger.lock();
        for record in &mut ledger.records {
            record.receiver_died |= record.inboxes.contains(&process.into());
        }
    }

    /// Grants that the VM counts on.
    pub(super) fn granted(&self) -> usize {
        self.grants.borrow().len()
    }
}
