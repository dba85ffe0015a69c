//! `sockeye-loom`: explores the checks. `sockeye-loom NAME [SITE]` one of them, with one site weakened; `--sites NAME` says which it has; `--fault FAULT NAME` of a copy in which faults are planted (`tests/faults.rs`). SOCKEYE_LOOM_PREEMPTIONS: 2.

// What goes wrong here is seen by who runs it.
#![allow(clippy::panic)]

use std::time::Instant;

use sockeye_loom::checks::{CHECKS, Check};
use sockeye_loom::{plant, sites, weaken};

fn find(name: &str) -> Check {
    let found = CHECKS.iter().find(|check| check.name == name);
    *found.unwrap_or_else(|| panic!("no check has the name {name}"))
}

/// How often a thread may be interrupted where it need not wait: three find what is known to be there, and two most of it much sooner.
fn preemptions() -> usize {
    let wanted = std::env::var("SOCKEYE_LOOM_PREEMPTIONS");
    wanted.map_or(2, |number| number.parse().unwrap_or(2))
}

fn explore(check: Check) {
    let began = Instant::now();
    let orders = check.explore(preemptions());
    println!("{}: {orders} orders, {:?}", check.name, began.elapsed());
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => CHECKS.iter().for_each(|check| explore(*check)),
        ["--sites", name] => {
            find(name).explore(preemptions());
            sites().iter().for_each(|site| println!("{site}"));
        }
        ["--fault", fault, name] => {
            plant(fault);
            explore(find(name));
        }
        [name] => explore(find(name)),
        [name, site] => {
            weaken(site);
            explore(find(name));
        }
        _ => panic!("sockeye-loom [NAME [SITE]] | --sites NAME | --fault FAULT NAME"),
    }
}
