//! The engine of this process, and what the VM's sections do to it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use sockeye_engine::{ConnId, Engine, SendError, Server, ShardSet};
use sockeye_etf::Cursor;
use sockeye_seam::frames::SendFailure;
use sockeye_seam::topic_changes::changed;
use sockeye_seam::{Atom, Etf, EtfReader, EtfTerm, Writer, calls as seam};

use crate::calls;
use crate::gathered::Gathered;
use crate::grants::Grants;
use crate::host::Host;
use crate::link::{Link, PONG};
use crate::on_last_drop::OnLastDrop;
use crate::packets::Broken;
use crate::passed_descriptors::PassedDescriptors;
use crate::processes::{Processes, Watched};
use crate::publishing;
use crate::reply_to::ReplyTo;
use crate::world::collections::HashMap;

const CALL: u8 = 1;
const COMMANDS: u8 = 2;
const DOWN: u8 = 3;
const CAST: u8 = 5;
const PING: u8 = 6;
const FRAME: u8 = 7;
const PUBLISH: u8 = 10;

pub(crate) struct Port {
    pub(crate) link: Arc<Link>,
    pub(crate) processes: Processes,
    pub(crate) grants: Grants,
    engine: RwLock<Option<Arc<Engine>>>,
    /// The Id of the process that started the engine; 0 for none.
    pub(crate) engine_process: AtomicU64,
    servers: Mutex<Servers>,
    pub(crate) passed: Arc<PassedDescriptors>,
}

#[derive(Default)]
struct Servers {
    /// By the number that the VM gave. None while it is about to be.
    hosts: HashMap<u64, Option<Arc<Host>>>,
    /// That number, by the engine's.
    numbers: HashMap<u64, u64>,
}

/// Names a process where an order is kept for each.
pub(crate) fn caller(pid: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    pid.hash(&mut hasher);
    hasher.finish()
}

fn be64(body: &[u8]) -> Result<(u64, &[u8]), Broken> {
    let (head, rest) = body
        .split_first_chunk()
        .ok_or(Broken("a section is too short"))?;
    Ok((u64::from_be_bytes(*head), rest))
}

/// The term of a section: all of it, and nothing more.
fn whole(bytes: &[u8]) -> Result<Cursor<'_>, Broken> {
    let malformed = |_| Broken("a section has no term");
    let start = Cursor::of_term(bytes).map_err(malformed)?;
    let mut end = start;
    end.term().map_err(malformed)?;
    match end.is_at_end() {
        true => Ok(start),
        false => Err(Broken("a section has more than a term")),
    }
}

/// What stands in front of commands, and their terms.
fn commands_of(bytes: &[u8]) -> Result<(&[u8], EtfTerm<'_>), Broken> {
    let short = Broken("commands are too short");
    let (len, rest) = bytes.split_first_chunk().ok_or(short)?;
    let len = u32::from_be_bytes(*len) as usize;
    let (heads, list) = rest.split_at_checked(len).ok_or(short)?;
    let list = Cursor::of_term(list).map_err(|_| short)?;
    Ok((heads, EtfTerm::new(list)))
}

impl Port {
    pub(crate) fn new(link: Arc<Link>) -> Arc<Self> {
        Arc::new(Port {
            processes: Processes::new(link.clone()),
            grants: Grants::new(link.clone()),
            link,
            engine: RwLock::new(None),
            engine_process: AtomicU64::new(0),
            servers: Mutex::default(),
            passed: Arc::default(),
        })
    }

