//! Inboxes of owner processes, and how their events become messages.
//!
//! An owner is any process: it does not fetch its events, as a handler's process does. A delivery process
//! (`sockeye_delivery`) of [`delivery_queue`](super::delivery_queue) builds the messages on its own scheduler and sends
//! them. An event that is too large for a normal scheduler is for a process that is started for it: no
//! other owner waits.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use rustler::{Encoder, Env, LocalPid, Resource, ResourceArc, Term};
use sockeye_engine::batch::{Batch, Event};
use sockeye_engine::inbox::{Left, ReadStep};
use sockeye_engine::{ConnId, Engine, Inbox};
use sockeye_seam::settings::EventFormat;

use crate::atoms;
use crate::json::values::DecodeContext;
use crate::server::invalid_conns::InvalidConns;
use crate::terms::Builder;
use crate::terms::scheduler::{OnScheduler, SendOutcome};
use crate::vm::{lock, process};

/// What a call on a normal scheduler may take on, in bytes that are copied.
pub(crate) const SLICE: usize = 256 * 1024;
/// To read a byte of JSON is worth so many that are copied.
pub(crate) const JSON: usize = 8;
/// Events of such a call.
pub(crate) const EVENTS: usize = 256;
/// Events of a call for large ones: what is small goes back to the queue.
const LARGE_EVENTS: usize = 16;

/// The inbox of an owner, and what its delivery needs.
pub(crate) struct OwnerInbox {
    pub(crate) pid: LocalPid,
    /// All events of a connection that there are make one message.
    batch: bool,
    format: Arc<EventFormat>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) engine: Weak<Engine>,
    /// The number of its queue.
    pub(crate) queue: usize,
    /// In that queue.
    pub(crate) queued: AtomicBool,
    invalid_conns: InvalidConns,
    /// Messages that were sent.
    pub(crate) sent: AtomicU64,
    /// Connections that end when the process has worked through what it was sent before, and how many messages these are.
    ending: Mutex<Vec<(ConnId, u64)>>,
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
            events: LARGE_EVENTS,
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

/// What is left in the inbox of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remainder {
    Nothing,
    More,
    /// The next event is too large for a normal scheduler.
    Large,
    /// Another thread has it, and puts it back.
    Elsewhere,
}

impl OwnerInbox {
    /// `inbox` makes the inbox, whose notifier may know of this.
    pub(crate) fn new(
        pid: LocalPid,
        batch: bool,
        format: Arc<EventFormat>,
        engine: Weak<Engine>,
        queue: usize,
        inbox: impl FnOnce(Weak<Self>) -> Arc<Inbox>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|owner: &Weak<OwnerInbox>| OwnerInbox {
            pid,
            batch,
            format,
            inbox: inbox(owner.clone()),
            engine,
            queue,
            queued: AtomicBool::new(false),
            invalid_conns: InvalidConns::default(),
            sent: AtomicU64::new(0),
            ending: Mutex::default(),
        })
    }

    /// What an event takes.
    fn cost(&self, batch: &Batch, index: usize) -> usize {
        let len = batch.payload_len(index);
        match batch.event(index) {
            Some((_, Event::Text(_))) if self.format.json.is_some() => len.saturating_mul(JSON),
            _ => len,
        }
    }

    /// Sends what there is, as far as the budget goes. Unless it `arms`, the delivery process is not told of
    /// what comes next.
    fn deliver(&self, on: OnScheduler<'_>, budget: &mut Budget, arms: bool) -> Remainder {
        let mut invalid = Vec::new();
        let (mut dead, mut large) = (false, false);
        let served = SCRATCH.with_borrow_mut(|scratch| {
            self.inbox.serve(arms, |batch, index| {
                let cost = self.cost(batch, index);
                if !budget.covers(cost) {
                    large = cost > SLICE;
                    return ReadStep::Stop;
                }
                process::with_env(|b| {
                    let mut context = DecodeContext::new(b, on, scratch);
                    let (next, term) =
                        self.message(&mut context, batch, index, budget, &mut invalid);
                    let Some(term) = term else {
                        return ReadStep::On(next);
                    };
                    match on.send(&self.pid, term) {
                        SendOutcome::Delivered => {
                            self.sent.fetch_add(1, Ordering::Relaxed);
                            ReadStep::On(next)
                        }
                        SendOutcome::ReceiverDead => {
                            dead = true;
                            ReadStep::Stop
                        }
                        SendOutcome::SenderDead => ReadStep::Stop,
                    }
                })
            })
        });
        let Some((left, shards)) = served else {
            return Remainder::Elsewhere;
        };
        let Some(engine) = self.engine.upgrade() else {
            return self.rest(left, large);
        };
        if dead {
            engine.owner_died(&self.inbox);
            return Remainder::Nothing;
        }
        engine.resume(&self.inbox, shards);
        for (conn, why) in invalid {
            engine.close_after_answers(conn, 1007, &why);
        }
        self.rest(left, large)
    }

    fn rest(&self, left: Left, large: bool) -> Remainder {
        match left {
            Left::Nothing => Remainder::Nothing,
            Left::More if large => Remainder::Large,
            Left::More => Remainder::More,
        }
    }

    /// The message that begins with this event, and the first event that is not in it.
    fn message(
        &self,
        context: &mut DecodeContext<'_>,
        batch: &Batch,
        index: usize,
        budget: &mut Budget,
        invalid: &mut Vec<(ConnId, Box<str>)>,
    ) -> (usize, Option<rustler::sys::ErlNifTerm>) {
        let b = context.b;
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
            if self.invalid_conns.covers(conn, &event) {
                continue;
            }
            match self.format.event(context, event) {
                Ok(term) => terms.push(term),
                Err(why) => {
                    self.invalid_conns.refuse(conn);
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
    ) -> Remainder {
        let deliver = AssertUnwindSafe(|| self.deliver(on, budget, arms));
        catch_unwind(deliver).unwrap_or_else(|panic| {
            // What it has swallowed cannot be told again: as if the process were dead.
            if let Some(engine) = self.engine.upgrade() {
                engine.owner_died(&self.inbox);
            }
            resume_unwind(panic)
        })
    }

    /// Connections of which the process has been sent all but the end, as `{OwnerInbox, Pid, Sent, Timeout, Conns}`.
    pub(crate) fn ending<'a>(self: &Arc<Self>, env: Env<'a>) -> Option<Term<'a>> {
        let ending = std::mem::take(&mut *lock(&self.ending));
        let (_, sent) = *ending.last()?;
        let b = Builder::of(env);
        let engine = self.engine.upgrade()?;
        // All of them are of one server.
        let label = ending.iter().find_map(|(conn, _)| engine.label_of(*conn))?;
        let timeout = engine.server(label.server)?.config.close_timeout;
        let conns: Vec<_> = ending.iter().map(|(conn, _)| b.conn(*conn)).collect();
        let inbox = ResourceArc::new(OwnerInboxRef(self.clone())).encode(env);
        let ending = [
            inbox.as_c_arg(),
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

/// The inbox of an owner, as a process of Erlang holds it.
pub(crate) struct OwnerInboxRef(pub(crate) Arc<OwnerInbox>);

impl Resource for OwnerInboxRef {}
