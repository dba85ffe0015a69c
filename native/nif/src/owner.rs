//! Events as messages: a plain process behind a server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustler::LocalPid;
use rustler::types::atom::Atom;
use sockeye_engine::front::ask::Question;
use sockeye_engine::host::{Notice, ServerHost};
use sockeye_engine::load::Done;
use sockeye_engine::{ConnId, DialError, Disconnected, Engine, Inbox, Server, ServerStats};

use crate::courier::Desk;
use crate::events::Format;
use crate::news::News;
use crate::terms::map;
use crate::watch::{self, WatchKey, Watched};
use crate::{ask, atoms, client, process, running, topics};

/// Who the owner of a server's connections is.
#[derive(Clone)]
pub(crate) enum OwnerSpec {
    /// Handler processes, not an owner.
    Nobody,
    Pid(LocalPid),
    Name(Atom),
}

/// The process that called `listen`, and the owner of its connections.
pub(crate) struct Host {
    pub(crate) pid: LocalPid,
    pub(crate) spec: OwnerSpec,
    pub(crate) batch: bool,
    pub(crate) format: Arc<Format>,
    /// Bytes that wait for a process.
    room: usize,
    id: u64,
    engine: Weak<Engine>,
    owners: Mutex<HashMap<LocalPid, Known>>,
    /// Wakes the processes of connections.
    relay: Mutex<Option<LocalPid>>,
    /// Answers what is asked before a connection is made.
    gate: Mutex<Option<LocalPid>>,
    /// Of topics that have their first subscription, or have lost their last.
    pub(crate) news: News,
}

/// An owner, and its monitor once it has one.
struct Known {
    desk: Arc<Desk>,
    watch: Option<WatchKey>,
}

/// The part of a host that the engine owns.
pub(crate) struct HostRef(pub(crate) Arc<Host>);

impl Host {
    pub(crate) fn new(
        pid: LocalPid,
        (spec, batch): (OwnerSpec, bool),
        format: Arc<Format>,
        room: usize,
        id: u64,
        engine: &Arc<Engine>,
    ) -> Self {
        Host {
            pid,
            spec,
            batch,
            format,
            room,
            id,
            engine: Arc::downgrade(engine),
            owners: Mutex::default(),
            relay: Mutex::new(None),
            gate: Mutex::new(None),
            news: News::default(),
        }
    }

    /// Whether its server is this engine's.
    pub(crate) fn is_of(&self, engine: &Arc<Engine>) -> bool {
        std::ptr::eq(self.engine.as_ptr(), Arc::as_ptr(engine))
    }

    pub(crate) fn set_gate(&self, pid: LocalPid) {
        *self.gate.lock().unwrap_or_else(PoisonError::into_inner) = Some(pid);
    }

