//! A server on the side of the VM: its process, the owners of its connections, who answers its questions.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use sockeye_engine::host::{Notice, OwnerAsked, ServerHost};
use sockeye_engine::{ConnId, DialError, Disconnected, Inbox, Question, Server, ServerStats};
use sockeye_seam::settings::{EventFormat, Owner};
use sockeye_seam::topic_changes::TopicChanges;
use sockeye_seam::{Atom, Writer, calls, dialled, events};

use crate::batches::{Batches, View};
use crate::link::Stalled;
use crate::on_last_drop::OnLastDrop;
use crate::port::Port;
use crate::processes::{VM, Watched};
use crate::receiver::Receiver;
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
    owner: Owner<Pid>,
    batch: bool,
    pub(crate) format: Arc<EventFormat>,
    room: usize,
    close_timeout: u64,
    pub(crate) port: Weak<Port>,
    /// Set before anything can happen to the server.
    pub(crate) server: OnceLock<u64>,
    owners: Mutex<HashMap<Pid, Arc<Receiver>>>,
    /// The Id of the process that answers questions; 0 for none.
    gate: AtomicU64,
    /// Of topics that have their first subscription, or have lost their last.
    pub(crate) topic_changes: TopicChanges<u64>,
    /// Some connection's owner is asked for when the link has room.
    is_stalled: AtomicBool,
}

