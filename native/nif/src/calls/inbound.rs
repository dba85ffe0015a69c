//! Events out of an inbox: a batch at a time, built in the heap of the process that asks.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

use rustler::sys::ErlNifTerm;
use rustler::{Encoder, Env, Error, NifResult, Resource, ResourceArc, Term};
use sockeye_engine::batch::Event;
use sockeye_engine::inbox::{Left, Visit};
use sockeye_engine::{CallKind, ConnId, Engine, Inbox, Notifier, ShardSet};
use sockeye_seam::settings::EventFormat;
use sockeye_seam::{Atom, events};

use crate::atoms;
use crate::frames::outbound::charge;
use crate::json::decode;
use crate::json::values::DecodeContext;
use crate::server::invalid_conns::InvalidConns;
use crate::server::registry;
use crate::server::relay::{DirectNotifier, RelayedNotifier};
use crate::terms::scheduler::OnScheduler;
use crate::terms::{Builder, conn_of, ok_or_closed};
use crate::vm::monitor::{self, Watched};
use crate::vm::{backlog, running};

/// JSON text that one call on a normal scheduler decodes, if it is more than one frame.
const SLICE_JSON: usize = 32 * 1024;
/// Payload that one such call copies.
const SLICE_RAW: usize = 256 * 1024;
/// What a call on a dirty scheduler decodes, if it is more than one frame. Terms of several large frames at once would only
/// be new memory, more than a cache holds, before the first is answered.
const SLICE_DIRTY: usize = 64 * 1024;
/// Memory that the empty inbox of a process for many connections may hold on to.
const KEEP: usize = 256 * 1024;

/// An inbox, as its process holds it.
pub(crate) struct InboxRef {
    engine: Arc<Engine>,
    inbox: Arc<Inbox>,
    format: Arc<EventFormat>,
    /// Of new connections that need a process, not of their events.
    acceptor: bool,
    invalid_conns: InvalidConns,
}

impl Resource for InboxRef {}

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// `slot`: the number of a worker, `acceptor`, or the connection that the caller serves alone, which may be closed.
#[rustler::nif]
fn inbox_open<'a>(env: Env<'a>, server: u64, slot: Term<'a>) -> NifResult<Term<'a>> {
    let (engine, server) = running::server(server).ok_or(Error::BadArg)?;
    let host = registry::find(server.id()).ok_or(Error::BadArg)?;
    let pid = running::caller(env);
    let worker = slot.decode::<usize>().ok();
    let acceptor = slot.as_c_arg() == atoms::acceptor().as_c_arg();
    let alone = conn_of(env, slot).ok();
    if !(acceptor || alone.is_some() || worker.is_some_and(|slot| slot < server.workers())) {
        return Err(Error::BadArg);
    }
    let keep = if alone.is_some() || server.is_client() {
        0
    } else {
        KEEP
    };
    let notifier: Box<dyn Notifier> = if alone.is_some() {
        Box::new(RelayedNotifier {
            pid,
            relay: host.relay.clone(),
        })
    } else {
        Box::new(DirectNotifier(pid))
    };
    let inbox = Inbox::new(server.config.inbox_size, keep, notifier);
    let watched = Watched::Inbox {
        inbox: inbox.clone(),
        server: server.clone(),
        host: host.pid,
        engine: Arc::downgrade(&engine),
    };
    if monitor::watch(Some(env), &pid, watched).is_none() {
        return Err(Error::BadArg);
    }
    if let Some(slot) = worker {
        engine.set_worker(&server, slot, &inbox);
    } else if acceptor {
        engine.set_acceptor(&server, &inbox);
    } else if alone.is_some_and(|conn| engine.attach(conn, &inbox).is_err()) {
        return Ok(ok_or_closed(env, false));
    }
    let inbox = ResourceArc::new(InboxRef {
        engine,
        inbox,
        format: host.format.clone(),
        acceptor,
        invalid_conns: InvalidConns::default(),
    });
    Ok(inbox.encode(env))
}

/// Ends a connection for what it sent, behind the answers to what it sent before.
#[rustler::nif]
fn refuse<'a>(env: Env<'a>, conn: Term<'a>, code: u16, why: &str) -> NifResult<Term<'a>> {
    end_with(env, conn, |engine, conn| engine.fail(conn, code, why))
}

/// The process has answered what a connection sent before it ended.
#[rustler::nif]
fn answered<'a>(env: Env<'a>, conn: Term<'a>) -> NifResult<Term<'a>> {
    end_with(env, conn, Engine::answered)
}

