//! All orders of each check; and what becomes of the checks when an ordering of the sources is weakened.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use sockeye_loom::checks::CHECKS;

/// In a process of its own: a thread of loom that fails may end it.
fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sockeye-loom"))
        .args(arguments)
        .stdin(Stdio::null())
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap()
}

fn sites(check: &str) -> Vec<String> {
    let output = run(&["--sites", check]);
    assert!(output.status.success(), "{check} fails");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn all_orders() {
    for check in CHECKS {
        let output = run(&[check.name]);
        let said = String::from_utf8_lossy(&output.stdout);
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {why}", check.name);
        print!("{said}");
    }
}

/// Each ordering, weakened by each step, in each check that comes by it. A fence must be missed by one. An access that is `SeqCst` may be
/// stronger than it need be; those that are needed show that each check can fail.
#[test]
#[ignore = "make loom: minutes"]
fn weakened_orderings_are_found() {
    let mut checks: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for check in CHECKS {
        for site in sites(check.name) {
            checks.entry(site).or_default().push(check.name);
        }
    }
    let (mut missed, mut needed) = (Vec::new(), 0);
    for (site, names) in &checks {
        let noticed = names
            .iter()
            .find(|name| !run(&[name, site]).status.success());
        println!("{site}: {}", noticed.unwrap_or(&"not noticed"));
        match noticed {
            Some(_) => needed += 1,
            None if site.contains("fence") => missed.push(site),
            None => {}
        }
    }
    assert!(missed.is_empty(), "not noticed: {missed:#?}");
    assert!(needed >= NEEDED, "{needed} sites are needed");
}

/// Sites that were needed when this was written.
const NEEDED: usize = 8;

/// `Relaxed` where a number is all that is said (docs/decisions/orderings.md), `SeqCst` everywhere else.
#[test]
fn there_are_two_orderings() {
    let native = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    for name in ["engine", "seam", "nif", "port"] {
        look(&native.join(name).join("src"), &mut found);
    }
    assert!(found.is_empty(), "{found:#?}");
}

fn look(path: &Path, found: &mut Vec<(PathBuf, String)>) {
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap();
        entries.for_each(|entry| look(&entry.unwrap().path(), found));
        return;
    }
    let text = fs::read_to_string(path).unwrap();
    let weak = |line: &&str| {
        ["AcqRel", "Acquire", "Release"]
            .iter()
            .any(|order| line.contains(&format!("Ordering::{order}")))
    };
    found.extend(
        text.lines()
            .filter(weak)
            .map(|line| (path.to_owned(), line.trim().to_owned())),
    );
}