impl Host {
    pub(crate) fn new(
        (number, process): (u64, u64),
        (owner, batch): (Owner<Pid>, bool),
        format: Arc<EventFormat>,
        (room, close_timeout): (usize, u64),
        port: &Arc<Port>,
    ) -> Arc<Self> {
        Arc::new(Host {
            number,
            process,
            owner,
            batch,
            format,
            room,
            close_timeout,
            port: Arc::downgrade(port),
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
        let port = self.port.upgrade()?;
        let mut owners = self.owners();
        if let Some(known) = owners.get(pid) {
            return Some(known.clone());
        }
        let id = port.processes.new_id();
        let view = View::Plain(self.close_timeout);
        let engine = port.engine()?;
        let room = (self.room, KEEP);
        let batches = Batches::new(view, self.format.clone());
        let receiver = Receiver::new((id, 0), batches, room, &port.link, &engine);
        owners.insert(pid.into(), receiver.clone());
        drop(owners);
        let role = if self.batch {
            Atom::plain_batch
        } else {
            Atom::plain
        };
        let watched = Watched::Owner(receiver.clone(), Arc::downgrade(self));
        port.processes.watch(id, role, pid, self.process, watched);
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

    /// The server is gone: its process is told when all plain processes have been brought what there is for them. Nobody of them
    /// is watched from then on.
    fn stopped(self: &Arc<Self>, port: &Arc<Port>, stats: &ServerStats) {
        let owners = std::mem::take(&mut *self.owners());
        let ids: Vec<_> = owners.values().map(|receiver| receiver.id).collect();
        let (host, told) = (HostRef(self.clone()), port.clone());
        let stats = *stats;
        let last = OnLastDrop::new(move || {
            ids.iter().for_each(|id| told.processes.unwatch(*id));
            host.tell_stopped(&told, &stats);
        });
        for receiver in owners.into_values() {
            let last = last.clone();
            receiver.when_at_rest(move || drop(last));
        }
    }

    pub(crate) fn find_server(&self, port: &Port) -> Option<Arc<Server>> {
        port.engine()?.find_server(*self.server.get()?)
    }
}

impl Stalled for Host {
    fn go_on(self: Arc<Self>) {
        // First: a connection that finds it set is among those that are asked for now.
        self.is_stalled.store(false, Ordering::SeqCst);
        let port = self.port.upgrade();
        let engine = port.as_ref().and_then(|port| port.engine());
        let server = port.and_then(|port| self.find_server(&port));
        if let (Some(engine), Some(server)) = (engine, server) {
            engine.ask_for_owners(&server);
        }
    }
}

/// The part of a host that the engine owns.
pub(crate) struct HostRef(pub(crate) Arc<Host>);

impl HostRef {
    /// Tells the server's process, if it lives.
    fn tell(&self, write: impl FnOnce(&mut sockeye_seam::Etf<'_>)) -> bool {
        let Some(port) = self.0.port.upgrade() else {
            return false;
        };
        let lives = port.processes.is_alive(self.0.process);
        if lives {
            port.link.message_last(self.0.process, write);
        }
        lives
    }

    fn tell_stopped(&self, port: &Port, stats: &ServerStats) {
        let heard = self.tell(|w| {
            calls::stopped(w, self.0.number, stats);
        });
        port.processes.unwatch(self.0.process);
        // A process that was killed could not clear up behind itself.
        if !heard {
            port.tell_engine(|w| {
                w.tuple(2);
                w.atom(Atom::sockeye_gone);
                w.integer(self.0.number);
            });
        }
        port.link.flush();
    }
}

impl ServerHost for HostRef {
    fn owner(&self) -> Option<Arc<Inbox>> {
        let Owner::Process(pid) = &self.0.owner else {
            return None;
        };
        Some(self.0.owner_of(pid)?.inbox.clone())
    }

    fn asks_for_owner(&self, conn: ConnId) -> OwnerAsked {
        let (Owner::Name(name), Some(port)) = (&self.0.owner, self.0.port.upgrade()) else {
            return OwnerAsked::Known;
        };
        // Who connects and leaves would fill the memory of a link that nobody reads.
        if port.link.is_full().0 {
            if !self.0.is_stalled.swap(true, Ordering::SeqCst) {
                port.link.stall(self.0.clone());
            }
            return OwnerAsked::Full;
        }
        port.link.message(VM, |w| {
            w.tuple(4);
            w.atom(Atom::sockeye_whereis);
            w.integer(self.0.number);
            sockeye_etf::atom(w.0, name);
            w.conn(conn);
        });
        OwnerAsked::Asked
    }

    fn ask(&self, token: u64, question: &Question<'_>) -> bool {
        let Some(port) = self.0.port.upgrade() else {
            return false;
        };
        let gate = self.0.gate.load(Ordering::SeqCst);
        if gate == 0 || !port.processes.is_alive(gate) {
            return false;
        }
        // A question there outlives its client, who may ask the next one: they would have no bound.
        let (is_full, no_large) = port.link.is_full();
        if is_full || no_large {
            return false;
        }
        port.link
            .message(gate, |w| events::question(w, token, question));
        true
    }

    fn stream_gone(&self, token: u64) {
        let gate = self.0.gate.load(Ordering::SeqCst);
        if let Some(port) = self.0.port.upgrade()
            && port.processes.is_alive(gate)
        {
            port.link.message(gate, |w| events::stream_gone(w, token));
        }
    }

    fn unlistened(&self) {
        self.tell(|w| {
            w.tuple(2);
            w.atom(Atom::sockeye_unlistened);
            w.integer(self.0.number);
        });
    }

    fn stopped(&self, stats: &ServerStats) {
        let number = self.0.number;
        let Some(port) = self.0.port.upgrade() else {
            return;
        };
        port.forget_server(number);
        if let (Some(engine), Some(id)) = (port.engine(), self.0.server.get()) {
            engine.remove_stopped(*id);
        }
        port.processes.unwatch(self.0.set_gate(0));
        self.0.stopped(&port, stats);
    }

    fn event(&self, event: Notice) {
        self.tell(|w| match &event {
            Notice::AcceptFailed(text) => {
                events::notice(w, Atom::accept_error, Atom::reason, |w| {
                    w.binary(text.as_bytes())
                })
            }
            Notice::NoDescriptor(most) => {
                events::notice(w, Atom::no_descriptor, Atom::max_descriptor, |w| {
                    w.integer(*most as u64)
                })
            }
            Notice::NoOwner(conn) => {
                events::notice(w, Atom::no_owner, Atom::sockeye_conn, |w| w.conn(*conn))
            }
        });
    }

    fn dialled(&self, result: Result<ConnId, DialError>) {
        self.tell(|w| dialled::dialled(w, self.0.number, &result));
    }

    fn disconnected(&self, conn: ConnId, end: Disconnected) {
        self.tell(|w| dialled::disconnected(w, self.0.number, conn, &end));
    }

    fn topic_left(&self, name: &[u8]) {
        if let Some(port) = self.0.port.upgrade() {
            port.note_topic(&self.0, name);
        }
    }
}

// Over a socket of the system, of which the simulation has none.
#[cfg(all(test, not(sim)))]
#[allow(clippy::unwrap_used)]
mod tests {
    use sockeye_engine::{About, Peer, PeerInfo};
    use sockeye_protocol::handshake::{HeadLimits, Request};
    use tokio::net::UnixStream;
    use tokio::runtime::{Builder, Runtime};

    use super::*;
    use crate::link::{ANSWER, FULL, Link};

    const SERVER: u64 = 1;
    const GATE: u64 = 7;

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_io().build().unwrap()
    }

    /// A server whose owner has a name, and somebody who answers; so many bytes wait for the VM.
    fn host(small: usize, large: usize) -> (Arc<Port>, HostRef, UnixStream) {
        let (vm, ours) = UnixStream::pair().unwrap();
        let port = Port::new(Link::new(ours.into_split().1));
        let owner = Owner::Name("somebody".into());
        let format = Arc::new(EventFormat::RAW);
        let host = Host::new((SERVER, 0), (owner, false), format, (1 << 20, 5000), &port);
        port.processes
            .watch(GATE, Atom::gate, b"pid", 0, Watched::Other);
        host.set_gate(GATE);
        if large > 0 {
            port.link.append_parts(ANSWER, &[&vec![0; large]]);
        }
        while small > 0 && port.link.waiting().0 < small {
            let rest = small - port.link.waiting().0;
            let len = if rest > 200_000 { 100_000 } else { rest - 5 };
            port.link.append_parts(ANSWER, &[&vec![0; len]]);
        }
        if small > 0 {
            assert_eq!(port.link.waiting(), (small, large));
        }
        (port, HostRef(host), vm)
    }

    fn asks(host: &HostRef) -> bool {
        let head = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        let (request, _) = Request::parse(head, &HeadLimits::default())
            .unwrap()
            .unwrap();
        let address = Peer::Inet([127, 0, 0, 1].into(), 80);
        let question = Question {
            about: About::Upgrade,
            request: &request,
            peer_info: &PeerInfo::new(address.clone(), address),
            body: b"",
        };
        host.ask(3, &question)
    }

    #[test]
    fn questions_wait_while_the_link_is_full() {
        let runtime = runtime();
        let _inside = runtime.enter();
        for (small, large, room) in [
            (FULL - 1, 0, true),
            (FULL, 0, true),
            (FULL + 1, 0, false),
            (0, FULL - 1, true),
            (0, FULL, true),
            (0, FULL + 1, false),
        ] {
            let (_port, host, _vm) = host(small, large);
            assert_eq!(asks(&host), room, "{small} {large}");
        }
    }

    #[test]
    fn nobody_is_asked_for_an_owner_while_the_link_is_full() {
        let runtime = runtime();
        let _inside = runtime.enter();
        let conn = ConnId::from_u64(1 << 40 | 1).unwrap();
        for (small, asked) in [
            (FULL - 1, OwnerAsked::Asked),
            (FULL, OwnerAsked::Asked),
            (FULL + 1, OwnerAsked::Full),
        ] {
            let (_port, host, _vm) = host(small, 0);
            assert_eq!(host.asks_for_owner(conn), asked, "{small}");
        }
    }
}