    pub(crate) fn gate(&self) -> Option<LocalPid> {
        *self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_relay(&self, pid: LocalPid) {
        *self.relay.lock().unwrap_or_else(PoisonError::into_inner) = Some(pid);
    }

    pub(crate) fn relay(&self) -> Option<LocalPid> {
        *self.relay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The desk of this process, which is watched. None if the process is dead.
    pub(crate) fn desk_for(
        self: &Arc<Self>,
        env: Option<rustler::Env<'_>>,
        pid: LocalPid,
    ) -> Option<Arc<Desk>> {
        let mut owners = self.owners();
        if let Some(known) = owners.get(&pid) {
            return Some(known.desk.clone());
        }
        let (format, engine) = (self.format.clone(), self.engine.clone());
        let desk = Desk::new(pid, self.batch, format, self.room, engine);
        // Entered before it is watched: its death takes it out again.
        let known = Known {
            desk: desk.clone(),
            watch: None,
        };
        owners.insert(pid, known);
        drop(owners);
        let key = desk.inbox.key();
        let watched = Watched::Owner {
            inbox: desk.inbox.clone(),
            host: Arc::downgrade(self),
        };
        let Some(watch) = watch::watch(env, &pid, watched) else {
            self.forget_owner(&pid, key);
            return None;
        };
        if let Some(known) = self.owners().get_mut(&pid)
            && known.desk.inbox.key() == key
        {
            known.watch = Some(watch);
        }
        Some(desk)
    }

    fn owners(&self) -> MutexGuard<'_, HashMap<LocalPid, Known>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server, as long as the engine knows it.
    pub(crate) fn server(&self) -> Option<(Arc<Engine>, Arc<Server>)> {
        let engine = self.engine.upgrade()?;
        let server = engine.find_server(self.id)?;
        Some((engine, server))
    }

    /// The owner is dead: its connections must know.
    pub(crate) fn owner_died(&self, pid: &LocalPid, inbox: &Arc<Inbox>) {
        self.forget_owner(pid, inbox.key());
        if let Some(engine) = self.engine.upgrade() {
            engine.owner_died(inbox);
        }
    }

    fn forget_owner(&self, pid: &LocalPid, key: u64) {
        let mut owners = self.owners();
        if owners
            .get(pid)
            .is_some_and(|known| known.desk.inbox.key() == key)
        {
            owners.remove(pid);
        }
    }

    pub(crate) fn for_each_desk(&self, mut work: impl FnMut(&Arc<Desk>)) {
        self.owners().values().for_each(|known| work(&known.desk));
    }

    /// The server is gone: its owners need not be watched for it.
    pub(crate) fn forget_owners(&self) {
        let owners = std::mem::take(&mut *self.owners());
        owners
            .into_values()
            .filter_map(|known| known.watch)
            .for_each(watch::unwatch);
    }
}

impl ServerHost for HostRef {
    fn owner(&self) -> Option<Arc<Inbox>> {
        let pid = match &self.0.spec {
            OwnerSpec::Nobody => return None,
            OwnerSpec::Pid(pid) => *pid,
            OwnerSpec::Name(name) => watch::whereis(*name)?,
        };
        self.0.desk_for(None, pid).map(|desk| desk.inbox.clone())
    }

    fn unlistened(&self) {
        process::send(&self.0.pid, |b| {
            b.tuple([b.atom(atoms::sockeye_unlistened()), b.integer(self.0.id)])
        });
    }

    fn stopped(&self, stats: &ServerStats) {
        let id = self.0.id;
        watch::forget_host(id, &self.0);
        if let Some(engine) = self.0.engine.upgrade() {
            engine.remove_stopped(id);
        }
        let heard = process::send(&self.0.pid, |b| {
            let counts = [b.integer(stats.accepted), b.integer(stats.unanswered)];
            let counts = b.tuple(counts);
            b.tuple([b.atom(atoms::sockeye_stopped()), b.integer(id), counts])
        });
        // A process that was killed could not clear up behind itself.
        if !heard && let Some(running) = running::current() {
            process::send(&running.owner, |b| {
                b.tuple([b.atom(atoms::sockeye_gone()), b.integer(id)])
            });
        }
    }

    fn ask(&self, token: u64, question: &Question<'_>) -> bool {
        ask::ask(&self.0, token, question)
    }

    fn topic_left(&self, name: &[u8]) {
        if let Some(pid) = self.0.news.note(name) {
            process::send(&pid, |b| topics::changed(b, self.0.id));
        }
    }

    fn dialled(&self, result: Result<ConnId, DialError>) {
        client::dialled(&self.0, self.0.id, result);
    }

    fn disconnected(&self, conn: ConnId, end: Disconnected) {
        client::disconnected(&self.0, self.0.id, conn, &end);
    }

    fn memory(&self) -> Option<u64> {
        Some(crate::memory::held())
    }

    fn event(&self, event: Notice) {
        process::send(&self.0.pid, |b| {
            let (kind, key, value) = match &event {
                Notice::AcceptFailed(text) => (
                    atoms::accept_error(),
                    atoms::reason(),
                    b.binary(text.as_bytes()),
                ),
                Notice::NoDescriptor(most) => (
                    atoms::no_descriptor(),
                    atoms::max_descriptor(),
                    b.integer(*most as u64),
                ),
            };
            let detail = map(b, &[(b.atom(key), value)]);
            b.tuple([b.atom(atoms::sockeye_event()), b.atom(kind), detail])
        });
    }
}

/// Gives a connection to another process. `done` tells when what came before is with the old one.
pub(crate) fn give(
    env: rustler::Env<'_>,
    conn: ConnId,
    pid: LocalPid,
    done: Done,
) -> Result<(), sockeye_engine::SendError> {
    use sockeye_engine::SendError::Closed;
    let engine = running::engine().ok_or(Closed)?;
    let home = engine.home_of(conn).ok_or(Closed)?;
    let server = engine.server(home.server).ok_or(Closed)?;
    let host = watch::host(server.id()).ok_or(Closed)?;
    let desk = host.desk_for(Some(env), pid).ok_or(Closed)?;
    engine.set_owner(conn, desk.inbox.clone(), done)?;
    if desk.inbox.is_dead() {
        // It died meanwhile, and the shard may have heard of it too early.
        engine.owner_died(&desk.inbox);
    }
    Ok(())
}
