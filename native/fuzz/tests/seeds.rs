//! All seeds, and some of what can be made of them: what runs where there is no fuzzer.

use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

use sockeye_fuzz::mutate::{Random, mutate};
use sockeye_fuzz::{Check, TARGETS, seeds};

/// Mutations of each target where no time is given: always the same ones, so that a test that passed passes again.
const FIXED: u64 = 20_000;

/// Seconds for each target, from the environment.
fn time() -> Option<Duration> {
    let seconds = std::env::var("SOCKEYE_FUZZ_SECONDS").ok()?;
    seconds.parse().ok().map(Duration::from_secs)
}

fn check(target: Check, what: &str, input: &[u8]) {
    if let Err(cause) = panic::catch_unwind(AssertUnwindSafe(|| target(input))) {
        eprintln!("{what}: {:?}", input.escape_ascii().to_string());
        panic::resume_unwind(cause);
    }
}

fn run(name: &str) {
    let (_, target) = TARGETS.iter().find(|(n, _)| *n == name).expect("a target");
    let seeds = seeds::of(name).expect("seeds");
    assert!(!seeds.is_empty(), "no seeds for {name}");
    for (path, seed) in &seeds {
        check(*target, path, seed);
    }
    let limit = time();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let start = now.map_or(1, |since| since.as_secs());
    let mut random = Random::new(limit.map_or(1, |_| start));
    let began = Instant::now();
    let mut executions = 0_u64;
    while limit.map_or(executions < FIXED, |limit| began.elapsed() < limit) {
        let (path, seed) = &seeds[random.below(seeds.len())];
        let mut input = seed.clone();
        mutate(&mut input, &seeds, &mut random);
        check(*target, path, &input);
        executions += 1;
    }
    eprintln!("{name}: {} seeds, {executions} mutations", seeds.len());
}

#[test]
fn answer() {
    run("answer");
}

#[test]
fn frames() {
    run("frames");
}

#[test]
fn json() {
    run("json");
}

#[test]
fn request() {
    run("request");
}

#[test]
fn deflate() {
    run("deflate");
}

#[test]
fn policy() {
    run("policy");
}

#[test]
fn proxy() {
    run("proxy");
}

#[test]
fn etf() {
    run("etf");
}

#[test]
fn url() {
    run("url");
}
