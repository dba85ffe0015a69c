//! The calls of delivery processes: see [`crate::server::delivery_queue`].

use std::sync::atomic::Ordering;

use rustler::{Encoder, Env, Error, NifResult, ResourceArc, Term};

use crate::atoms;
use crate::frames::outbound::charge;
use crate::server::delivery_queue::{self, DeliveryQueue};
use crate::server::owner_inbox::{Budget, EVENTS, JSON, OwnerInboxRef, Remainder, SLICE};
use crate::server::registry;
use crate::terms::Builder;
use crate::terms::scheduler::OnScheduler;
use crate::vm::running;

fn queue(index: usize) -> NifResult<&'static DeliveryQueue> {
    delivery_queue::find(index).ok_or(Error::BadArg)
}

/// The caller is one of so many delivery processes from now on, and finds what its predecessor has left.
#[rustler::nif(schedule = "DirtyCpu")]
fn delivery_open<'a>(env: Env<'a>, index: usize, count: usize) -> NifResult<Term<'a>> {
    let queue = queue(index)?;
    delivery_queue::set_count(count);
    queue.begin(running::caller(env));
    registry::for_each_owner_inbox(|owner| {
        if owner.queue == index && owner.has_some() {
            queue.put(owner.clone());
        }
    });
    Ok(atoms::ok().encode(env))
}

/// Brings what there is, as far as a call on a normal scheduler may: `{done | more, Large, Ending}`. Large is a
/// list of `{OwnerInbox, Pid}`: their next events are for [`deliver_large`].
#[rustler::nif]
fn delivery_run<'a>(env: Env<'a>, index: usize) -> NifResult<Term<'a>> {
    let (b, on) = (Builder::of(env), OnScheduler::of(env));
    let queue = queue(index)?;
    let mut budget = Budget::normal();
    let (mut large, mut ending) = (Vec::new(), Vec::new());
    let mut rest = atoms::more();
    while budget.covers(0) {
        let Some(owner) = queue.next() else {
            rest = atoms::done();
            break;
        };
        let left = owner.deliver_safely(on, &mut budget, true);
        ending.extend(owner.ending(env).map(|term| term.as_c_arg()));
        match left {
            Remainder::Nothing | Remainder::Elsewhere => {}
            Remainder::More => {
                queue.put(owner);
                // Its next event does not fit into what is left.
                break;
            }
            Remainder::Large => {
                let pid = b.pid(&owner.pid);
                let inbox = ResourceArc::new(OwnerInboxRef(owner)).encode(env);
                large.push(b.tuple([inbox.as_c_arg(), pid]));
            }
        }
    }
    charge(env, (SLICE - budget.bytes) / JSON, EVENTS - budget.events);
    let answer = [b.atom(rest), b.list(&large), b.list(&ending)];
    Ok(b.term(env, b.tuple(answer)))
}

/// Sends what is too large for a delivery process, to which [`delivery_requeue`] must give the inbox back. What is ending by
/// then.
#[rustler::nif(schedule = "DirtyCpu")]
fn deliver_large<'a>(env: Env<'a>, inbox: ResourceArc<OwnerInboxRef>) -> Term<'a> {
    let on = OnScheduler::of(env);
    let owner = &inbox.0;
    let rest = owner.deliver_safely(on, &mut Budget::dirty(), false);
    if rest != Remainder::Elsewhere && !on.is_alive() {
        // Killed meanwhile: the delivery process may be another one, and have met this call at the inbox.
        let owner = owner.clone();
        if let Some(engine) = owner.engine.upgrade() {
            engine.call(Box::new(move || {
                delivery_queue::put_and_tell(owner);
            }));
        }
    }
    owner
        .ending(env)
        .into_iter()
        .collect::<Vec<_>>()
        .encode(env)
}

/// How many messages have gone to this process.
#[rustler::nif]
fn delivery_sent(inbox: ResourceArc<OwnerInboxRef>) -> u64 {
    inbox.0.sent.load(Ordering::Relaxed)
}

/// An inbox is its queue's again.
#[rustler::nif]
fn delivery_requeue<'a>(env: Env<'a>, inbox: ResourceArc<OwnerInboxRef>) -> Term<'a> {
    delivery_queue::of(&inbox.0).put(inbox.0.clone());
    atoms::ok().encode(env)
}
