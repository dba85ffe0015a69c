//! A shard: one thread, one runtime, and its connections.

mod adopt;
pub(crate) mod conn;
pub(crate) mod deliver;
mod fanout;
pub(crate) mod handle;
pub mod op;
pub(crate) mod opened;
mod outbox;
pub(crate) mod run;
mod schedule;
pub(crate) mod slots;
mod subscribers;
mod turn;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use sockeye_protocol::Role;
use sockeye_protocol::deflate::Codecs;
use sockeye_protocol::frame::{self, Opcode};
use tokio::sync::Notify;

use crate::model::clock::steps;
use crate::model::compression::Compression;
use crate::model::give_back::GiveBack;
use crate::model::id::ConnId;
use crate::model::timers::{self, Timers};
use crate::net::lookups::Lookups;
use crate::net::upstream::Pool;
use crate::server::Server;
use crate::server::topics::Topic;
use crate::settings::config::{EngineConfig, Mode};
use crate::shard::conn::Conn;
use crate::shard::deliver::EventReceiver;
use crate::shard::handle::{Handle, ShardParts};
use crate::shard::op::{Control, Op, RowsReply};
use crate::shard::schedule::{Announcement, List, Schedule};
use crate::vm::inbox::Inbox;
use crate::world::collections::HashMap;
use crate::world::sync::atomic::Ordering;
use crate::world::task::{self, AbortHandle, TaskGroup};
use crate::world::time::Instant;
use subscribers::Subscribers;

/// Bytes that one read may bring. One buffer a shard, used by all its connections in turn.
const READ_BUFFER: usize = 128 * 1024;

/// Connections on a page of [`crate::Engine::rows`], and slots that are looked at for it: some 200 us.
const ROWS: usize = 500;
const SLOTS: usize = 10_000;

/// Something that waits until an inbox has been read up to here.
struct ReadMark {
    inbox: Arc<Inbox>,
    place: u64,
    announcement: Announcement,
}

/// Bytes that are read before there is a turn: what many processes are to have is not to be more than a cache holds
/// before the first of them runs.
const MUCH: usize = 1 << 20;

/// The state of a shard. It never leaves its thread.
pub(crate) struct Shard {
    pub(crate) handle: Arc<Handle>,
    pub(crate) config: EngineConfig,
    /// What the present turn has to do, and the next.
    pub(crate) schedule: Schedule<Rc<Conn>, Op, Control>,
    /// Connections that the sweep looks at with each step of the clock.
    pub(crate) watched: List<Rc<Conn>>,
    give_back: Rc<GiveBack>,
    /// Bytes that were read since the last turn.
    read: Cell<usize>,
    /// All shards, this one among them, in order.
    pub(crate) all: Arc<[Arc<Handle>]>,
    pub(crate) read_buffer: RefCell<Box<[u8]>>,
    pub(crate) scratch: RefCell<Vec<u8>>,
    pub(crate) codecs: RefCell<Codecs>,
    conns: RefCell<Vec<Option<Rc<Conn>>>>,
    /// Paths and the like, which many connections share.
    pub(crate) texts: conn::Texts,
    free: RefCell<Vec<u32>>,
    /// Connections that are known, by the server's serial.
    members: RefCell<HashMap<u64, Vec<Rc<Conn>>>>,
    /// Connections that have no receiver yet.
    pub(crate) unassigned: RefCell<Vec<Rc<Conn>>>,
    /// Connections that wait for room, by inbox.
    pub(crate) waiting: RefCell<HashMap<u64, VecDeque<Rc<Conn>>>>,
    /// What waits until an inbox has been read, by inbox.
    marks: RefCell<HashMap<u64, VecDeque<ReadMark>>>,
    pub(crate) subscribers: RefCell<Subscribers>,
    pub(crate) connection_tasks: TaskGroup<conn::Task>,
    /// Listeners and handshakes, with the server's serial.
    pub(crate) tasks: RefCell<HashMap<u64, (u64, AbortHandle)>>,
    next_task: Cell<u64>,
    /// Connections to web servers behind that wait for a request.
    pub(crate) upstreams: Rc<Pool>,
    pub(crate) lookups: Rc<Lookups>,
    /// Frames for many that are about to go to them.
    burst: RefCell<Option<fanout::Burst>>,
    /// A ping without content, as a server sends it.
    ping: outbox::Segment,
    start: Instant,
    clock: Cell<u32>,
    pub(crate) timers: Timers,
    pub(crate) sweep: Notify,
    pub(crate) end: Notify,
}

fn ping() -> outbox::Segment {
    let mut ping = Vec::with_capacity(2);
    frame::write(&mut ping, Opcode::Ping, b"", Role::Server.mask());
    outbox::Segment::copy_of(&ping)
}

