//! Faults that are planted into a copy of the engine, and found by the simulation: it can fail.
//!
//! One copy has them all; which one is awake is said when it runs. `make sim-faults` builds it, with the checks of a debug build, and looks for each.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "faults/copies.rs"]
mod copies;
#[path = "faults/http.rs"]
mod http;
#[path = "faults/link.rs"]
mod link;
#[path = "faults/servers.rs"]
mod servers;
#[path = "faults/shards.rs"]
mod shards;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use copies::{root, workspace};

/// A planted fault.
struct Fault {
    name: &'static str,
    /// In `native/engine/src`, or with the name of another crate before it.
    file: &'static str,
    line: &'static str,
    /// `FAULT` stands for whether it is planted.
    with: &'static str,
    /// It is found within so many seeds.
    seeds: u64,
}

impl Fault {
    /// Below `native`.
    fn place(&self) -> String {
        match self.file.split_once(": ") {
            Some((name, file)) => format!("{name}/src/{file}"),
            None => format!("engine/src/{}", self.file),
        }
    }
}

const fn fault(
    name: &'static str,
    file: &'static str,
    line: &'static str,
    with: &'static str,
    seeds: u64,
) -> Fault {
    Fault {
        name,
        file,
        line,
        with,
        seeds,
    }
}

/// The text of a file with a fault in it.
fn planted(text: &str, fault: &Fault) -> String {
    let Fault {
        name, line, with, ..
    } = fault;
    copies::planted(text, "sockeye_world::fault", name, line, with)
}

/// All of them.
fn faults() -> impl Iterator<Item = &'static Fault> {
    let all = [shards::FAULTS, http::FAULTS, servers::FAULTS, link::FAULTS];
    all.into_iter().flatten()
}

#[test]
fn each_fault_has_its_place() {
    for fault in faults() {
        let file = root().join("native").join(fault.place());
        let text = fs::read_to_string(file).unwrap();
        assert!(planted(&text, fault) != text);
    }
    let mut names: Vec<_> = faults().map(|fault| fault.name).collect();
    names.sort();
    names.dedup();
    assert!(names.len() == faults().count() && names.len() >= 20);
}

/// Crates that are compiled against a simulated world, and that world.
const SIMULATED: [&str; 4] = ["sim/engine", "sim/port", "sim/seam", "sim/world"];

/// Copies what the simulation needs, and plants the faults.
fn make_copy() -> PathBuf {
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults");
    let members = ["protocol", "etf", "json", "sim"]
        .into_iter()
        .chain(SIMULATED);
    workspace(
        &to,
        ["protocol", "etf", "json", "seam", "engine", "port", "sim"],
        members,
    );
    for fault in faults() {
        let file = to.join("native").join(fault.place());
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, planted(&text, fault)).unwrap();
    }
    to
}

fn found(program: &Path, fault: &str, seeds: u64) -> Option<u64> {
    let output = Command::new(program)
        .args(["--fault", fault, "--quiet", "--seconds", "900"])
        .args(["--from", "1", "--seeds", &seeds.to_string()])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let failed = text
        .lines()
        .find_map(|line| line.strip_prefix("FAILED: seed "));
    failed.map(|seed| seed.parse().unwrap())
}

/// Takes minutes, since the copy is built. `FAULTS=a,b` looks for these alone.
#[test]
#[ignore = "make sim-faults"]
fn each_fault_is_found() {
    let copy = make_copy();
    // Beside the workspace's own build, whose dependencies it shares.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("..");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--profile", "soak", "-p", "sockeye-sim"])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(&copy)
        .status()
        .unwrap();
    assert!(built.success());
    let program = copy.join("sockeye-sim");
    fs::rename(target.join("soak/sockeye-sim"), &program).unwrap();
    assert_eq!(
        found(&program, "none", 2000),
        None,
        "no fault, and yet one is found"
    );
    let wanted = std::env::var("FAULTS").unwrap_or_default();
    let wanted: Vec<_> = wanted.split(',').filter(|name| !name.is_empty()).collect();
    let mut missed = Vec::new();
    for fault in faults() {
        if !wanted.is_empty() && !wanted.contains(&fault.name) {
            continue;
        }
        let began = Instant::now();
        match found(&program, fault.name, fault.seeds) {
            Some(seed) => println!("{}: seed {seed}, {:?}", fault.name, began.elapsed()),
            None => missed.push(fault.name),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
