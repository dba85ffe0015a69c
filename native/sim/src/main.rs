//! `sockeye-sim`: runs seeds until one fails, or one seed again.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use sockeye_sim::{Plan, SearchOptions, replay_line, run, run_alone, search, shrink};

const USAGE: &str =
    "sockeye-sim [--seeds N] [--from SEED] [--seconds N] [--threads N] [--fault NAME]
sockeye-sim --seed SEED [--clients 0,2] [--without cuts,resets] [--fault NAME] [--quiet]";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut options = SearchOptions {
        from: 1,
        count: u64::MAX,
        time: Duration::from_secs(60),
        threads: std::thread::available_parallelism().map_or(1, Into::into),
    };
    let (mut seed, mut clients, mut without, mut fault) = (None, None, String::new(), None);
    let mut quiet = false;
    while let Some(name) = arguments.next() {
        if name == "--quiet" {
            quiet = true;
            continue;
        }
        let value = arguments.next().unwrap_or_default();
        let number = value.parse::<u64>();
        match (name.as_str(), number) {
            ("--seeds", Ok(n)) => options.count = n,
            ("--from", Ok(n)) => options.from = n,
            ("--seconds", Ok(n)) => options.time = Duration::from_secs(n),
            ("--threads", Ok(n)) => options.threads = n as usize,
            ("--seed", Ok(n)) => seed = Some(n),
            ("--clients", _) => clients = Some(value),
            ("--without", _) if value.split(',').all(|name| Plan::TROUBLES.contains(&name)) => {
                without = value;
            }
            ("--fault", _) => fault = Some(value),
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    match seed {
        Some(seed) => replay(seed, clients.as_deref(), &without, fault.as_deref(), quiet),
        None => search_seeds(&options, fault.as_deref(), quiet),
    }
}

fn replay(
    seed: u64,
    clients: Option<&str>,
    without: &str,
    fault: Option<&str>,
    quiet: bool,
) -> ExitCode {
    sockeye_world::plant(fault);
    sockeye_world::trace::keep(!quiet);
    let mut plan = Plan::new(seed);
    if let Some(clients) = clients {
        let numbers: Vec<usize> = clients.split(',').filter_map(|n| n.parse().ok()).collect();
        plan = plan.with_clients(&numbers);
    }
    for trouble in without.split(',').filter(|name| !name.is_empty()) {
        plan = plan.without(trouble);
    }
    let outcome = run(&plan);
    if !quiet {
        println!("{plan:#?}");
        outcome.lines.iter().for_each(|line| println!("{line}"));
    }
    println!(
        "seed {seed}: hash {:016x}, {} steps",
        outcome.hash, outcome.steps
    );
    outcome
        .problems
        .iter()
        .for_each(|problem| println!("FAILED: {problem}"));
    if outcome.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn search_seeds(options: &SearchOptions, fault: Option<&str>, quiet: bool) -> ExitCode {
    let began = Instant::now();
    let found = search(options, fault);
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{} seeds, {} million steps, {:.1} simulated hours in {seconds:.1} s ({:.0} seeds a second)",
        found.seeds,
        found.steps / 1_000_000,
        found.time as f64 / 3.6e12,
        found.seeds as f64 / seconds
    );
    let Some(seed) = found.failed else {
        return ExitCode::SUCCESS;
    };
    println!("FAILED: seed {seed}");
    if quiet {
        return ExitCode::FAILURE;
    }
    let (plan, clients, without) = shrink(seed, fault);
    let outcome = run_alone(&plan, fault);
    outcome
        .problems
        .iter()
        .for_each(|problem| println!("  {problem}"));
    println!("  again: {}", replay_line(seed, &clients, &without));
    ExitCode::FAILURE
}
