//! Runs seeds until one fails.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::plan::Plan;
use crate::run::run;

/// Which seeds to run.
#[derive(Clone, Debug)]
pub struct SearchOptions {
    /// The first seed.
    pub from: u64,
    /// How many at most.
    pub count: u64,
    /// How long at most.
    pub time: Duration,
    pub threads: usize,
}

/// What a search came to.
#[derive(Debug, Default)]
pub struct SearchResult {
    pub seeds: u64,
    pub steps: u64,
    /// Simulated nanoseconds.
    pub time: u128,
    /// The first seed that failed.
    pub failed: Option<u64>,
}

/// Runs seeds on some threads until one fails, or an end of the options is reached.
pub fn search(options: &SearchOptions, fault: Option<&str>) -> SearchResult {
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let found = Mutex::new(SearchResult::default());
    let end = Instant::now() + options.time;
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                sockeye_world::plant(fault);
                let mut own = SearchResult::default();
                while !stop.load(Ordering::Relaxed) && Instant::now() < end {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= options.count {
                        break;
                    }
                    let seed = options.from + n;
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
