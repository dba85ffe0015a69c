//! The engine as a whole: shards, servers, and the functions that the virtual machine calls.

mod adopt;
mod backlog;
mod clients;
mod conns;
mod list;
mod receivers;
mod topics;

use std::hash::BuildHasher;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::accept::bind;
use crate::accept::listener;
use crate::model::backlog::Done;
use crate::model::counters::ServerStats;
use crate::model::lock::lock;
use crate::net::peer::Peer;
use crate::server::topics::Audience;
use crate::server::{MAX_SERVER, Server};
use crate::settings::config::{EngineConfig, ServerConfig};
use crate::shard::handle::{Handle, ShardParts};
use crate::shard::op::{ConnectionsReply, Control, RowsReply};
use crate::shard::run;
use crate::vm::host::ServerHost;
use crate::world::collections::RandomState;
use crate::world::sync::atomic::{AtomicBool, Ordering};
use crate::world::sync::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use crate::world::thread::{self, Thread};
use crate::world::time::Instant;

/// The number in a server's id.
fn number_of(id: u64) -> usize {
    (id & u64::from(MAX_SERVER)) as usize
}

/// How long [`Engine::stop`] waits for clients to answer close frames.
const STOP_WAIT: Duration = Duration::from_millis(if cfg!(loom) { 3_600_000 } else { 500 });

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

    /// One of its threads, which the caller has started.
    #[cfg(loom)]
    pub(crate) fn has_thread(&self, thread: Thread) {
        lock(&self.threads).push(thread);
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
        // Who stops it as well waits here until they have ended, or the time is over.
        let mut threads = lock(&self.threads);
        while !threads.is_empty() && Instant::now() < deadline {
            let ended = threads.extract_if(.., |thread| thread.is_finished());
            ended.for_each(Thread::join);
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
        server.begin_stop(code, reason, || {
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

    /// The server with this id.
    pub fn find_server(&self, id: u64) -> Option<Arc<Server>> {
        let server = self.server(number_of(id) as u32)?;
        (server.id() == id).then_some(server)
    }

    /// The server that has this number now.
    pub fn server(&self, number: u32) -> Option<Arc<Server>> {
        self.servers().get(number as usize)?.clone()
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
