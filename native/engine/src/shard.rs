//! One thread, one runtime, and the connections that live there.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use sockeye_protocol::deflate::Codecs;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::appointments::{self, Appointments};
use crate::compression::Compression;
use crate::config::{EngineConfig, Mode};
use crate::conn::{Conn, Task};
use crate::crowd::Crowd;
use crate::deliver::Route;
use crate::front::Opened;
use crate::handle::{Handle, Parts};
use crate::id::ConnId;
use crate::inbox::Inbox;
use crate::lists::{Later, Lists};
use crate::op::{Control, Op};
use crate::server::{Seat, Server};
use crate::topics::Members;

/// Bytes that one read may bring. One buffer a shard, used by all its connections in turn.
const READ_BUFFER: usize = 128 * 1024;

/// The step of the clock that closes what has waited too long.
const TICK: Duration = Duration::from_millis(100);

/// A duration in steps of the shard's clock, never shorter than it.
pub(crate) fn ticks(duration: Duration) -> u32 {
    let ticks = duration.as_millis().div_ceil(TICK.as_millis()) + 1;
    ticks.min(u128::from(u32::MAX / 2)) as u32
}

/// What the clock shows so many milliseconds after it began.
pub(crate) fn steps(millis: u64) -> u32 {
    (millis / TICK.as_millis() as u64) as u32 + 1
}

/// Something that waits until an inbox has been read up to here.
struct Mark {
    inbox: Arc<Inbox>,
    place: u64,
    later: Later,
}

/// The state of a shard. It never leaves its thread.
pub(crate) struct Shard {
    pub(crate) handle: Arc<Handle>,
    pub(crate) config: EngineConfig,
    crowd: Rc<Crowd>,
    /// Bells have rung since it was called.
    pub(crate) rung: Cell<bool>,
    /// All shards, this one among them, in order.
    pub(crate) all: Arc<[Arc<Handle>]>,
    pub(crate) read_buffer: RefCell<Box<[u8]>>,
    pub(crate) scratch: RefCell<Vec<u8>>,
    pub(crate) codecs: RefCell<Codecs>,
    pub(crate) ops: Receiver<Op>,
    pub(crate) controls: Receiver<Control>,
    pub(crate) lists: Lists,
    conns: RefCell<Vec<Option<Rc<Conn>>>>,
    free: RefCell<Vec<u32>>,
    /// Connections that are known, by the server's serial.
    members: RefCell<HashMap<u64, Vec<Rc<Conn>>>>,
    /// Connections that have no receiver yet.
    unrouted: RefCell<Vec<Rc<Conn>>>,
    /// Connections that wait for room, by inbox.
    waiting: RefCell<HashMap<u64, VecDeque<Rc<Conn>>>>,
    /// What waits until an inbox has been read, by inbox.
    later: RefCell<HashMap<u64, VecDeque<Mark>>>,
    pub(crate) subscribers: RefCell<Members>,
    /// Listeners and handshakes, with the server's serial.
    pub(crate) tasks: RefCell<HashMap<u64, (u64, AbortHandle)>>,
    next_task: Cell<u64>,
    due: Cell<bool>,
    start: Instant,
    clock: Cell<u32>,
    appointments: Appointments,
    pub(crate) sweep: Notify,
    pub(crate) end: Notify,
}

impl Shard {
    pub(crate) fn new(parts: Parts, all: Arc<[Arc<Handle>]>, config: EngineConfig) -> Rc<Self> {
        Rc::new(Shard {
            handle: parts.handle,
            config,
            crowd: Rc::default(),
            rung: Cell::new(false),
            all,
            read_buffer: RefCell::new(vec![0; READ_BUFFER].into_boxed_slice()),
            scratch: RefCell::default(),
            codecs: RefCell::default(),
            ops: parts.ops,
            controls: parts.controls,
            lists: Lists::default(),
            conns: RefCell::default(),
            free: RefCell::default(),
            members: RefCell::default(),
            unrouted: RefCell::default(),
            waiting: RefCell::default(),
            later: RefCell::default(),
            subscribers: RefCell::default(),
            tasks: RefCell::default(),
            next_task: Cell::new(0),
            due: Cell::new(false),
            start: Instant::now(),
            clock: Cell::new(1),
            appointments: Appointments::default(),
            sweep: Notify::new(),
            end: Notify::new(),
        })
    }

