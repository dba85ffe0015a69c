//! The state of a server that all shards share: its settings, counters and receivers.

mod addresses;
pub(crate) mod admitted;
mod answers;
pub(crate) mod broadcast;
mod client;
mod nested;
mod sockets;
pub mod topics;

use std::sync::Arc;

use sockeye_protocol::deflate::Tuning;

use crate::model::compression::Compression;
use crate::model::counters::ServerStats;
pub(crate) use crate::model::counters::{Counters, bump};
use crate::model::id::ConnId;
use crate::model::lock::lock;
use crate::model::log_interval::LogInterval;
use crate::model::refused::RefusedFor;
use crate::model::traffic::TrafficCounters;
use crate::server::addresses::Addresses;
use crate::server::admitted::Admitted;
use crate::server::client::ClientState;
pub(crate) use crate::server::sockets::{HeldBody, OpenAnswer, Permit};
use crate::server::topics::TopicTable;
use crate::settings::config::{Mode, ServerConfig};
use crate::settings::options::Rules;
use crate::vm::host::ServerHost;
use crate::vm::inbox::Inbox;
use crate::vm::question::Questions;
use crate::vm::stream::Streams;
use crate::world::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::world::sync::{Mutex, Notify};
use crate::world::task::AbortHandle;
use crate::world::{Numbers, unique};

/// Highest server number: the slot table keeps it in 24 bits beside the tag.
pub(crate) const MAX_SERVER: u32 = (1 << SERVER_BITS) - 1;
const SERVER_BITS: u32 = 24;

/// Connections that may wait for their handler process; then accepting waits too.
const UNATTACHED: usize = 1024;

static NEXT_SERIAL: Numbers = Numbers::new(0);

/// A server, as all shards see it.
pub struct Server {
    number: u32,
    /// Unlike the number, never used again.
    serial: u64,
    /// Settings, never changed.
    pub config: ServerConfig,
    /// What its connections live by unless told otherwise.
    pub(crate) rules: Rules,
    pub(crate) host: Box<dyn ServerHost>,
    pub(crate) counters: Counters,
    pub(crate) traffic: TrafficCounters,
    pub(crate) questions: Questions,
    streams: Streams,
    pub(crate) admitted: Admitted,
    pub(crate) topics: TopicTable,
    /// Where there are limits for each address.
    addresses: Option<Addresses>,
    workers: Box<[Mutex<Option<Arc<Inbox>>>]>,
    acceptor: Mutex<Option<Arc<Inbox>>>,
    /// The listening socket and every accepted one.
    sockets: AtomicUsize,
    /// Accepted sockets that are not closing: what `max_connections` bounds.
    permits: AtomicUsize,
    /// Bytes of requests' bodies: what `max_bodies_size` bounds.
    bodies: AtomicUsize,
    /// Connections that have got a worker, since the start.
    opened: AtomicUsize,
    /// Ends the task that accepts.
    listener: Mutex<Option<AbortHandle>>,
    draining: AtomicBool,
    stopping: AtomicBool,
    /// What its connections are closed with, when the shards have been told to stop it.
    told: Mutex<Option<(u16, Box<str>)>>,
    stop_asked: Notify,
    stopped: AtomicBool,
    /// The listening socket is open.
    listening: AtomicBool,
    /// That there are no descriptors for more.
    pub(crate) descriptor_notices: LogInterval,
    /// That there is no owner.
    pub(crate) owner_notices: LogInterval,
    /// What a client has of its own.
    client: Option<Box<ClientState>>,
    /// The server whose WebSockets come over this one's sockets.
    nested: Option<Arc<Server>>,
}

fn get(slot: &Mutex<Option<Arc<Inbox>>>) -> Option<Arc<Inbox>> {
    lock(slot).clone()
}