    pub(crate) fn engine(&self) -> Option<Arc<Engine>> {
        self.engine
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The engine, for the first who sets one.
    pub(crate) fn set_engine(&self, engine: Arc<Engine>) -> bool {
        let mut place = self.engine.write().unwrap_or_else(PoisonError::into_inner);
        let free = place.is_none();
        if free {
            *place = Some(engine);
        }
        free
    }

    /// Closes all connections with 1001, and ends the threads.
    pub(crate) fn stop(&self) {
        if let Some(engine) = self.engine() {
            engine.stop();
        }
    }

    fn servers(&self) -> MutexGuard<'_, Servers> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Servers, by either number.
    #[cfg(sim)]
    pub(crate) fn servers_count(&self) -> (usize, usize) {
        let servers = self.servers();
        (servers.hosts.len(), servers.numbers.len())
    }

    /// Keeps a number for a server that is about to be. False if it is in use.
    pub(crate) fn keep_number(&self, number: u64) -> bool {
        let mut servers = self.servers();
        let free = !servers.hosts.contains_key(&number);
        if free {
            servers.hosts.insert(number, None);
        }
        free
    }

    /// There is a server of this number now, which the engine knows by `id`.
    pub(crate) fn remember(&self, id: u64, host: &Arc<Host>) {
        let mut servers = self.servers();
        servers.hosts.insert(host.number, Some(host.clone()));
        servers.numbers.insert(id, host.number);
    }

    pub(crate) fn forget_server(&self, number: u64) {
        let mut servers = self.servers();
        servers.hosts.remove(&number);
        servers.numbers.retain(|_, known| *known != number);
    }

    pub(crate) fn host(&self, number: u64) -> Option<Arc<Host>> {
        self.servers().hosts.get(&number)?.clone()
    }

    pub(crate) fn host_of(&self, server: &Server) -> Option<Arc<Host>> {
        let servers = self.servers();
        let number = servers.numbers.get(&server.id())?;
        servers.hosts.get(number)?.clone()
    }

    /// The processes that have servers.
    pub(crate) fn are_leaving(&self, engine: &Engine) -> bool {
        let servers = engine.all_servers();
        servers
            .iter()
            .any(|server| server.is_listening() && server.is_stopping())
    }

    pub(crate) fn tell_engine(&self, write: impl FnOnce(&mut Etf<'_>)) {
        let id = self.engine_process.load(Ordering::SeqCst);
        if self.processes.is_alive(id) {
            self.link.message(id, write);
        }
    }

    pub(crate) fn note_topic(&self, host: &Host, name: &[u8]) {
        if let Some(id) = host.topic_changes.note(name)
            && self.processes.is_alive(id)
        {
            self.link.message(id, |w| changed(w, host.number));
        }
    }

    /// Does it when these shards have carried out what they were given, or now.
    pub(crate) fn when_done(&self, shards: ShardSet, job: impl FnOnce() + Send + 'static) {
        match self.engine() {
            Some(engine) if !shards.is_empty() => {
                let last = OnLastDrop::new(job);
                engine.when_done(shards, || {
                    let last = last.clone();
                    Box::new(move || drop(last))
                });
            }
            _ => job(),
        }
    }

    /// What a section asks for. Commands and messages wait for others that come with them.
    pub(crate) fn section(
        self: &Arc<Self>,
        kind: u8,
        body: &[u8],
        gathered: &mut Gathered,
    ) -> Result<(), Broken> {
        if !matches!(kind, FRAME | COMMANDS) {
            self.hand_over(gathered);
        }
        match kind {
            FRAME => self.taken(body, gathered),
            CALL => {
                let (len, rest) = body
                    .split_first_chunk()
                    .ok_or(Broken("a call is too short"))?;
                let len = usize::from(u16::from_be_bytes(*len));
                let (from, rest) = rest
                    .split_at_checked(len)
                    .ok_or(Broken("a call is too short"))?;
                let reply_to = ReplyTo::new(&self.link, Some(from.into()));
                calls::carry_out(self, reply_to, whole(rest)?)
            }
            CAST => calls::carry_out(self, ReplyTo::new(&self.link, None), whole(body)?),
            COMMANDS => self.commands(body, gathered),
            DOWN => {
                let (id, _) = be64(body)?;
                self.down(id);
                Ok(())
            }
            PUBLISH => {
                let (id, what) = be64(body)?;
                let shards = publishing::publish(self, id, EtfTerm::new(whole(what)?))?;
                gathered.published(shards);
                Ok(())
            }
            PING => {
                let (n, _) = be64(body)?;
                self.ping(n);
                Ok(())
            }
            _ => Err(Broken("a section of no known kind")),
        }
    }

    /// A message that was taken before.
    fn taken(&self, body: &[u8], gathered: &mut Gathered) -> Result<(), Broken> {
        let (conn, message) = be64(body)?;
        let conn = ConnId::from_u64(conn).ok_or(Broken("a message for no connection"))?;
        let message = EtfTerm::new(whole(message)?);
        let Some(engine) = self.engine() else {
            return Ok(());
        };
        let reader = EtfReader { caller: 0 };
        match seam::gather_taken(reader, &engine, conn, message, &mut gathered.frames) {
            Ok(()) => Ok(()),
            Err(SendFailure::Send(SendError::Closed)) => {
                self.grants.end(conn);
                Ok(())
            }
            Err(_) => Err(Broken("what was taken is no message")),
        }
    }

    /// Commands and messages go to their shards.
    pub(crate) fn hand_over(&self, gathered: &mut Gathered) {
        gathered.hand_over(self, self.engine().as_deref());
    }

    fn commands(&self, body: &[u8], gathered: &mut Gathered) -> Result<(), Broken> {
        let (id, rest) = be64(body)?;
        let [acknowledged, high, low, list @ ..] = rest else {
            return Err(Broken("commands are too short"));
        };
        let receiver = self.processes.receiver(id);
        if let Some(receiver) = &receiver {
            receiver.set_max(u16::from_be_bytes([*high, *low]));
        }
        if !list.is_empty()
            && let Some(engine) = self.engine()
        {
            let caller = receiver.as_ref().map_or(0, |receiver| receiver.caller);
            let (heads, list) = commands_of(list)?;
            let reader = EtfReader { caller };
            let refused = seam::pairs(reader, &engine, heads, list, &mut gathered.frames)
                .map_err(|_| Broken("commands do not fit their heads"))?;
            if receiver.is_some() && !refused.is_empty() {
                self.link.message(id, |w| {
                    w.tuple(2);
                    w.atom(Atom::sockeye_failed);
                    w.list(refused.len() as u32);
                    refused.iter().for_each(|command| command.write(w));
                    w.end_list(&[]);
                });
            }
        }
        let (Some(receiver), acknowledged @ 1..) = (receiver, *acknowledged) else {
            return Ok(());
        };
        if !receiver.has_sent(acknowledged) {
            return Err(Broken("more batches are acknowledged than were sent"));
        }
        gathered.acknowledge(receiver, acknowledged);
        Ok(())
    }

    fn ping(&self, n: u64) {
        let link = self.link.clone();
        let last =
            OnLastDrop::new(move || link.send(PONG, |out| out.extend_from_slice(&n.to_be_bytes())));
        if let Some(engine) = self.engine() {
            engine.call_each(|| {
                let last = last.clone();
                Box::new(move || drop(last))
            });
        }
    }

    /// A process is dead.
    fn down(&self, id: u64) {
        let Some(watched) = self.processes.remove(id) else {
            return;
        };
        let Some(engine) = self.engine() else {
            return;
        };
        let stop = |host: &Host| {
            if let Some(server) = host.find_server(self) {
                engine.stop_server(&server, 1001, "server stopped");
            }
        };
        match watched {
            Watched::Host(host) => stop(&host),
            Watched::Receiver(receiver, server) => engine.inbox_died(&server, &receiver.inbox),
            Watched::Owner(receiver, host) => {
                if let Some(host) = host.upgrade() {
                    host.forget_owner(id);
                }
                engine.owner_died(&receiver.inbox);
                receiver.give_up();
            }
            Watched::Engine | Watched::Other => {}
        }
    }
}

pub(crate) fn reason(w: &mut Etf<'_>, failure: &SendFailure<EtfTerm<'_>>) {
    failure.reason(w, |w, part| part.copy_to(w.0));
}