    /// The shard's clock, in steps of 100 ms. It starts at 1: 0 stands for never.
    pub(crate) fn now(&self) -> u32 {
        steps(self.millis())
    }

    /// The shard's clock in milliseconds.
    pub(crate) fn millis(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    /// The shard's clock as it was when the turn began or the shard woke: what comes in between
    /// need not ask for the time each.
    pub(crate) fn clock(&self) -> u32 {
        if self.handle.slept.load(Ordering::Relaxed) {
            self.handle.slept.store(false, Ordering::Relaxed);
            self.clock.set(self.now());
        }
        self.clock.get()
    }

    /// Makes sure that a turn follows what is ready now.
    pub(crate) fn schedule(&self) {
        if !self.due.replace(true) {
            self.handle.turn.notify_one();
        }
    }

    pub(crate) fn turn_begins(&self) {
        self.handle.slept.store(true, Ordering::Relaxed);
        self.due.set(false);
    }

    /// The connection that had this name, as long as there is something of it.
    pub(crate) fn find(&self, id: ConnId) -> Option<Rc<Conn>> {
        let conns = self.conns.borrow();
        let conn = conns.get(id.slot() as usize)?.as_ref()?;
        (conn.id == id).then(|| conn.clone())
    }

    /// The open connection of this name.
    pub(crate) fn conn(&self, id: ConnId) -> Option<Rc<Conn>> {
        let conns = self.conns.borrow();
        let conn = conns.get(id.slot() as usize)?.as_ref()?;
        (conn.id == id && self.handle.slots.is_known(id)).then(|| conn.clone())
    }

    fn in_slot(&self, slot: u32) -> Option<Rc<Conn>> {
        self.conns.borrow().get(slot as usize)?.clone()
    }

    /// Lends the server's open connections here.
    pub(crate) fn with_members(&self, server: &Server, work: impl FnOnce(&[Rc<Conn>])) {
        let members = self.members.borrow();
        work(members.get(&server.serial()).map_or(&[], Vec::as_slice));
    }

    pub(crate) fn everyone(&self) -> Vec<Rc<Conn>> {
        self.conns.borrow().iter().flatten().cloned().collect()
    }

    /// Takes in a socket whose handshake is done, with the bytes that followed it.
    pub(crate) fn adopt(self: &Rc<Self>, seat: Seat, mut opened: Opened) -> Option<ConnId> {
        let mut rest = std::mem::take(&mut opened.rest);
        let slot = self.free.borrow_mut().pop();
        let slot = slot.unwrap_or_else(|| self.conns.borrow().len() as u32);
        let own = opened.options.send_queue_size;
        let limit = own.unwrap_or(seat.server.config.send_queue_size);
        let label = seat.server.label(Compression::of(
            opened.info.deflate,
            seat.server.config.role(),
        ));
        let id = self
            .handle
            .slots
            .open(self.handle.index, slot, limit, label);
        // None with sixteen million connections: the socket is dropped.
        let id = id?;
        let server = seat.hand_over(opened.info.visitor.peer.ip());
        server.note_conn(id);
        let conn = Conn::new(id, server.clone(), opened, self.millis());
        {
            let mut conns = self.conns.borrow_mut();
            if slot as usize == conns.len() {
                conns.push(None);
            }
            if let Some(place) = conns.get_mut(slot as usize) {
                *place = Some(conn.clone());
            }
            let mut members = self.members.borrow_mut();
            let members = members.entry(server.serial()).or_default();
            conn.member.set(members.len() as u32);
            members.push(conn.clone());
        }
        server.counters.open.fetch_add(1, Ordering::Relaxed);
        if matches!(conn.compression, Compression::Shared(_)) {
            server.counters.sharing.fetch_add(1, Ordering::Relaxed);
        }
        crate::server::bump(&server.counters.accepted, 1);
        conn.begin(self);
        self.route(&conn);
        if !rest.is_empty() {
            conn.receive(self, &mut rest);
        }
        tokio::task::spawn_local(Task {
            conn,
            shard: self.clone(),
        });
        Some(id)
    }

    /// Finds the receiver of a new connection, or lets it wait for one.
    fn route(self: &Rc<Self>, conn: &Rc<Conn>) {
        let server = &conn.server;
        match server.config.mode {
            Mode::Owner => match server.host.owner() {
                Some(inbox) => conn.set_route(self, Route::to(inbox)),
                None => conn.orphan(self, "no owner"),
            },
            Mode::Workers(_) => match server.worker_for(conn.id) {
                Some(inbox) => conn.set_route(self, Route::to(inbox)),
                None => self.unrouted.borrow_mut().push(conn.clone()),
            },
            Mode::PerConnection => {
                conn.await_process(self);
                self.announce_or_wait(conn);
            }
        }
    }

    /// Asks for a process for this connection, now or when somebody is there to ask.
    pub(crate) fn announce_or_wait(&self, conn: &Rc<Conn>) {
        if !self.announce(conn) {
            self.unrouted.borrow_mut().push(conn.clone());
        }
    }

    fn announce(&self, conn: &Rc<Conn>) -> bool {
        let Some(inbox) = conn.server.acceptor() else {
            return false;
        };
        let inbox_key = inbox.key();
        inbox.announces();
        let mut filler = inbox.fill();
        let done = filler.event(|batch| batch.push_passive(conn.id));
        let ring = filler.finish();
        if ring {
            self.lists.inboxes.push(inbox);
            self.schedule();
        }
        let done = done == crate::inbox::Pushed::Done;
        if done {
            conn.announced_to(inbox_key);
        }
        done
    }

    /// A handler process of the server is ready: those that waited for one go to it.
    pub(crate) fn worker_ready(self: &Rc<Self>, server: &Server) {
        let all = std::mem::take(&mut *self.unrouted.borrow_mut());
        for conn in all {
            if conn.server.serial() != server.serial() {
                self.unrouted.borrow_mut().push(conn);
            } else if server.config.mode == Mode::PerConnection {
                self.announce_or_wait(&conn);
            } else if self.handle.slots.is_known(conn.id) {
                self.route(&conn);
            }
        }
    }

    pub(crate) fn attach(self: &Rc<Self>, id: ConnId, inbox: Arc<Inbox>) {
        if let Some(conn) = self.conn(id) {
            conn.set_route(self, Route::to(inbox));
        }
    }

    /// Nobody will read this inbox again.
    pub(crate) fn drop_waiting(&self, key: u64) {
        self.waiting.borrow_mut().remove(&key);
        self.look_again(key);
    }

    pub(crate) fn touch(&self, route: &Route) {
        if let Some(inbox) = route.inbox() {
            self.lists.inboxes.push(inbox.clone());
            self.schedule();
        }
    }

    pub(crate) fn wait(&self, conn: &Rc<Conn>, route: &Route) {
        let Some(inbox) = route.inbox() else { return };
        self.waiting
            .borrow_mut()
            .entry(inbox.key())
            .or_default()
            .push_back(conn.clone());
        self.wait_for(inbox);
    }

    /// [`Shard::resume`] is called when the inbox has been read.
    fn wait_for(&self, inbox: &Inbox) {
        if inbox.wait(self.handle.index) {
            self.lists.resumable.push(inbox.key());
            self.schedule();
        }
    }

    /// Tells something when the plain process of a route has heard of what is in its inbox now.
    pub(crate) fn when_heard(&self, server: &Server, route: &Route, later: Later) {
        let inbox = route.inbox().filter(|_| server.config.mode == Mode::Owner);
        let Some(inbox) = inbox else {
            self.lists.heard.push(later);
            self.schedule();
            return;
        };
        let mark = Mark {
            inbox: inbox.clone(),
            place: inbox.mark(),
            later,
        };
        let mut all = self.later.borrow_mut();
        all.entry(inbox.key()).or_default().push_back(mark);
        drop(all);
        self.wait_for(inbox);
    }

    /// An inbox has been read, or never will be: what waited for that may be told.
    fn look_again(&self, key: u64) {
        let Some(mut queue) = self.later.borrow_mut().remove(&key) else {
            return;
        };
        while let Some(mark) = queue.pop_front() {
            if !mark.inbox.has_passed(mark.place) {
                let inbox = mark.inbox.clone();
                queue.push_front(mark);
                self.later.borrow_mut().insert(key, queue);
                self.wait_for(&inbox);
                return;
            }
            self.lists.heard.push(mark.later);
            self.schedule();
        }
    }

    /// The shard ends: nobody would tell it.
    fn tell_all(&self) {
        let all = std::mem::take(&mut *self.later.borrow_mut());
        for mark in all.into_values().flatten() {
            self.lists.heard.push(mark.later);
        }
    }

    /// Lets those that wait for room in this inbox go on, the longest wait first. Who has had
    /// its share and waits again stands behind those that have had nothing.
    pub(crate) fn resume(&self, key: u64) {
        self.look_again(key);
        let queue = self.waiting.borrow_mut().remove(&key);
        let mut served = Vec::new();
        for conn in queue.into_iter().flatten() {
            if conn.resume(self)
                && let Some(queue) = self.waiting.borrow_mut().get_mut(&key)
                && queue.back().is_some_and(|last| Rc::ptr_eq(last, &conn))
            {
                served.extend(queue.pop_back());
            }
        }
        if !served.is_empty() {
            let mut waiting = self.waiting.borrow_mut();
            waiting.entry(key).or_default().extend(served);
        }
    }

    /// The socket of a connection is gone. Told when its last event is with its owner, since
    /// after the last socket comes the news that the server has stopped.
    pub(crate) fn left(&self, server: &Arc<Server>, route: &Route) {
        self.when_heard(server, route, Later::Left(server.clone()));
    }

    pub(crate) fn orphan_later(&self, conn: &Rc<Conn>) {
        self.lists.orphans.push(conn.clone());
        self.schedule();
    }

    pub(crate) fn soiled(&self, conn: &Rc<Conn>) {
        self.lists.soiled.push(conn.clone());
        self.schedule();
    }

    /// The connection is to be looked at when the clock shows this.
    pub(crate) fn appoint(&self, conn: &Conn, due: u32) {
        // Half of the clock's range stands for never.
        let due = if due < u32::MAX / 2 {
            due
        } else {
            appointments::NEVER
        };
        if self.appointments.set(conn.id.slot(), due) {
            self.sweep.notify_one();
        }
    }

    pub(crate) fn watch(&self, conn: &Rc<Conn>) {
        self.lists.watched.push(conn.clone());
        self.sweep.notify_one();
    }

    /// The id of a connection names nothing from here on.
    pub(crate) fn forget(&self, conn: &Rc<Conn>, route: &Route) {
        self.handle.slots.close(conn.id);
        self.handle.streams.forget(conn.id);
        self.unsubscribe_all(conn);
        conn.server.counters.open.fetch_sub(1, Ordering::Relaxed);
        if matches!(conn.compression, Compression::Shared(_)) {
            conn.server.counters.sharing.fetch_sub(1, Ordering::Relaxed);
        }
        let mut members = self.members.borrow_mut();
        let serial = conn.server.serial();
        if let Some(list) = members.get_mut(&serial) {
            let place = conn.member.get() as usize;
            if list.get(place).is_some_and(|c| Rc::ptr_eq(c, conn)) {
                list.swap_remove(place);
                if let Some(moved) = list.get(place) {
                    moved.member.set(place as u32);
                }
            }
            if list.is_empty() {
                members.remove(&serial);
            }
        }
        drop(members);
        if conn.server.is_client() {
            let later = Later::Parted(conn.server.clone(), conn.id);
            self.when_heard(&conn.server, route, later);
        }
        self.unrouted.borrow_mut().retain(|c| !Rc::ptr_eq(c, conn));
    }

    /// The slot of a connection is free.
    pub(crate) fn retire(&self, conn: &Rc<Conn>) {
        let slot = conn.id.slot();
        self.appointments.set(slot, appointments::NEVER);
        if let Some(place) = self.conns.borrow_mut().get_mut(slot as usize) {
            *place = None;
        }
        self.free.borrow_mut().push(slot);
        self.crowd.one_left(self.config.after_crowd);
    }

    /// Runs a task of a server that ends with it.
    pub(crate) fn spawn_for(
        self: &Rc<Self>,
        server: &Server,
        work: impl Future<Output = ()> + 'static,
    ) -> AbortHandle {
        let number = self.next_task.get();
        self.next_task.set(number + 1);
        let shard = self.clone();
        let task = tokio::task::spawn_local(async move {
            shard.attend_to(work).await;
            shard.tasks.borrow_mut().remove(&number);
        });
        let task = task.abort_handle();
        self.tasks
            .borrow_mut()
            .insert(number, (server.serial(), task.clone()));
        task
    }

    /// Does work that may keep the shard running, with a turn whenever it goes on: as long as a
    /// shard runs, other threads rely on it to look at what they ask.
    pub(crate) async fn attend_to<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let next = poll_fn(|cx| {
            self.schedule();
            work.as_mut().poll(cx)
        });
        next.await
    }

