//! Faults that are planted into a copy of the sources, each found by the check of its hand-off: those whose accesses locks order, so that
//! no weaker one is missed.

#![allow(clippy::unwrap_used)]

#[path = "../../sim/tests/faults/copies.rs"]
mod copies;
#[path = "faults/list.rs"]
mod list;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use copies::{root, workspace};
use list::{FAULTS, Fault};
use sockeye_loom::checks::CHECKS;

fn planted(text: &str, fault: &Fault) -> String {
    let Fault {
        name, line, with, ..
    } = fault;
    copies::planted(text, "crate::is_planted", name, line, with)
}

#[test]
fn each_fault_has_its_place_and_its_check() {
    let mut names = BTreeSet::new();
    for fault in FAULTS {
        let text = fs::read_to_string(root().join("native").join(fault.file)).unwrap();
        assert!(planted(&text, fault) != text);
        assert!(CHECKS.iter().any(|check| check.name == fault.check));
        assert!(names.insert(fault.name), "{} twice", fault.name);
    }
}

/// Copies what is needed, and plants the faults.
fn make_copy() -> PathBuf {
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults-of-threads");
    let members = ["protocol", "etf", "json", "engine", "seam", "loom"];
    workspace(&to, members.into_iter().chain(["port", "nif"]), members);
    for fault in FAULTS {
        let file = to.join("native").join(fault.file);
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, planted(&text, fault)).unwrap();
    }
    // The engine itself, of which `seam` is made, has none of them.
    let file = to.join("native/engine/src/lib.rs");
    let text = fs::read_to_string(&file).unwrap();
    let none = "pub(crate) fn is_planted(_name: &str) -> bool {\n    false\n}\n";
    fs::write(&file, format!("{text}\n{none}")).unwrap();
    to
}

fn holds(program: &Path, check: &str, fault: &str) -> bool {
    let output = Command::new(program)
        .args(["--fault", fault, check])
        .stdin(Stdio::null())
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    output.status.success()
}

/// Takes minutes, since the copy is built.
#[test]
#[ignore = "make loom"]
fn each_fault_is_found_by_its_check() {
    let copy = make_copy();
    // Beside the workspace's own build, whose dependencies it shares.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("..");
    // The workspace's own program has the name there that the copy's gets.
    let (name, own) = (target.join("debug/sockeye-loom"), copy.join("own"));
    fs::rename(&name, &own).unwrap();
    let built = Command::new(env!("CARGO"))
        .args(["build", "-p", "sockeye-loom", "--target-dir"])
        .arg(&target)
        .current_dir(&copy)
        .status()
        .unwrap();
    let program = copy.join("sockeye-loom");
    let moved = fs::rename(&name, &program);
    fs::rename(&own, &name).unwrap();
    assert!(built.success() && moved.is_ok());
    let mut missed = Vec::new();
    for fault in FAULTS {
        assert!(holds(&program, fault.check, "none"), "{}", fault.check);
        let began = Instant::now();
        if holds(&program, fault.check, fault.name) {
            missed.push(fault.name);
        } else {
            println!("{}: {}, {:?}", fault.name, fault.check, began.elapsed());
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
