//! All seeds, and for some seconds what can be made of them: what runs where there is no fuzzer.

use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

use sockeye_fuzz::mutate::{Random, mutate};
use sockeye_fuzz::{Check, TARGETS, seeds};

/// Seconds for each target, from the environment, 2 by default.
fn time() -> Duration {
    let seconds = std::env::var("SOCKEYE_FUZZ_SECONDS");
    Duration::from_secs(seconds.ok().and_then(|n| n.parse().ok()).unwrap_or(2))
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
    // Another start each day, the same all day.
    let day = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(0, |d| d.as_secs() / 86_400);
    let mut random = Random::new(day);
    let (began, limit) = (Instant::now(), time());
    let mut executions = 0_u64;
    while began.elapsed() < limit {
        for _ in 0..64 {
            let (path, seed) = &seeds[random.below(seeds.len())];
            let mut input = seed.clone();
            mutate(&mut input, &seeds, &mut random);
            check(*target, path, &input);
            executions += 1;
        }
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