    pub(crate) async fn sweeper(self: Rc<Self>) {
        loop {
            while self.lists.watched.len() == 0 {
                let woken = self.sweep.notified();
                let steps = match self.appointments.earliest() {
                    appointments::NEVER => {
                        woken.await;
                        continue;
                    }
                    due => due.saturating_sub(self.now() + 1),
                };
                if steps == 0 || tokio::time::timeout(TICK * steps, woken).await.is_err() {
                    break;
                }
            }
            tokio::time::sleep(TICK).await;
            let now = self.now();
            for slot in self.appointments.take(now) {
                let Some(conn) = self.in_slot(slot) else {
                    continue;
                };
                let look = std::panic::AssertUnwindSafe(|| conn.attend(&self));
                let _ = std::panic::catch_unwind(look);
            }
            for _ in 0..self.lists.watched.len() {
                let Some(conn) = self.lists.watched.pop() else {
                    break;
                };
                let look = std::panic::AssertUnwindSafe(|| conn.sweep(&self, now));
                if std::panic::catch_unwind(look).unwrap_or(false) {
                    self.lists.watched.push(conn);
                }
            }
        }
    }

    pub(crate) async fn turns(self: Rc<Self>) {
        loop {
            self.handle.turn.notified().await;
            let work = std::panic::AssertUnwindSafe(|| self.turn());
            if std::panic::catch_unwind(work).is_err() {
                // What the turn had left to do is still on the lists.
                self.schedule();
            }
        }
    }
}

