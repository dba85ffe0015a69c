//! The calls of couriers and carriers: see [`crate::server::desk`].

use std::sync::atomic::Ordering;

use rustler::{Encoder, Env, Error, NifResult, ResourceArc, Term};

use crate::atoms;
use crate::frames::outbound::charge;
use crate::server::desk::{self, Budget, COURIERS, Courier, EVENTS, JSON, Load, Rest, SLICE};
use crate::server::hosts;
use crate::terms::Builder;
use crate::terms::scheduler::OnScheduler;
use crate::vm::running;

fn courier(index: usize) -> NifResult<&'static Courier> {
    COURIERS.get(index).ok_or(Error::BadArg)
}

/// The caller is one of so many couriers from now on, and finds what its predecessor has left.
#[rustler::nif(schedule = "DirtyCpu")]
fn courier_open<'a>(env: Env<'a>, index: usize, count: usize) -> NifResult<Term<'a>> {
    let courier = courier(index)?;
    desk::set_count(count);
    courier.begin(running::caller(env));
    hosts::for_each_desk(|desk| {
        if desk.courier == index && desk.has_some() {
            courier.put(desk.clone());
        }
    });
    Ok(atoms::ok().encode(env))
}

/// Brings what there is, as far as a call on a normal scheduler may: `{done | more, Loads, Ending}`, where a
/// load is `{Resource, Pid}`.
#[rustler::nif]
fn courier_run<'a>(env: Env<'a>, index: usize) -> NifResult<Term<'a>> {
    let (b, on) = (Builder::of(env), OnScheduler::of(env));
    let courier = courier(index)?;
    let mut budget = Budget::normal();
    let (mut loads, mut ending) = (Vec::new(), Vec::new());
    let mut rest = atoms::more();
    while budget.covers(0) {
        let Some(desk) = courier.next() else {
            rest = atoms::done();
            break;
        };
        let left = desk.deliver_safely(on, &mut budget, true);
        ending.extend(desk.ending(env).map(|term| term.as_c_arg()));
        match left {
            Rest::Nothing | Rest::Elsewhere => {}
            Rest::More => {
                courier.put(desk);
                // Its next event does not fit into what is left.
                break;
            }
            Rest::Large => {
                let pid = b.pid(&desk.pid);
                let load = ResourceArc::new(Load(desk)).encode(env).as_c_arg();
                loads.push(b.tuple([load, pid]));
            }
        }
    }
    charge(env, (SLICE - budget.bytes) / JSON, EVENTS - budget.events);
    let answer = [b.atom(rest), b.list(&loads), b.list(&ending)];
    Ok(b.term(env, b.tuple(answer)))
}

/// Brings what is too large for a courier, which must get the load back. What is ending by then.
#[rustler::nif(schedule = "DirtyCpu")]
fn courier_carry<'a>(env: Env<'a>, load: ResourceArc<Load>) -> Term<'a> {
    let on = OnScheduler::of(env);
    let desk = &load.0;
    let rest = desk.deliver_safely(on, &mut Budget::dirty(), false);
    if rest != Rest::Elsewhere && !on.is_alive() {
        // Killed meanwhile: the courier may be another one, and have met this call at the desk.
        let desk = desk.clone();
        if let Some(engine) = desk.engine.upgrade() {
            engine.call(Box::new(move || {
                let courier = desk.courier();
                courier.put(desk);
                courier.tell();
            }));
        }
    }
    desk.ending(env).into_iter().collect::<Vec<_>>().encode(env)
}

/// How many messages have gone to this process.
#[rustler::nif]
fn courier_sent(load: ResourceArc<Load>) -> u64 {
    load.0.sent.load(Ordering::Relaxed)
}

/// A load is the courier's again.
#[rustler::nif]
fn courier_return<'a>(env: Env<'a>, load: ResourceArc<Load>) -> Term<'a> {
    load.0.courier().put(load.0.clone());
    atoms::ok().encode(env)
}