impl Shard {
    pub(crate) fn new(
        parts: ShardParts,
        all: Arc<[Arc<Handle>]>,
        config: EngineConfig,
    ) -> Rc<Self> {
        let shard = Rc::new(Shard {
            schedule: Schedule::new(parts.ops, parts.controls, parts.handle.turn.clone()),
            handle: parts.handle,
            config,
            watched: List::default(),
            give_back: Rc::default(),
            read: Cell::new(0),
            all,
            read_buffer: RefCell::new(vec![0; READ_BUFFER].into_boxed_slice()),
            scratch: RefCell::default(),
            codecs: RefCell::default(),
            conns: RefCell::default(),
            texts: conn::Texts::default(),
            free: RefCell::default(),
            members: RefCell::default(),
            unassigned: RefCell::default(),
            waiting: RefCell::default(),
            marks: RefCell::default(),
            subscribers: RefCell::default(),
            connection_tasks: TaskGroup::default(),
            tasks: RefCell::default(),
            next_task: Cell::new(0),
            upstreams: Rc::default(),
            lookups: Rc::default(),
            burst: RefCell::default(),
            ping: ping(),
            start: Instant::now(),
            clock: Cell::new(1),
            timers: Timers::default(),
            sweep: Notify::new(),
            end: Notify::new(),
        });
        #[cfg(sim)]
        conn::census::enter(&shard);
        shard
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

    /// So many bytes have come or gone at once.
    #[inline]
    pub(crate) fn moved(&self, bytes: usize) {
        self.give_back.moved(bytes, self.config.give_back);
    }

    /// A connection has read so many bytes, and asked for a turn.
    pub(crate) fn note_read(&self, bytes: usize) {
        self.read.set(self.read.get().saturating_add(bytes));
    }

    /// Whether so much has been read that the turn is due before more is.
    pub(crate) fn has_read_much(&self) -> bool {
        self.read.get() >= MUCH
    }

    /// The turn is there: whether much has been read before it.
    pub(crate) fn take_read(&self) -> bool {
        self.read.take() >= MUCH
    }

    /// Makes sure that a turn follows what is ready now.
    pub(crate) fn schedule(&self) {
        self.schedule.request_turn();
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

    pub(crate) fn in_slot(&self, slot: u32) -> Option<Rc<Conn>> {
        self.conns.borrow().get(slot as usize)?.clone()
    }

    /// The topics and patterns of a connection.
    pub(crate) fn topics_of(&self, conn: ConnId) -> Vec<Vec<u8>> {
        let register = self.handle.register.open();
        let topics = register.topics_of(conn).iter();
        topics.map(|topic| topic.full_name()).collect()
    }

    /// See [`crate::Engine::rows`].
    pub(crate) fn rows(&self, server: &Server, from: u32, reply: RowsReply) {
        let conns = self.conns.borrow();
        let (mut rows, mut written, mut next) = (Vec::new(), 0, None);
        let slots = conns.iter().enumerate().skip(from as usize);
        for (looked, (slot, conn)) in slots.enumerate() {
            if written == ROWS || looked == SLOTS {
                next = Some(slot as u32);
                break;
            }
            let ours = conn.as_ref().filter(|conn| {
                conn.server.serial() == server.serial() && self.handle.slots.is_known(conn.id)
            });
            if let Some(conn) = ours {
                conn.write_row(self, &mut rows);
                written += 1;
            }
        }
        reply(&rows, next);
    }

    /// A slot that no connection has.
    pub(crate) fn next_slot(&self) -> u32 {
        let slot = self.free.borrow_mut().pop();
        slot.unwrap_or_else(|| self.conns.borrow().len() as u32)
    }

    /// Keeps a connection that has just got its slot.
    pub(crate) fn insert(&self, conn: &Rc<Conn>) {
        let slot = conn.id.slot() as usize;
        let mut conns = self.conns.borrow_mut();
        if slot == conns.len() {
            conns.push(None);
        }
        if let Some(place) = conns.get_mut(slot) {
            *place = Some(conn.clone());
        }
        let mut members = self.members.borrow_mut();
        let members = members.entry(conn.server.serial()).or_default();
        conn.member.set(members.len() as u32);
        members.push(conn.clone());
    }

    /// Lends the server's open connections here.
    pub(crate) fn with_members(&self, server: &Server, work: impl FnOnce(&[Rc<Conn>])) {
        let members = self.members.borrow();
        work(members.get(&server.serial()).map_or(&[], Vec::as_slice));
    }

    pub(crate) fn all_conns(&self) -> Vec<Rc<Conn>> {
        self.conns.borrow().iter().flatten().cloned().collect()
    }

    /// Nobody will read this inbox again.
    pub(crate) fn drop_waiting(&self, key: u64) {
        self.waiting.borrow_mut().remove(&key);
        self.check_marks(key);
    }

    /// The process of a receiver is to hear of its events.
    pub(crate) fn notify(&self, receiver: &EventReceiver) {
        if let Some(inbox) = receiver.inbox() {
            self.schedule.notify(inbox.clone());
        }
    }

    pub(crate) fn wait(&self, conn: &Rc<Conn>, receiver: &EventReceiver) {
        let Some(inbox) = receiver.inbox() else {
            return;
        };
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
            self.schedule.resume(inbox.key());
        }
    }

    /// Tells something when the plain process of a receiver has heard of what is in its inbox now.
    pub(crate) fn after_delivery(
        &self,
        server: &Server,
        receiver: &EventReceiver,
        announcement: Announcement,
    ) {
        let inbox = receiver
            .inbox()
            .filter(|_| server.config.mode == Mode::Owner);
        let Some(inbox) = inbox else {
            self.schedule.announce(announcement);
            return;
        };
        let mark = ReadMark {
            inbox: inbox.clone(),
            place: inbox.mark(),
            announcement,
        };
        let mut all = self.marks.borrow_mut();
        all.entry(inbox.key()).or_default().push_back(mark);
        drop(all);
        self.wait_for(inbox);
    }

    /// An inbox has been read, or never will be: what waited for that may be told.
    pub(crate) fn check_marks(&self, key: u64) {
        let Some(mut queue) = self.marks.borrow_mut().remove(&key) else {
            return;
        };
        while let Some(mark) = queue.pop_front() {
            if !mark.inbox.has_passed(mark.place) {
                let inbox = mark.inbox.clone();
                queue.push_front(mark);
                self.marks.borrow_mut().insert(key, queue);
                self.wait_for(&inbox);
                return;
            }
            self.schedule.announce(mark.announcement);
        }
    }

    /// The shard ends: nobody would tell it.
    pub(crate) fn announce_all(&self) {
        let all = std::mem::take(&mut *self.marks.borrow_mut());
        for mark in all.into_values().flatten() {
            self.schedule.announce(mark.announcement);
        }
    }

    /// The socket of a connection is gone. Told when its last event is with its owner, since
    /// after the last socket comes the news that the server has stopped.
    pub(crate) fn socket_gone(&self, server: &Arc<Server>, receiver: &EventReceiver) {
        self.after_delivery(server, receiver, Announcement::SocketGone(server.clone()));
    }

    /// The connection is to be looked at when the clock shows this.
    pub(crate) fn set_timer(&self, conn: &Conn, due: u32) {
        // Half of the clock's range stands for never.
        let due = if due < u32::MAX / 2 {
            due
        } else {
            timers::NEVER
        };
        if self.timers.set(conn.id.slot(), due) {
            self.sweep.notify_one();
        }
    }

    pub(crate) fn watch(&self, conn: &Rc<Conn>) {
        self.watched.push(conn.clone());
        self.sweep.notify_one();
    }

    /// The id of a connection names nothing from here on.
    pub(crate) fn release_id(&self, conn: &Rc<Conn>, receiver: &EventReceiver) {
        debug_assert!(self.handle.slots.is_known(conn.id), "released twice");
        self.handle.slots.close(conn.id);
        self.handle.open_messages.forget(conn.id);
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
            let end = Announcement::Disconnected(conn.server.clone(), conn.id);
            self.after_delivery(&conn.server, receiver, end);
        }
        self.unassigned
            .borrow_mut()
            .retain(|c| !Rc::ptr_eq(c, conn));
    }