/// Threads of a shard that may wait for a disk or a resolver at once; more of that waits for them. They end when there is
/// nothing to do.
const BLOCKING: usize = 32;

/// Runs a shard until it is told to end. The first result tells whether it could start.
pub(crate) fn run(
    parts: Parts,
    all: Arc<[Arc<Handle>]>,
    config: EngineConfig,
    started: &dyn Fn(io::Result<()>),
) {
    let before = parts.handle.clone();
    let after = parts.handle.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(BLOCKING)
        .on_thread_park(move || before.before_park())
        .on_thread_unpark(move || after.after_park())
        .build_local(Default::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(e) => return started(Err(e)),
    };
    runtime.block_on(async {
        let shard = Shard::new(parts, all, config);
        tokio::task::spawn_local(shard.clone().turns());
        tokio::task::spawn_local(shard.clone().sweeper());
        started(Ok(()));
        shard.end.notified().await;
        for conn in shard.everyone() {
            conn.abort(&shard);
        }
        // Callers that wait are told. Each panic has used up something of what is left to do.
        let last = || {
            shard.turn();
            while !shard.ops.is_empty() {
                shard.turn();
            }
            shard.tell_all();
            shard.turn();
        };
        while std::panic::catch_unwind(std::panic::AssertUnwindSafe(last)).is_err() {}
    });
    // The system may take its time to look up a host.
    runtime.shutdown_background();
}