impl Server {
    pub(crate) fn new(
        number: u32,
        config: ServerConfig,
        nested: Option<Arc<Server>>,
        shards: usize,
        host: impl FnOnce(u64) -> Box<dyn ServerHost>,
    ) -> Self {
        let workers = match config.mode {
            Mode::Workers(n) => n,
            Mode::PerConnection | Mode::Owner => 0,
        };
        let is_client = config.dial.is_some();
        let listens = config.listens();
        let most = config.max_connections_per_address;
        let addresses = Addresses::new(most, config.connection_rate);
        let serial = unique(&NEXT_SERIAL);
        Server {
            number,
            rules: config.rules(),
            serial,
            config,
            host: host((serial << SERVER_BITS) | u64::from(number)),
            counters: Counters::default(),
            // A client has one connection at a time.
            traffic: TrafficCounters::new(if is_client { 1 } else { shards }),
            questions: Questions::default(),
            streams: Streams::default(),
            admitted: Admitted::default(),
            topics: TopicTable::default(),
            addresses,
            workers: (0..workers).map(|_| Mutex::new(None)).collect(),
            acceptor: Mutex::new(None),
            // The listening socket is one.
            sockets: AtomicUsize::new(usize::from(listens)),
            permits: AtomicUsize::new(0),
            bodies: AtomicUsize::new(0),
            opened: AtomicUsize::new(0),
            listener: Mutex::new(None),
            draining: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            told: Mutex::new(None),
            stop_asked: Notify::default(),
            stopped: AtomicBool::new(false),
            listening: AtomicBool::new(listens),
            descriptor_notices: LogInterval::default(),
            owner_notices: LogInterval::default(),
            client: is_client.then(Box::default),
            nested,
        }
    }

    /// The server's number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Names the server within this process: unlike its number, an id is never used again.
    pub fn id(&self) -> u64 {
        (self.serial << SERVER_BITS) | u64::from(self.number)
    }

    /// Names the server within this process, in order of their starts.
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// What the slot table keeps for each connection: the number, the caller's tag,
    /// and how the connection is compressed for.
    pub(crate) fn label(&self, compression: Compression) -> u32 {
        let tag = (self.config.tag & 0x0f) | (compression.to_bits() << 4);
        (u32::from(tag) << 24) | self.number
    }

    /// Counts that there was no process for a connection, or for a question.
    pub fn note_no_process(&self) {
        bump(&self.counters.no_process, 1);
    }

    /// Counts that a client got no connection.
    pub(crate) fn note_refused(&self, reason: RefusedFor) {
        self.counters.note_refused(reason);
    }

    /// The counters, but for the queues of connections: see [`crate::Engine::stats`].
    pub fn stats(&self) -> ServerStats {
        ServerStats {
            inbox_bytes: self.inbox_bytes(),
            frames_in: self.traffic.sum(|shard| &shard.frames_in),
            frames_out: self.traffic.sum(|shard| &shard.frames_out),
            bytes_in: self.traffic.sum(|shard| &shard.bytes_in),
            bytes_out: self.traffic.sum(|shard| &shard.bytes_out),
            ..self.counters.read()
        }
    }

    /// Whether it connects instead of listening.
    pub fn is_client(&self) -> bool {
        self.client.is_some()
    }

    /// The connection of a client, while there is one.
    pub fn client_conn(&self) -> Option<ConnId> {
        self.client.as_ref()?.conn()
    }

    /// What a client has of its own.
    pub(crate) fn client(&self) -> Option<&ClientState> {
        self.client.as_deref()
    }

    /// How to compress, where that was agreed on.
    pub fn tuning(&self) -> Tuning {
        let policy = self.config.deflate;
        policy.map(|policy| policy.tuning).unwrap_or_default()
    }

    /// Counts bytes that compression has saved.
    pub fn saved(&self, bytes: usize) {
        bump(&self.counters.saved, bytes as u64);
    }

    /// Connections that wait for a process of their own.
    pub fn unattached(&self) -> usize {
        self.counters.unattached.load(Ordering::Relaxed)
    }

    /// Bytes that wait for the handler processes of a pool.
    fn inbox_bytes(&self) -> u64 {
        let inboxes = self.workers.iter().filter_map(get);
        inboxes.map(|inbox| inbox.pending() as u64).sum()
    }