fn end_with<'a>(
    env: Env<'a>,
    conn: Term<'a>,
    end: impl FnOnce(&Engine, ConnId),
) -> NifResult<Term<'a>> {
    let conn = conn_of(env, conn)?;
    let Some(engine) = running::engine() else {
        return Ok(atoms::ok().encode(env));
    };
    end(&engine, conn);
    let given = (ShardSet::one(conn.shard()), CallKind::Single);
    Ok(backlog::ok(env, &engine, given))
}

#[rustler::nif]
fn recv<'a>(env: Env<'a>, inbox: ResourceArc<InboxRef>, max: usize) -> Term<'a> {
    let slice = if inbox.format.json.is_some() {
        SLICE_JSON
    } else {
        SLICE_RAW
    };
    take(env, &inbox, max, slice, true)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn recv_dirty<'a>(env: Env<'a>, inbox: ResourceArc<InboxRef>, max: usize) -> Term<'a> {
    take(env, &inbox, max, SLICE_DIRTY, false)
}

/// The connections of which something stands in a batch; they are looked for from the first close event on.
#[derive(Default)]
struct Before {
    conns: HashSet<ConnId>,
    /// So many have been looked at.
    terms: usize,
}

impl Before {
    fn has(&mut self, b: Builder, terms: &[ErlNifTerm], conn: ConnId) -> bool {
        let new = terms.iter().skip(self.terms).step_by(2);
        self.conns.extend(new.filter_map(|term| b.as_conn(*term)));
        self.conns.contains(&conn)
    }
}

/// Takes up to `max` events, and no more payload than `slice` bytes; but one that is more, if it is work for this scheduler.
fn take<'a>(
    env: Env<'a>,
    inbox: &InboxRef,
    max: usize,
    slice: usize,
    on_normal_scheduler: bool,
) -> Term<'a> {
    let b = Builder::of(env);
    let mut terms = Vec::with_capacity(2 * max.min(256));
    // Frames of one connection mostly come together, and can share its term.
    let mut last: Option<(ConnId, ErlNifTerm)> = None;
    let mut conn_term = |conn: ConnId| match last {
        Some((known, term)) if known == conn => term,
        _ => {
            let term = b.conn(conn);
            last = Some((conn, term));
            term
        }
    };
    let (mut bytes, mut large) = (0, false);
    let (mut before, mut answered) = (Before::default(), Vec::new());
    let (left, shards) = SCRATCH.with_borrow_mut(|scratch| {
        let mut context = DecodeContext::new(b, OnScheduler::of(env), scratch);
        if on_normal_scheduler {
            context = context.on_normal_scheduler();
        }
        let may_be_alone = |event: &Event<'_>, len: usize| match event {
            _ if !on_normal_scheduler => true,
            Event::Text(text) if inbox.format.json.is_some() => decode::is_normal(text),
            _ => len <= SLICE_RAW,
        };
        inbox.inbox.drain(max.max(1), |conn, event, len| {
            if bytes + len > slice && !(terms.is_empty() && may_be_alone(&event, len)) {
                // Alone too large for this scheduler, or only for this call.
                large = len > slice;
                return Visit::Stop;
            }
            bytes += len;
            if inbox.invalid_conns.covers(conn, &event) {
                return Visit::Next;
            }
            if inbox.acceptor {
                let info = rustler::types::map::map_new(env).as_c_arg();
                terms.extend([conn_term(conn), b.tuple([b.atom(atoms::open()), info])]);
                return Visit::Next;
            }
            if let Event::Closed(ended) = event {
                // Commands for what came in earlier calls have been handed over.
                if before.has(b, &terms, conn) {
                    terms.extend([conn_term(conn), atoms::named(Atom::ending)]);
                } else {
                    answered.push(conn);
                }
                terms.extend([conn_term(conn), events::left(&mut context.b, ended)]);
                // Nothing comes after its end: nobody looks for it.
                before.terms = terms.len();
                return Visit::Next;
            }
            let term = inbox.format.event(&mut context, event);
            if context.gave_up {
                bytes -= len;
                large = true;
                return Visit::Stop;
            }
            let term = term.unwrap_or_else(|why| {
                inbox.invalid_conns.refuse(conn);
                events::refused(&mut context.b, &why)
            });
            terms.extend([conn_term(conn), term]);
            Visit::Next
        })
    });
    if shards != 0 {
        inbox.engine.resume(&inbox.inbox, shards);
    }
    for conn in answered {
        inbox.engine.answered(conn);
    }
    charge(env, bytes, terms.len() / 2);
    let term = match left {
        Left::Nothing => b.list(&terms),
        Left::More if terms.is_empty() && large => b.atom(atoms::dirty()),
        Left::More => b.tuple([b.atom(atoms::more()), b.list(&terms)]),
    };
    b.term(env, term)
}