    /// The slot of a connection is free.
    pub(crate) fn free_slot(&self, conn: &Rc<Conn>) {
        let slot = conn.id.slot();
        self.timers.set(slot, timers::NEVER);
        let place = self
            .conns
            .borrow_mut()
            .get_mut(slot as usize)
            .and_then(Option::take);
        debug_assert!(place.is_some_and(|c| Rc::ptr_eq(&c, conn)), "freed twice");
        self.free.borrow_mut().push(slot);
        self.give_back.connection_closed(self.config.give_back);
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
        let task = task::spawn_local(async move {
            // Not through `attend_to`, which would have the work in the task once more: the library moves a task several times.
            let mut work = pin!(work);
            let attended = poll_fn(|cx| {
                shard.schedule();
                work.as_mut().poll(cx)
            });
            attended.await;
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

    pub(crate) fn unsubscribe(&self, conn: ConnId, topic: &Topic) {
        self.subscribers.borrow_mut().remove(topic, conn);
    }

    /// The id of the connection names nothing any more: its subscriptions end, and who watches it
    /// is told.
    pub(crate) fn unsubscribe_all(&self, conn: &Conn) {
        let left = self.handle.register.remove(conn.id);
        for topic in &left.topics {
            self.unsubscribe(conn.id, topic);
            if conn.server.topics.leave(topic, self.handle.index) {
                conn.server.host.topic_left(&topic.full_name());
            }
        }
        for watcher in left.watchers {
            watcher(conn.id);
        }
    }
}