    /// Number of handler processes, 0 where there is no fixed number.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    pub(crate) fn set_worker(&self, slot: usize, inbox: &Arc<Inbox>) -> bool {
        self.put(self.workers.get(slot), inbox)
    }

    pub(crate) fn set_acceptor(&self, inbox: &Arc<Inbox>) -> bool {
        self.put(Some(&self.acceptor), inbox)
    }

    fn put(&self, slot: Option<&Mutex<Option<Arc<Inbox>>>>, inbox: &Arc<Inbox>) -> bool {
        let Some(slot) = slot else { return false };
        *lock(slot) = Some(inbox.clone());
        true
    }

    /// Takes a dead process's inbox out.
    pub(crate) fn remove_inbox(&self, inbox: &Inbox) {
        for slot in self.workers.iter().chain([&self.acceptor]) {
            let mut slot = lock(slot);
            if slot.as_ref().is_some_and(|i| i.key() == inbox.key()) {
                *slot = None;
            }
        }
    }

    /// The handler process of a connection: always the same one as long as it lives.
    pub(crate) fn next_worker(&self) -> Option<Arc<Inbox>> {
        let n = self.workers.len();
        // In turn. The slot would be no measure: where two servers get connections alternately, each has every other one.
        let first = self.opened.fetch_add(1, Ordering::Relaxed) % n.max(1);
        (0..n).find_map(|i| get(self.workers.get((first + i) % n)?))
    }

    /// Whether the handlers must see what there is before more connections come. The events of
    /// a connection besides its messages need no room in an inbox, and short-lived connections
    /// could fill it without end.
    pub(crate) fn is_overloaded(&self) -> bool {
        let full = |slot| get(slot).is_some_and(|inbox| inbox.is_overloaded());
        self.unattached() >= UNATTACHED || self.workers.iter().any(full)
    }

    pub(crate) fn acceptor(&self) -> Option<Arc<Inbox>> {
        get(&self.acceptor)
    }

    /// Takes no more connections; those that are there stay. [`ServerHost::unlistened`] tells
    /// when the port is free.
    pub fn drain(&self) {
        let mut listener = lock(&self.listener);
        self.draining.store(true, Ordering::SeqCst);
        if let Some(task) = listener.take() {
            task.abort();
        }
    }

    /// Whether it takes no more connections, since it is about to end.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst) || self.is_stopping()
    }

    /// The task that accepts, to be ended when the server drains.
    pub(crate) fn listens(&self, task: AbortHandle) {
        let mut listener = lock(&self.listener);
        if self.is_draining() {
            task.abort();
        } else {
            *listener = Some(task);
        }
    }

    /// The listening socket is closed.
    pub(crate) fn unlistened(&self) {
        self.listening.store(false, Ordering::SeqCst);
        self.host.unlistened();
        self.socket_closed();
    }

    /// Only the first caller has the shards told. Whoever returns from here knows that they have been: what it
    /// tells them next is behind that.
    pub(crate) fn begin_stop(&self, code: u16, reason: &str, tell_shards: impl FnOnce()) {
        let mut told = lock(&self.told);
        self.stopping.store(true, Ordering::SeqCst);
        self.stop_asked.notify_waiters();
        if told.is_none() {
            *told = Some((code, reason.into()));
            tell_shards();
        }
    }

    /// What a connection that comes while the server stops is closed with.
    pub(crate) fn last_word(&self) -> Option<(u16, Box<str>)> {
        // Without the lock for all who come before.
        self.is_stopping()
            .then(|| lock(&self.told).clone())
            .flatten()
    }

    /// Wakes those that wait for the server to stop.
    pub(crate) fn stop_asked(&self) -> &Notify {
        &self.stop_asked
    }

    /// What must be gone in the end, with its name.
    #[cfg(sim)]
    pub fn census(&self) -> Vec<(&'static str, usize)> {
        let load = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        vec![
            ("sockets", load(&self.sockets)),
            ("permits", load(&self.permits)),
            ("open", load(&self.counters.open)),
            ("unattached", load(&self.counters.unattached)),
            ("bodies", load(&self.bodies)),
            ("answering", load(&self.counters.answering)),
            ("sharing", load(&self.counters.sharing)),
            ("questions", self.questions.len()),
            ("streams", self.streams.len()),
            ("bytes of an answer", self.streams.waiting()),
            ("admitted", self.admitted.len()),
            ("topics", self.topics.all().len()),
            (
                "addresses",
                self.addresses.as_ref().map_or(0, Addresses::len),
            ),
        ]
    }

    /// Whether [`crate::Engine::stop_server`] was called.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Whether its port, or the file of its Unix socket, is taken.
    pub fn is_listening(&self) -> bool {
        self.listening.load(Ordering::SeqCst)
    }

    /// Whether its host was told that it has stopped.
    pub(crate) fn has_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Tells that the server has stopped, if so: once.
    pub(crate) fn check_stopped(&self) {
        if self.is_empty() {
            self.tell_stopped();
        }
    }

    fn tell_stopped(&self) {
        if self.is_stopping() && !self.stopped.swap(true, Ordering::SeqCst) {
            self.host.stopped(&self.stats());
        }
    }
}
