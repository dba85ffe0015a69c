//! A simulated system for the engine: its clock, threads, sockets and random numbers, all from one seed.
//!
//! A world belongs to the thread that has begun it ([`begin`]). It has *executors*, each of which stands for a thread of the real world. [`step`] lets
//! one of those that have something to do poll one task, or moves the clock to the next event. Which one it is, and how much a
//! socket takes and when it arrives, is drawn from the seed; every choice goes into a hash ([`trace`]).

// A fault here is found by the simulation; no user meets it.
#![allow(
    clippy::missing_panics_doc,
    clippy::expect_used,
    clippy::manual_async_fn
)]

mod chance;
pub mod collections;
mod executor;
mod faults;
pub mod names;
pub mod net;
pub mod task;
pub mod thread;
pub mod time;
mod timers;
pub mod trace;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

pub use chance::{Chance, chance, draw, draw_from, seed};
use executor::Executors;
pub use executor::{Order, executor, on_executor, pending_tasks, preempt, run_one, set_freezes};
pub use faults::{fault, plant};
use net::Network;
use timers::Timers;

/// The whole state of a world.
struct World {
    /// Counts the worlds of this thread: wakers and sockets of an earlier one do nothing.
    epoch: Cell<u64>,
    /// Nanoseconds.
    now: Cell<u64>,
    chance: RefCell<Chance>,
    seed: Cell<u64>,
    timers: Timers,
    executors: Executors,
    /// The executor of long work.
    worker: Cell<Option<usize>>,
    network: Network,
    names: RefCell<BTreeMap<String, Vec<std::net::IpAddr>>>,
    numbers: RefCell<BTreeMap<usize, u64>>,
    steps: Cell<u64>,
    trace: trace::Trace,
}

thread_local! {
    static WORLD: World = World {
        epoch: Cell::new(0),
        now: Cell::new(0),
        chance: RefCell::new(Chance::new(0)),
        seed: Cell::new(0),
        timers: Timers::default(),
        executors: Executors::default(),
        worker: Cell::new(None),
        network: Network::default(),
        names: RefCell::default(),
        numbers: RefCell::default(),
        steps: Cell::new(0),
        trace: trace::Trace::default(),
    };
}

fn with<T>(work: impl FnOnce(&World) -> T) -> T {
    WORLD.with(work)
}

/// Begins a new world; what is left of the last one on this thread is dropped.
pub fn begin(seed: u64) {
    end();
    with(|world| {
        world.now.set(1_000_000_000);
        world.seed.set(seed);
        *world.chance.borrow_mut() = Chance::new(seed);
        world.numbers.borrow_mut().clear();
        world.names.borrow_mut().clear();
        world.steps.set(0);
        world.worker.set(None);
        world.trace.clear();
        world.network.clear();
        faults::forget_hits();
    });
}

/// Ends the world of this thread: its tasks are dropped.
pub fn end() {
    executor::drop_all();
    with(|world| {
        world.timers.clear();
        world.network.clear();
        world.epoch.set(world.epoch.get() + 1);
        world.executors.clear();
    });
}

pub(crate) fn epoch() -> u64 {
    with(|world| world.epoch.get())
}

/// Nanoseconds since the world began, and a second.
pub fn now() -> u64 {
    with(|world| world.now.get())
}

/// Steps that were made.
pub fn steps() -> u64 {
    with(|world| world.steps.get())
}

/// Timers and packets that are still to come.
pub fn pending_events() -> usize {
    with(|world| world.timers.len())
}

/// The next number of those that this counter gives out. In each world it begins anew.
pub fn unique(counter: &'static AtomicU64) -> u64 {
    with(|world| {
        let mut numbers = world.numbers.borrow_mut();
        let next = numbers
            .entry(std::ptr::from_ref(counter) as usize)
            .or_insert(0);
        *next += 1;
        *next
    })
}

/// What [`step`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A task was polled.
    Ran,
    /// Nothing was ready: the clock has moved to the next event.
    Waited,
    /// Nothing will ever happen again, or not before the time given.
    Idle,
}

/// One step: a task is polled, or the clock moves on, to `until` at most.
pub fn step(until: u64) -> Step {
    with(|world| world.steps.set(world.steps.get() + 1));
    timers::fire();
    if let Some(index) = executor::choose() {
        // Work takes time, and now and then the system has something else to do.
        let pause = if chance(1, 64) {
            draw(500_000)
        } else {
            500 + draw(1000)
        };
        with(|world| world.now.set(world.now.get() + pause));
        executor::run_one(index);
        return Step::Ran;
    }
    let next = with(|world| {
        let timer = world.timers.next();
        let scheduled = executor::next_scheduled();
        timer.into_iter().chain(scheduled).min()
    });
    match next {
        Some(at) if at <= until => {
            with(|world| world.now.set(world.now.get().max(at)));
            Step::Waited
        }
        _ => {
            if until != u64::MAX {
                with(|world| world.now.set(world.now.get().max(until)));
            }
            Step::Idle
        }
    }
}

/// Steps until so many nanoseconds have passed.
pub fn run_for(nanos: u64) {
    let until = now().saturating_add(nanos);
    while now() < until && step(until) != Step::Idle {}
}
