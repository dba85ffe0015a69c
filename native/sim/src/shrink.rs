//! The shrinker: the smallest plan of a seed that fails, and how to run it again.

use crate::plan::Plan;
use crate::run::{Outcome, run};

/// Runs a plan on a thread of its own: a failed run may leave something behind on its thread.
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

/// Makes the plan of a failed seed smaller while it still fails: first without clients, then without kinds of trouble, until nothing more can be left
/// out. Also returns the clients that remain, and the troubles that were left out.
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

/// The command that runs this plan again.
pub fn replay_line(seed: u64, clients: &[usize], without: &[&str]) -> String {
    let clients: Vec<_> = clients.iter().map(ToString::to_string).collect();
    let mut line = format!("make sim SEED={seed} CLIENTS={}", clients.join(","));
    if !without.is_empty() {
        line.push_str(&format!(" WITHOUT={}", without.join(",")));
    }
    line
}
