//! Looking for a seed that fails, and for the smallest world in which it does.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::plan::Plan;
use crate::run::{Outcome, run};

/// Which worlds are to be lived.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub from: u64,
    pub count: u64,
    pub time: Duration,
    pub threads: usize,
}

/// What a search came to.
#[derive(Debug, Default)]
pub struct Found {
    pub seeds: u64,
    pub steps: u64,
    /// Nanoseconds of all worlds.
    pub time: u128,
    /// The first seed that failed.
    pub failed: Option<u64>,
}

/// Lives worlds until one fails, or there are no more.
pub fn search(wanted: &Wanted, fault: Option<&str>) -> Found {
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let found = Mutex::new(Found::default());
    let end = Instant::now() + wanted.time;
    std::thread::scope(|scope| {
        for _ in 0..wanted.threads {
            scope.spawn(|| {
                sockeye_world::plant(fault);
                let mut own = Found::default();
                while !stop.load(Ordering::Relaxed) && Instant::now() < end {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= wanted.count {
                        break;
                    }
                    let seed = wanted.from + n;
                    let outcome = run(&Plan::new(seed));
                    own.seeds += 1;
                    own.steps += outcome.steps;
                    own.time += u128::from(outcome.time);
                    if !outcome.problems.is_empty() {
                        own.failed = Some(seed);
                        stop.store(true, Ordering::Relaxed);
                    }
                }
                let mut all = found
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                all.seeds += own.seeds;
                all.steps += own.steps;
                all.time += own.time;
                all.failed = [all.failed, own.failed].into_iter().flatten().min();
            });
        }
    });
    found
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Lives a world on a thread of its own: one that has failed leaves things behind.
pub fn run_alone(plan: &Plan, fault: Option<&str>) -> Outcome {
    let alone = || {
        sockeye_world::plant(fault);
        run(plan)
    };
    std::thread::scope(|scope| match scope.spawn(alone).join() {
        Ok(outcome) => outcome,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// The plan of a failed seed with as few clients and troubles as possible, and what was left out.
pub fn shrink(seed: u64, fault: Option<&str>) -> (Plan, Vec<usize>, Vec<&'static str>) {
    let whole = Plan::new(seed);
    let mut clients: Vec<usize> = whole.clients.iter().map(|c| c.number).collect();
    let mut without = Vec::new();
    let make = |clients: &[usize], without: &[&str]| {
        let plan = Plan::new(seed).with_clients(clients);
        without
            .iter()
            .fold(plan, |plan, trouble| plan.without(trouble))
    };
    let fails = |plan: &Plan| !run_alone(plan, fault).problems.is_empty();
    loop {
        let before = (clients.len(), without.len());
        for number in clients.clone() {
            let fewer: Vec<_> = clients.iter().copied().filter(|n| *n != number).collect();
            if fails(&make(&fewer, &without)) {
                clients = fewer;
            }
        }
        for trouble in Plan::TROUBLES {
            if without.contains(&trouble) {
                continue;
            }
            let mut more = without.clone();
            more.push(trouble);
            if fails(&make(&clients, &more)) {
                without = more;
            }
        }
        if (clients.len(), without.len()) == before {
            break;
        }
    }
    (make(&clients, &without), clients, without)
}

/// What lives this world again.
pub fn replay_line(seed: u64, clients: &[usize], without: &[&str]) -> String {
    let clients: Vec<_> = clients.iter().map(ToString::to_string).collect();
    let mut line = format!("make sim SEED={seed} CLIENTS={}", clients.join(","));
    if !without.is_empty() {
        line.push_str(&format!(" WITHOUT={}", without.join(",")));
    }
    line
}
