//! A server on the side of the VM: its process, the owners of its connections, its gate and relay.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use rustler::LocalPid;
use rustler::types::atom::Atom;
use sockeye_engine::{Engine, Inbox, Server};
use sockeye_seam::settings::EventFormat;
use sockeye_seam::topic_changes::TopicChanges;

use crate::server::delivery_queue;
use crate::server::owner_inbox::OwnerInbox;
use crate::server::relay::Relay;
use crate::vm::lock;
use crate::vm::monitor::{self, OwnerRegistry, WatchKey, Watched};

/// Who the owner of a server's connections is.
#[derive(Clone)]
pub(crate) enum OwnerSpec {
    /// Handler processes, not an owner.
    Nobody,
    Pid(LocalPid),
    Name(Atom),
}

/// The process that called `listen`, and the owner of its connections.
pub(crate) struct VmServer {
    pub(crate) pid: LocalPid,
    pub(crate) spec: OwnerSpec,
    pub(crate) batch: bool,
    pub(crate) format: Arc<EventFormat>,
    /// Bytes that wait for a process.
    room: usize,
    pub(crate) id: u64,
    pub(crate) engine: Weak<Engine>,
    owners: Mutex<HashMap<LocalPid, MonitoredOwner>>,
    /// Wakes the processes of connections.
    pub(crate) relay: Arc<Relay>,
    /// Answers what is asked before a connection is made.
    gate: Mutex<Option<LocalPid>>,
    /// Of topics that have their first subscription, or have lost their last.
    pub(crate) topic_changes: TopicChanges<LocalPid>,
}

/// An owner, and its monitor once it has one.
struct MonitoredOwner {
    owner: Arc<OwnerInbox>,
    watch: Option<WatchKey>,
}

impl VmServer {
    pub(crate) fn new(
        pid: LocalPid,
        (spec, batch): (OwnerSpec, bool),
        format: Arc<EventFormat>,
        room: usize,
        id: u64,
        engine: &Arc<Engine>,
    ) -> Self {
        VmServer {
            pid,
            spec,
            batch,
            format,
            room,
            id,
            engine: Arc::downgrade(engine),
            owners: Mutex::default(),
            relay: Arc::default(),
            gate: Mutex::new(None),
            topic_changes: TopicChanges::default(),
        }
    }

    /// Whether its server is this engine's.
    pub(crate) fn is_of(&self, engine: &Arc<Engine>) -> bool {
        std::ptr::eq(self.engine.as_ptr(), Arc::as_ptr(engine))
    }

    pub(crate) fn set_gate(&self, pid: LocalPid) {
        *lock(&self.gate) = Some(pid);
    }

    pub(crate) fn gate(&self) -> Option<LocalPid> {
        *lock(&self.gate)
    }

    /// The inbox of this process, which is monitored. None if the process is dead.
    pub(crate) fn owner_inbox(
        self: &Arc<Self>,
        env: Option<rustler::Env<'_>>,
        pid: LocalPid,
    ) -> Option<Arc<OwnerInbox>> {
        let mut owners = self.owners();
        if let Some(known) = owners.get(&pid) {
            return Some(known.owner.clone());
        }
        let (format, engine) = (self.format.clone(), self.engine.clone());
        let owner = delivery_queue::new_owner(pid, self.batch, format, self.room, engine);
        // Entered before it is watched: its death takes it out again.
        let known = MonitoredOwner {
            owner: owner.clone(),
            watch: None,
        };
        owners.insert(pid, known);
        drop(owners);
        let key = owner.inbox.key();
        let watched = Watched::Owner {
            inbox: owner.inbox.clone(),
            owners: Arc::<VmServer>::downgrade(self),
        };
        let Some(watch) = monitor::watch(env, &pid, watched) else {
            self.forget_owner(&pid, key);
            return None;
        };
        if let Some(known) = self.owners().get_mut(&pid)
            && known.owner.inbox.key() == key
        {
            known.watch = Some(watch);
        }
        Some(owner)
    }

    fn owners(&self) -> MutexGuard<'_, HashMap<LocalPid, MonitoredOwner>> {
        lock(&self.owners)
    }

    fn forget_owner(&self, pid: &LocalPid, key: u64) {
        let mut owners = self.owners();
        if owners
            .get(pid)
            .is_some_and(|known| known.owner.inbox.key() == key)
        {
            owners.remove(pid);
        }
    }

    pub(crate) fn for_each_owner_inbox(&self, mut work: impl FnMut(&Arc<OwnerInbox>)) {
        self.owners().values().for_each(|known| work(&known.owner));
    }

    /// The server is gone: its owners need not be watched for it.
    pub(crate) fn forget_owners(&self) {
        let owners = std::mem::take(&mut *self.owners());
        owners
            .into_values()
            .filter_map(|known| known.watch)
            .for_each(monitor::unwatch);
    }
}

impl OwnerRegistry for VmServer {
    fn server(&self) -> Option<(Arc<Engine>, Arc<Server>, LocalPid)> {
        let engine = self.engine.upgrade()?;
        let server = engine.find_server(self.id)?;
        Some((engine, server, self.pid))
    }

    fn owner_died(&self, pid: &LocalPid, inbox: &Arc<Inbox>) {
        self.forget_owner(pid, inbox.key());
        if let Some(engine) = self.engine.upgrade() {
            engine.owner_died(inbox);
        }
    }
}
