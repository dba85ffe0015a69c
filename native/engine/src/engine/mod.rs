//! The whole: shards, servers, and what the virtual machine may ask of them.

mod adopt;
mod backlog;
mod clients;
mod list;
mod topics;

use std::hash::BuildHasher;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::accept::bind;
use crate::accept::listener;
use crate::model::backlog::Done;
use crate::model::compression::{Compression, Home};
use crate::model::counters::ServerStats;
use crate::model::error::SendError;
use crate::model::id::ConnId;
use crate::model::lock::lock;
use crate::model::pieces::{Piece, StreamError, Undo};
use crate::net::peer::Peer;
use crate::server::topics::Audience;
use crate::server::{MAX_SERVER, Server, bump};
use crate::settings::config::{EngineConfig, ServerConfig};
use crate::shard::handle::{Handle, ShardParts};
use crate::shard::op::{Command, ConnectionsReply, Control, Frames, Op, RowsReply, StatsReply};
use crate::shard::run;
use crate::vm::host::ServerHost;
use crate::vm::inbox::Inbox;
use crate::world::collections::RandomState;
use crate::world::sync::atomic::{AtomicBool, Ordering};
use crate::world::sync::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use crate::world::thread::{self, Thread};
use crate::world::time::Instant;
use sockeye_protocol::Kind;

/// The number in a server's id.
fn number_of(id: u64) -> usize {
    (id & u64::from(MAX_SERVER)) as usize
}

/// How long [`Engine::stop`] waits for clients to answer close frames.
const STOP_WAIT: Duration = Duration::from_millis(500);

/// A running engine.
pub struct Engine {
    shards: Arc<[Arc<Handle>]>,
    servers: RwLock<Vec<Option<Arc<Server>>>>,
    threads: Mutex<Vec<Thread>>,
    stopping: AtomicBool,
}

/// What [`Engine::stop`] left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopReport {
    /// Threads that had not ended in time.
    pub stuck: usize,
}

