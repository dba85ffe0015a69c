//! A server on the side of the VM: its process, the owners of its connections, and the process that answers its questions.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use sockeye_engine::{Server, ServerStats};
use sockeye_seam::settings::{EventFormat, Owner};
use sockeye_seam::topic_changes::{TopicChanges, changed};
use sockeye_seam::{Atom, Etf, Writer, calls};

use crate::link::Stalled;
use crate::on_last_drop::OnLastDrop;
use crate::processes::Watched;
use crate::processes::batches::{Batches, View};
use crate::processes::receiver::Receiver;
use crate::server::context::Context;
use crate::world::collections::HashMap;

/// Memory that the empty inbox of a plain process may hold on to, twice.
const KEEP: usize = 8 * 1024;

/// The bytes of a pid.
pub(crate) type Pid = Box<[u8]>;

pub(crate) struct Host {
    /// Its number in the VM.
    pub(crate) number: u64,
    /// The Id of the process that listens.
    pub(crate) process: u64,
    pub(crate) owner: Owner<Pid>,
    batch: bool,
    pub(crate) format: Arc<EventFormat>,
    room: usize,
    close_timeout: u64,
    context: Weak<Context>,
    /// Set before anything can happen to the server.
    pub(crate) server: OnceLock<u64>,
    owners: Mutex<HashMap<Pid, Arc<Receiver>>>,
    /// The Id of the process that answers questions; 0 for none.
    pub(crate) gate: AtomicU64,
    /// Of topics that have their first subscription, or have lost their last.
    pub(crate) topic_changes: TopicChanges<u64>,
    /// Some connection's owner is asked for when the link has room.
    pub(crate) is_stalled: AtomicBool,
}

impl Host {
    pub(crate) fn new(
        (number, process): (u64, u64),
        (owner, batch): (Owner<Pid>, bool),
        format: Arc<EventFormat>,
        (room, close_timeout): (usize, u64),
        context: &Arc<Context>,
    ) -> Arc<Self> {
        Arc::new(Host {
            number,
            process,
            owner,
            batch,
            format,
            room,
            close_timeout,
            context: Arc::downgrade(context),
            server: OnceLock::new(),
            owners: Mutex::default(),
            gate: AtomicU64::new(0),
            topic_changes: TopicChanges::default(),
            is_stalled: AtomicBool::new(false),
        })
    }

    /// Replaces who answers questions. The Id of who did.
    pub(crate) fn set_gate(&self, id: u64) -> u64 {
        self.gate.swap(id, Ordering::SeqCst)
    }

    fn owners(&self) -> MutexGuard<'_, HashMap<Pid, Arc<Receiver>>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The inbox of this process, which is watched.
    pub(crate) fn owner_of(self: &Arc<Self>, pid: &[u8]) -> Option<Arc<Receiver>> {
        let context = self.context.upgrade()?;
        let mut owners = self.owners();
        if let Some(known) = owners.get(pid) {
            return Some(known.clone());
        }
        let id = context.processes.new_id();
        let view = View::Plain(self.close_timeout);
        let engine = context.engine()?;
        let room = (self.room, KEEP);
        let batches = Batches::new(view, self.format.clone());
        let receiver = Receiver::new((id, 0), batches, room, &context.link, &engine);
        owners.insert(pid.into(), receiver.clone());
        drop(owners);
        let role = if self.batch {
            Atom::plain_batch
        } else {
            Atom::plain
        };
        let watched = Watched::Owner(receiver.clone(), self.number);
        context
            .processes
            .watch(id, role, pid, self.process, watched);
        Some(receiver)
    }

    /// Watches the one owner that is known, while its pid is what it was.
    pub(crate) fn watch_owner(self: &Arc<Self>) {
        if let Owner::Process(pid) = &self.owner {
            self.owner_of(pid);
        }
    }

    /// The process behind this inbox is dead.
    pub(crate) fn forget_owner(&self, id: u64) {
        self.owners().retain(|_, known| known.id != id);
    }

    /// Tells the server's process, if it lives.
    pub(crate) fn tell(&self, write: impl FnOnce(&mut Etf<'_>)) -> bool {
        let Some(context) = self.context.upgrade() else {
            return false;
        };
        let lives = context.processes.is_alive(self.process);
        if lives {
            context.link.message_last(self.process, write);
        }
        lives
    }

    /// The server is gone: its process is told when all plain processes have been brought what there is for them. Nobody of them
    /// is watched from then on.
    pub(crate) fn stopped(self: &Arc<Self>, stats: &ServerStats) {
        let owners = std::mem::take(&mut *self.owners());
        let ids: Vec<_> = owners.values().map(|receiver| receiver.id).collect();
        let (host, stats) = (self.clone(), *stats);
        let last = OnLastDrop::new(move || host.tell_stopped(&ids, &stats));
        for receiver in owners.into_values() {
            let last = last.clone();
            receiver.when_at_rest(move || drop(last));
        }
    }

    fn tell_stopped(&self, owners: &[u64], stats: &ServerStats) {
        let Some(context) = self.context.upgrade() else {
            return;
        };
        for id in owners {
            context.processes.unwatch(*id);
        }
        let heard = self.tell(|w| calls::stopped(w, self.number, stats));
        context.processes.unwatch(self.process);
        // A process that was killed could not clear up behind itself.
        if !heard {
            context.tell_engine(|w| {
                w.tuple(2);
                w.atom(Atom::sockeye_gone);
                w.integer(self.number);
            });
        }
        context.link.flush();
    }

    /// A topic has its first subscription, or has lost its last.
    pub(crate) fn note_topic(&self, name: &[u8]) {
        if let Some(id) = self.topic_changes.note(name)
            && let Some(context) = self.context.upgrade()
            && context.processes.is_alive(id)
        {
            context.link.message(id, |w| changed(w, self.number));
        }
    }

    pub(crate) fn find_server(&self, context: &Context) -> Option<Arc<Server>> {
        context.engine()?.find_server(*self.server.get()?)
    }
}

impl Stalled for Host {
    fn go_on(self: Arc<Self>) {
        // First: a connection that finds it set is among those that are asked for now.
        self.is_stalled.store(false, Ordering::SeqCst);
        if let Some(context) = self.context.upgrade()
            && let (Some(engine), Some(server)) = (context.engine(), self.find_server(&context))
        {
            engine.ask_for_owners(&server);
        }
    }
}
