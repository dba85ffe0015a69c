//! All seeds, and some of what can be made of them: what runs where there is no fuzzer.

use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

use sockeye_fuzz::mutate::{Random, mutate};
use sockeye_fuzz::{Check, TARGETS, seeds};

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
    let target = TARGETS.iter().find(|target| target.name == name);
    let target = target.expect("a target");
    let seeds = seeds::of(name).expect("seeds");
    assert!(!seeds.is_empty(), "no seeds for {name}");
    for (path, seed) in &seeds {
        check(target.check, path, seed);
    }
    let limit = time();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let start = now.map_or(1, |since| since.as_secs());
    let mut random = Random::new(limit.map_or(1, |_| start));
    let began = Instant::now();
    let mut executions = 0_u64;
    // Always the same ones where no time is given, so that a test that passed passes again.
    while limit.map_or(executions < target.mutations, |limit| {
        began.elapsed() < limit
    }) {
        let (path, seed) = &seeds[random.below(seeds.len())];
        let mut input = seed.clone();
        mutate(&mut input, &seeds, &mut random);
        check(target.check, path, &input);
        executions += 1;
    }
    eprintln!("{name}: {} seeds, {executions} mutations", seeds.len());
}

macro_rules! tests {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                run(stringify!($name));
            }
        )*

        #[test]
        fn each_target_has_a_test_and_seeds() {
            let mut names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
            let folders = std::fs::read_dir(seeds::folder()).expect("seeds");
            let mut seeded: Vec<_> = folders
                .map(|entry| entry.expect("a folder").file_name().into_string().expect("text"))
                .collect();
            seeded.sort();
            names.sort();
            assert_eq!(names, seeded);
        }
    };
}

tests! { answer body calls deflate dial etf frames http2 json link policy proxy request url }
