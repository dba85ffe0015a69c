//! Couriers: processes that bring plain processes their messages.
//!
//! A plain process has an inbox as a handler has one, but does not come for its events. A courier
//! takes them, builds the messages on its own scheduler and sends them. Each serves the inboxes of
//! many. What is too large for a normal scheduler is for a *carrier*, a process that the courier
//! starts for it: it keeps nobody waiting but the one it is for.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustler::{Encoder, Env, LocalPid, Resource, ResourceArc, Term};
use sockeye_engine::batch::{Batch, Event};
use sockeye_engine::inbox::{Left, Step};
use sockeye_engine::{ConnId, Engine, Inbox, Notifier};

use crate::atoms;
use crate::json::values::Texts;
use crate::server::events::Format;
use crate::server::refusals::Refusals;
use crate::terms::Builder;
use crate::terms::scheduler::{OnScheduler, Sent};
use crate::vm::process;

/// What a call on a normal scheduler may take on, in bytes that are copied.
pub(crate) const SLICE: usize = 256 * 1024;
/// To read a byte of JSON is worth so many that are copied.
pub(crate) const JSON: usize = 8;
/// Events of such a call.
pub(crate) const EVENTS: usize = 256;
/// Events of a carrier's call: what is small goes back to the courier.
const CARRIED: usize = 16;
/// Memory that the empty inbox of a plain process may hold on to, twice.
const KEEP: usize = 8 * 1024;
/// As many as there can be shards.
pub(crate) const MOST: usize = 64;

/// What one process brings, and who it is.
pub(crate) struct Courier {
    queue: Mutex<VecDeque<Arc<Desk>>>,
    /// It has been told that there is something, and has not seen the queue empty since.
    told: AtomicBool,
    pid: Mutex<Option<LocalPid>>,
}

pub(crate) static COURIERS: [Courier; MOST] = [const {
    Courier {
        queue: Mutex::new(VecDeque::new()),
        told: AtomicBool::new(false),
        pid: Mutex::new(None),
    }
}; MOST];

/// How many there are.
static COUNT: AtomicUsize = AtomicUsize::new(1);

/// New desks are spread over so many.
pub(crate) fn set_count(count: usize) {
    COUNT.store(count.clamp(1, MOST), Ordering::Relaxed);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Courier {
    pub(crate) fn put(&self, desk: Arc<Desk>) {
        if !desk.queued.swap(true, Ordering::AcqRel) {
            lock(&self.queue).push_back(desk);
        }
    }

    /// This process is the courier from now on. It looks without being told.
    pub(crate) fn begin(&self, pid: LocalPid) {
        *lock(&self.pid) = Some(pid);
        self.told.store(true, Ordering::Release);
    }

    /// From a thread of our own.
    pub(crate) fn tell(&self) {
        if !self.told.swap(true, Ordering::AcqRel)
            && let Some(pid) = *lock(&self.pid)
        {
            process::send_atom(&pid, atoms::sockeye_ready());
        }
    }

    pub(crate) fn next(&self) -> Option<Arc<Desk>> {
        let mut queue = lock(&self.queue);
        let desk = queue.pop_front();
        match &desk {
            Some(desk) => desk.queued.store(false, Ordering::Release),
            // Whoever puts something in from now on tells.
            None => self.told.store(false, Ordering::Release),
        }
        desk
    }
}

/// What there is of a plain process, for its courier.
pub(crate) struct Desk {
    pub(crate) pid: LocalPid,
    /// All events of a connection that there are make one message.
    batch: bool,
    format: Arc<Format>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) engine: Weak<Engine>,
    pub(crate) courier: usize,
    /// In the courier's queue.
    queued: AtomicBool,
    refusals: Refusals,
    /// Messages that were sent.
    pub(crate) sent: AtomicU64,
    /// Connections that end when the process has worked through what it was sent before, and how many messages these are.
    ending: Mutex<Vec<(ConnId, u64)>>,
}

struct DeskNotifier(Weak<Desk>);

impl Notifier for DeskNotifier {
    fn notify(&self) -> bool {
        let Some(desk) = self.0.upgrade() else {
            return false;
        };
        let courier = desk.courier();
        courier.put(desk);
        courier.tell();
        true
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What a call may still do.
pub(crate) struct Budget {
    pub(crate) bytes: usize,
    pub(crate) events: usize,
}

impl Budget {
    pub(crate) fn normal() -> Self {
        Budget {
            bytes: SLICE,
            events: EVENTS,
        }
    }

    pub(crate) fn dirty() -> Self {
        Budget {
            bytes: usize::MAX,
            events: CARRIED,
        }
    }

    pub(crate) fn covers(&self, cost: usize) -> bool {
        self.events > 0 && cost <= self.bytes
    }

    fn spend(&mut self, cost: usize) {
        self.events -= 1;
        self.bytes -= cost;
    }
}

/// What is left at a desk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    Nothing,
    More,
    /// The next event is too large for a normal scheduler.
    Large,
    /// Another thread has it, and puts it back.
    Elsewhere,
}

impl Desk {
    pub(crate) fn new(
        pid: LocalPid,
        batch: bool,
        format: Arc<Format>,
        room: usize,
        engine: Weak<Engine>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|desk: &Weak<Desk>| {
            let inbox = Inbox::new(room, KEEP, Box::new(DeskNotifier(desk.clone())));
            Desk {
                pid,
                batch,
                format,
                courier: inbox.key() as usize % COUNT.load(Ordering::Relaxed),
                inbox,
                engine,
                queued: AtomicBool::new(false),
                refusals: Refusals::default(),
                sent: AtomicU64::new(0),
                ending: Mutex::default(),
            }
        })
    }