impl Engine {
    /// Starts the threads.
    pub fn start(config: EngineConfig) -> io::Result<Arc<Self>> {
        let random = RandomState::default();
        let parts: Vec<_> = (0..config.shards)
            .map(|i| Handle::make(i, random.hash_one(i) as u32))
            .collect();
        let shards: Arc<[_]> = parts.iter().map(|p| p.handle.clone()).collect();
        let engine = Arc::new(Engine {
            shards: shards.clone(),
            servers: RwLock::default(),
            threads: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        for part in parts {
            if let Err(e) = engine.start_shard(part, &config) {
                engine.stop();
                return Err(e);
            }
        }
        Ok(engine)
    }

    /// One whose shards the caller runs.
    #[cfg(loom)]
    pub(crate) fn without_threads(shards: usize) -> (Arc<Self>, Vec<ShardParts>) {
        let parts: Vec<_> = (0..shards).map(|index| Handle::make(index, 1)).collect();
        let engine = Engine {
            shards: parts.iter().map(|part| part.handle.clone()).collect(),
            servers: RwLock::new(Vec::new()),
            threads: Mutex::new(Vec::new()),
            stopping: AtomicBool::new(false),
        };
        (Arc::new(engine), parts)
    }

    fn start_shard(&self, parts: ShardParts, config: &EngineConfig) -> io::Result<()> {
        let thread = run::start(parts, self.shards.clone(), *config)?;
        lock(&self.threads).push(thread);
        Ok(())
    }

    fn servers(&self) -> RwLockReadGuard<'_, Vec<Option<Arc<Server>>>> {
        self.servers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn servers_mut(&self) -> RwLockWriteGuard<'_, Vec<Option<Arc<Server>>>> {
        self.servers.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes every connection with 1001 and ends the threads. Takes a second at most.
    pub fn stop(&self) -> StopReport {
        let deadline = Instant::now() + 2 * STOP_WAIT;
        if !self.stopping.swap(true, Ordering::SeqCst) {
            let servers: Vec<_> = self.all_servers();
            for server in &servers {
                self.stop_server(server, 1001, "engine stopped");
            }
            let wait_end = Instant::now() + STOP_WAIT;
            while servers.iter().any(|s| !s.is_empty()) && Instant::now() < wait_end {
                thread::sleep(Duration::from_millis(2));
            }
            for shard in self.shards.iter() {
                shard.control(Control::Shutdown);
            }
        }
        let mut threads = std::mem::take(&mut *lock(&self.threads));
        while !threads.is_empty() && Instant::now() < deadline {
            threads = threads
                .into_iter()
                .filter_map(|thread| {
                    if thread.is_finished() {
                        thread.join();
                        return None;
                    }
                    Some(thread)
                })
                .collect();
            if !threads.is_empty() {
                thread::sleep(Duration::from_millis(1));
            }
        }
        StopReport {
            stuck: threads.len(),
        }
    }

    /// Whether [`Engine::stop`] was called.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Number of shards.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// All servers that have not been removed.
    pub fn all_servers(&self) -> Vec<Arc<Server>> {
        self.servers().iter().flatten().cloned().collect()
    }

    /// Starts a server and says where it listens, if it does. `host` is told the server's number before
    /// anything can happen to the server, and must not call the engine.
    pub fn listen(
        &self,
        config: ServerConfig,
        host: impl FnOnce(u64) -> Box<dyn ServerHost>,
    ) -> io::Result<(Arc<Server>, Option<Peer>)> {
        let bound = bind::bind(&config)?;
        let listens_at = bound.as_ref().map(|bound| bound.place.clone());
        let server = self.enlist(config, host)?;
        if let Some(bound) = bound
            && let Some(handle) = self.shard(server.number() as usize % self.shards.len())
        {
            let server = server.clone();
            handle.control(Control::Run(Box::new(move |shard| {
                listener::start(shard, server, bound);
            })));
        }
        Ok((server, listens_at))
    }

    pub(crate) fn shard(&self, index: usize) -> Option<&Arc<Handle>> {
        self.shards.get(index)
    }

    pub(crate) fn handles(&self) -> impl Iterator<Item = &Arc<Handle>> {
        self.shards.iter()
    }

    /// Gives a server a number.
    pub(crate) fn enlist(
        &self,
        config: ServerConfig,
        host: impl FnOnce(u64) -> Box<dyn ServerHost>,
    ) -> io::Result<Arc<Server>> {
        let mut servers = self.servers_mut();
        if self.stopping.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let number = servers
            .iter()
            .position(Option::is_none)
            .unwrap_or(servers.len());
        if number > MAX_SERVER as usize {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let number = number as u32;
        let nested = config.nested.as_ref().map(|(_, id)| {
            let found = servers.get(number_of(*id)).and_then(Option::as_ref);
            let found = found.filter(|server| server.id() == *id).cloned();
            found.ok_or(io::ErrorKind::NotFound)
        });
        let server = Arc::new(Server::new(
            number,
            config,
            nested.transpose()?,
            self.shards.len(),
            host,
        ));
        let place = number as usize;
        if place == servers.len() {
            servers.push(None);
        }
        if let Some(place) = servers.get_mut(place) {
            *place = Some(server.clone());
        }
        Ok(server)
    }

    /// Stops listening and closes the connections. [`ServerHost::stopped`] tells when that is
    /// done; the last connection is dropped after the server's `close_timeout`.
    pub fn stop_server(&self, server: &Arc<Server>, code: u16, reason: &str) {
        server.begin_stop(|| {
            for shard in self.shards.iter() {
                let (server, reason) = (server.clone(), reason.into());
                shard.control(Control::StopServer {
                    server,
                    code,
                    reason,
                });
            }
        });
    }

    /// Forgets the server with this id, which has stopped: another may get its number.
    pub fn remove_stopped(&self, id: u64) {
        let mut servers = self.servers_mut();
        if let Some(place) = servers.get_mut(number_of(id))
            && place
                .as_ref()
                .is_some_and(|server| server.id() == id && server.has_stopped())
        {
            *place = None;
        }
    }

    /// The process with this inbox serves connections of a server with a fixed number of them.
    /// False if there is no such place.
    pub fn set_worker(&self, server: &Arc<Server>, slot: usize, inbox: &Arc<Inbox>) -> bool {
        let known = server.set_worker(slot, inbox);
        self.tell_worker(server);
        known
    }

    /// The process with this inbox is told of connections that need a process: each is one
    /// [`crate::vm::batch::Event::Passive`], to be answered with [`Engine::attach`].
    pub fn set_acceptor(&self, server: &Arc<Server>, inbox: &Arc<Inbox>) {
        server.set_acceptor(inbox);
        self.tell_worker(server);
    }

    fn tell_worker(&self, server: &Arc<Server>) {
        for shard in self.shards.iter() {
            shard.control(Control::Worker(server.clone()));
        }
    }

    /// The process of an inbox is dead: its connections close with 1011.
    pub fn inbox_died(&self, server: &Server, inbox: &Arc<Inbox>) {
        inbox.kill();
        server.remove_inbox(inbox);
        if server.is_client() {
            match server.client_conn() {
                Some(conn) => inbox.dedicate(conn),
                None => return,
            }
        }
        for (index, shard) in self.shards.iter().enumerate() {
            if inbox.only().is_none_or(|conn| conn.shard() == index) {
                shard.control(Control::InboxDied(inbox.clone()));
            }
        }
    }

    /// The plain process of an inbox is dead: its connections close with 1011.
    pub fn owner_died(&self, inbox: &Arc<Inbox>) {
        inbox.kill();
        for shard in self.shards.iter() {
            shard.control(Control::InboxDied(inbox.clone()));
        }
    }

    /// Does something on the thread of a shard, which does not wait for it. Nothing if there are
    /// no shards any more.
    pub fn call(&self, work: Done) {
        if let Some(shard) = self.shards.first() {
            shard.control(Control::Run(Box::new(|_| work())));
        }
    }

    /// Has it told on the thread of each shard, when it comes by. One that has ended drops what would tell.
    pub fn call_each(&self, tell: impl Fn() -> Done) {
        for shard in self.shards.iter() {
            let tell = tell();
            shard.control(Control::Run(Box::new(move |_| tell())));
        }
    }

    /// There is room in an inbox for the connections of these shards, as [`Inbox::drain`] said.
    pub fn resume(&self, inbox: &Inbox, mut shards: u64) {
        while shards != 0 {
            let index = shards.trailing_zeros() as usize;
            shards &= shards - 1;
            if let Some(shard) = self.shards.get(index) {
                shard.control(Control::Resume(inbox.key()));
            }
        }
    }

    fn shard_of(&self, conn: ConnId) -> Option<&Arc<Handle>> {
        self.shards.get(conn.shard())
    }

    fn known(&self, conn: ConnId) -> Result<&Arc<Handle>, SendError> {
        let shard = self.shard_of(conn).ok_or(SendError::Closed)?;
        shard
            .slots
            .is_known(conn)
            .then_some(shard)
            .ok_or(SendError::Closed)
    }

    /// The events of a connection go to this inbox, which serves no other connection.
    pub fn attach(&self, conn: ConnId, inbox: &Arc<Inbox>) -> Result<(), SendError> {
        let shard = self.known(conn)?;
        inbox.dedicate(conn);
        shard.control(Control::Attach {
            conn,
            inbox: inbox.clone(),
        });
        Ok(())
    }

    /// What is known of a connection by its id alone.
    pub fn home_of(&self, conn: ConnId) -> Option<Home> {
        let label = self.shard_of(conn)?.slots.server(conn)?;
        Some(Home {
            server: label & MAX_SERVER,
            tag: (label >> 24) as u8 & 0x0f,
            compression: Compression::from_bits((label >> 28) as u8),
        })
    }

    /// The server of a connection, as long as that is known.
    pub fn server_of(&self, conn: ConnId) -> Option<Arc<Server>> {
        let server = self.server(self.home_of(conn)?.server)?;
        // When the connection has ended meanwhile, its server may have, and another have that number.
        self.is_known(conn).then_some(server)
    }

    /// The server with this id.
    pub fn find_server(&self, id: u64) -> Option<Arc<Server>> {
        let server = self.server(number_of(id) as u32)?;
        (server.id() == id).then_some(server)
    }

    /// The server that has this number now.
    pub fn server(&self, number: u32) -> Option<Arc<Server>> {
        self.servers().get(number as usize)?.clone()
    }

    /// Whether frames may be sent to a connection.
    pub fn is_open(&self, conn: ConnId) -> bool {
        self.shard_of(conn)
            .is_some_and(|shard| shard.slots.is_open(conn))
    }

    /// Counts bytes that a following [`Engine::send`] brings, or says why not.
    pub fn reserve(&self, conn: ConnId, len: usize) -> Result<(), SendError> {
        let shard = self.shard_of(conn).ok_or(SendError::Closed)?;
        let reserved = shard.slots.reserve(conn, len);
        if reserved == Err(SendError::Busy) {
            self.note_busy(conn);
        }
        reserved
    }

    /// What is counted of a server, with what waits in the queues of its connections. Looks at the slots of all
    /// connections.
    pub fn stats(&self, server: &Server) -> ServerStats {
        let is_of = |label| label & MAX_SERVER == server.number();
        let shards = self.shards.iter();
        ServerStats {
            queued_bytes: shards.map(|shard| shard.slots.queued_of(is_of)).sum(),
            ..server.stats()
        }
    }

    #[cold]
    fn note_busy(&self, conn: ConnId) {
        let server = self.home_of(conn).and_then(|home| self.server(home.server));
        if let Some(server) = server {
            bump(&server.counters.busy, 1);
        }
    }

    /// Counts bytes that a following [`Engine::send`] brings, whatever the bound says: they were taken before.
    pub fn charge(&self, conn: ConnId, len: usize) {
        if let Some(shard) = self.shard_of(conn) {
            shard.slots.charge(conn, len);
        }
    }

    /// The bound of what may wait for a connection, if that is far away; else 0.
    pub fn ample(&self, conn: ConnId) -> usize {
        self.shard_of(conn)
            .map_or(0, |shard| shard.slots.ample(conn))
    }

    /// Takes back what [`Engine::reserve`] counted.
    pub fn unreserve(&self, conn: ConnId, len: usize) {
        if let Some(shard) = self.shard_of(conn) {
            shard.slots.release(conn, len);
        }
    }

    /// Notes a piece of a message for a following [`Engine::send`] with
    /// [`crate::shard::op::Command::Stream`], or says why it may not come. `owner` names the caller's
    /// process: its pieces alone have an order.
    pub fn stream(
        &self,
        conn: ConnId,
        owner: u64,
        kind: Kind,
        piece: Piece,
        payload: &[u8],
    ) -> Result<Undo, StreamError> {
        match self.shard_of(conn) {
            Some(shard) => shard
                .open_messages
                .advance(conn, owner, kind, piece, payload),
            None => Err(StreamError::NotStreaming),
        }
    }

    /// Takes back what [`Engine::stream`] noted last.
    pub fn unstream(&self, conn: ConnId, undo: Undo) {
        if let Some(shard) = self.shard_of(conn) {
            shard.open_messages.undo(conn, undo);
            // The connection may have ended meanwhile, and with it what was noted.
            if !shard.slots.is_known(conn) {
                shard.open_messages.forget(conn);
            }
        }
    }

    /// Notes that a close is on its way: sends that follow are refused. False if it was so.
    pub fn set_closing(&self, conn: ConnId) -> bool {
        self.shard_of(conn)
            .is_some_and(|shard| shard.slots.set_closing(conn))
    }

    /// Whether the last event of a connection is still to come.
    pub fn is_known(&self, conn: ConnId) -> bool {
        self.known(conn).is_ok()
    }

    /// Hands frames to a shard. All parts must belong to it, and their bytes be reserved. See
    /// [`Engine::backlogged`]. With the shard, its connections have ended, and nobody misses what is for them.
    pub fn send(&self, shard: usize, frames: Frames) {
        if let Some(shard) = self.shards.get(shard) {
            let _ = shard.submit(Op::Frames(frames));
        }
    }

    /// Ends a connection for what it sent, behind the frames that are on their way to it. What it
    /// sent after that is not delivered.
    pub fn fail(&self, conn: ConnId, code: u16, reason: &str) {
        self.end_with(conn, Command::Fail(code, reason.into()));
    }

    /// The same, when its receiver has answered what it sent before: it gets [`crate::vm::batch::Event::Ending`].
    pub fn close_after_answers(&self, conn: ConnId, code: u16, reason: &str) {
        self.end_with(conn, Command::CloseAfterAnswers(code, reason.into()));
    }

    /// The receiver of a connection has come upon its close event, or [`crate::vm::batch::Event::Ending`]: what it sends from now
    /// on is no answer any more. The close frame goes out behind the frames that are on their way.
    pub fn answered(&self, conn: ConnId) {
        self.set_closing(conn);
        self.end_with(conn, Command::Answered);
    }

    fn end_with(&self, conn: ConnId, part: Command) {
        let mut frames = Frames::default();
        frames.commands.push((conn, part));
        self.send(conn.shard(), frames);
    }

    /// There is no process for a connection, and none to be had: it ends with 1011, and is counted.
    pub fn no_process(&self, conn: ConnId) {
        if let Some(server) = self.home_of(conn).and_then(|home| self.server(home.server)) {
            server.note_no_process();
        }
        self.fail(conn, 1011, "no process");
    }

    /// The plain process that was asked for has this inbox, or there is none: see
    /// [`ServerHost::asks_for_owner`].
    pub fn owner_is(&self, conn: ConnId, inbox: Option<Arc<Inbox>>) {
        let Some(shard) = self.shard_of(conn) else {
            return;
        };
        shard.control(match inbox {
            Some(inbox) => Control::Attach { conn, inbox },
            None => Control::Run(Box::new(move |shard| {
                if let Some(conn) = shard.conn(conn) {
                    shard.schedule.receiver_died(conn);
                }
            })),
        });
    }

    /// Gives a connection of [`crate::Mode::Owner`] to the process behind another inbox. `done` is called
    /// on the shard's thread when what came before is with the old one.
    pub fn set_owner(&self, conn: ConnId, inbox: Arc<Inbox>, done: Done) -> Result<(), SendError> {
        let shard = self.known(conn)?;
        shard
            .submit(Op::Owner { conn, inbox, done })
            .map_err(|_| SendError::Closed)
    }

    /// Asks for what is known of a connection. The answer comes on the shard's thread.
    pub fn conn_stats(&self, conn: ConnId, reply: StatsReply) -> Result<(), SendError> {
        let shard = self.known(conn)?;
        shard
            .submit(Op::Info { conn, reply })
            .map_err(|_| SendError::Closed)
    }

    /// Asks a shard for a page of a server's connections, those in slots from `from` on. The answer comes on the shard's
    /// thread. Each row is, in the order of the network: id and age in ms (64 bits each), bytes queued and held (32 bits
    /// each), messages received (64), credits (32, -1 for no limit), the lengths of three texts (8 each), then these: the
    /// other end, the path, both cut to 128 bytes, the user data. False if there is no such shard.
    pub fn rows(&self, server: &Arc<Server>, shard: usize, from: u32, reply: RowsReply) -> bool {
        let Some(shard) = self.shard(shard) else {
            return false;
        };
        let server = server.clone();
        shard.control(Control::Run(Box::new(move |shard| {
            shard.rows(&server, from, reply);
        })));
        true
    }

    pub(crate) fn ask_connections(
        &self,
        server: &Arc<Server>,
        audience: &Audience,
        reply: impl Fn() -> ConnectionsReply,
    ) -> usize {
        for shard in self.shards.iter() {
            shard.control(Control::Connections {
                server: server.clone(),
                audience: audience.clone(),
                reply: reply(),
            });
        }
        self.shards.len()
    }
}