    pub(crate) fn courier(&self) -> &'static Courier {
        &COURIERS[self.courier % MOST]
    }

    /// What an event takes.
    fn cost(&self, batch: &Batch, index: usize) -> usize {
        let len = batch.payload_len(index);
        match batch.event(index) {
            Some((_, Event::Text(_))) if self.format.json.is_some() => len.saturating_mul(JSON),
            _ => len,
        }
    }

    /// Sends what there is, as far as the budget goes. Unless it `arms`, the courier is not told of
    /// what comes next.
    fn deliver(&self, on: OnScheduler<'_>, budget: &mut Budget, arms: bool) -> Rest {
        let mut invalid = Vec::new();
        let (mut dead, mut large) = (false, false);
        let served = SCRATCH.with_borrow_mut(|scratch| {
            self.inbox.serve(arms, |batch, index| {
                let cost = self.cost(batch, index);
                if !budget.covers(cost) {
                    large = cost > SLICE;
                    return Step::Stop;
                }
                process::with_env(|b| {
                    let mut texts = Texts::new(b, on, scratch);
                    let (next, term) = self.message(&mut texts, batch, index, budget, &mut invalid);
                    let Some(term) = term else {
                        return Step::On(next);
                    };
                    match on.send(&self.pid, term) {
                        Sent::Done => {
                            self.sent.fetch_add(1, Ordering::Relaxed);
                            Step::On(next)
                        }
                        Sent::Dead => {
                            dead = true;
                            Step::Stop
                        }
                        Sent::NotAlive => Step::Stop,
                    }
                })
            })
        });
        let Some((left, shards)) = served else {
            return Rest::Elsewhere;
        };
        let Some(engine) = self.engine.upgrade() else {
            return self.rest(left, large);
        };
        if dead {
            engine.owner_died(&self.inbox);
            return Rest::Nothing;
        }
        engine.resume(&self.inbox, shards);
        for (conn, why) in invalid {
            engine.object(conn, 1007, &why);
        }
        self.rest(left, large)
    }

    fn rest(&self, left: Left, large: bool) -> Rest {
        match left {
            Left::Nothing => Rest::Nothing,
            Left::More if large => Rest::Large,
            Left::More => Rest::More,
        }
    }

    /// The message that begins with this event, and the first event that is not in it.
    fn message(
        &self,
        texts: &mut Texts<'_>,
        batch: &Batch,
        index: usize,
        budget: &mut Budget,
        invalid: &mut Vec<(ConnId, Box<str>)>,
    ) -> (usize, Option<rustler::sys::ErlNifTerm>) {
        let b = texts.b;
        let Some((conn, _)) = batch.event(index) else {
            return (index + 1, None);
        };
        let mut terms = Vec::new();
        let mut next = index;
        while let Some((of, event)) = batch.event(next) {
            let cost = self.cost(batch, next);
            if of != conn || (next > index && !(self.batch && budget.covers(cost))) {
                break;
            }
            if matches!(event, Event::Ending) {
                if next > index {
                    break;
                }
                lock(&self.ending).push((conn, self.sent.load(Ordering::Relaxed)));
                return (next + 1, None);
            }
            budget.spend(cost);
            next += 1;
            if self.refusals.covers(conn, &event) {
                continue;
            }
            match self.format.term(texts, event) {
                Ok(term) => terms.push(term),
                Err(why) => {
                    self.refusals.refuse(conn);
                    invalid.push((conn, why.0));
                }
            }
        }
        let event = match terms.as_slice() {
            [] => return (next, None),
            [one] => *one,
            many => b.tuple([b.atom(atoms::batch()), b.list(many)]),
        };
        let message = b.tuple([b.atom(atoms::sockeye()), b.conn(conn), event]);
        (next, Some(message))
    }

    /// The same, where a defect costs this process its connections and nobody else anything.
    pub(crate) fn deliver_safely(
        &self,
        on: OnScheduler<'_>,
        budget: &mut Budget,
        arms: bool,
    ) -> Rest {
        let deliver = AssertUnwindSafe(|| self.deliver(on, budget, arms));
        catch_unwind(deliver).unwrap_or_else(|panic| {
            // What it has swallowed can not be told again: as if the process were dead.
            if let Some(engine) = self.engine.upgrade() {
                engine.owner_died(&self.inbox);
            }
            resume_unwind(panic)
        })
    }

    /// Connections of which the process has been sent all but the end, as `{Load, Pid, Sent, Timeout, Conns}`.
    pub(crate) fn ending<'a>(self: &Arc<Self>, env: Env<'a>) -> Option<Term<'a>> {
        let ending = std::mem::take(&mut *lock(&self.ending));
        let (_, sent) = *ending.last()?;
        let b = Builder::of(env);
        let engine = self.engine.upgrade()?;
        // All of them are of one server.
        let home = ending.iter().find_map(|(conn, _)| engine.home_of(*conn))?;
        let timeout = engine.server(home.server)?.config.close_timeout;
        let conns: Vec<_> = ending.iter().map(|(conn, _)| b.conn(*conn)).collect();
        let load = ResourceArc::new(Load(self.clone())).encode(env).as_c_arg();
        let ending = [
            load,
            b.pid(&self.pid),
            b.integer(sent),
            b.integer(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
            b.list(&conns),
        ];
        Some(b.term(env, b.tuple(ending)))
    }

    /// Whether there is something to bring.
    pub(crate) fn has_some(&self) -> bool {
        self.inbox.pending() > 0
    }
}

/// A desk, as a carrier holds it.
pub(crate) struct Load(pub(crate) Arc<Desk>);

impl Resource for Load {}
