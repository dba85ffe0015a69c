//! An arrow goes down: each folder uses those that stand before it, and itself. Read out of all paths, in macros too.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "layers/paths.rs"]
mod paths;

use std::fs;
use std::path::{Path, PathBuf};

/// Folders and modules of a crate, the lowest first.
const ENGINE: &str = "world model net settings vm server shard admission http dial accept engine";
const PORT: &str = "world os on_last_drop link processes server calls sections lifecycle simulated";
const NIF: &str = "atoms terms planted json vm frames server settings calls library";

fn files(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let below = |path: PathBuf| {
        if path.is_dir() {
            files(&path)
        } else {
            vec![path]
        }
    };
    paths.flat_map(below).collect()
}

/// The arrows of a file that go up.
fn up(text: &str, module: &[String], layers: &str) -> Vec<String> {
    let rank = |name: &String| layers.split_whitespace().position(|layer| layer == name);
    let Some(own) = rank(&module[0]) else {
        panic!("{module:?} has no place among the layers")
    };
    let mut names = paths::names(text.parse().unwrap(), module);
    names.retain(|name| rank(name).is_none_or(|rank| rank > own));
    names
}

fn check(src: &str, layers: &str) {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join(src);
    for file in files(&src) {
        let module = file.strip_prefix(&src).unwrap().with_extension("");
        let parts = module.iter().map(|part| part.to_str().unwrap().to_owned());
        let module: Vec<_> = parts.filter(|part| part != "mod").collect();
        if module != ["lib"] && module != ["main"] {
            let up = up(&fs::read_to_string(&file).unwrap(), &module, layers);
            assert!(up.is_empty(), "{} uses {}", file.display(), up.join(", "));
        }
    }
}

#[test]
fn arrows_go_down() {
    check("src", ENGINE);
    check("../port/src", PORT);
    check("../nif/src", NIF);
}

/// What only `world` may name: the simulation, or loom, has its own in their place.
const SYSTEM: [&str; 14] = [
    "std::sync::atomic",
    "crossbeam_channel",
    "tokio::time",
    "tokio::spawn",
    "tokio::task::spawn",
    "tokio::task::JoinSet",
    "tokio::net::Tcp",
    "tokio::net::lookup_host",
    "std::net::Tcp",
    "std::thread",
    "std::time::Instant::now",
    "SystemTime::now",
    "RandomState::new",
    "std::collections::Hash",
];

/// What a text takes from the system itself; its tests may.
fn taken(text: &str) -> Vec<&str> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let clock = |line: &&str| line.starts_with("use std::time::") && line.contains("Instant");
    let collections =
        |line: &&str| line.starts_with("use std::collections::{") && line.contains("Hash");
    let used = code.lines().filter(|line| clock(line) || collections(line));
    let named = SYSTEM.into_iter().filter(|name| code.contains(name));
    used.chain(named).collect()
}

#[test]
fn only_the_world_asks_the_system() {
    for line in [
        "use std::time::{Duration, Instant};",
        "f(tokio::time::sleep(x))",
    ] {
        assert_eq!(taken(line).len(), 1);
    }
    assert!(
        taken("use std::time::Duration;\n#[cfg(test)]\nmod tests { use std::thread; }").is_empty()
    );
    // The process itself, and its atomics, are not simulated.
    let process = ["lifecycle.rs", "descriptors.rs", "passed_descriptors.rs"];
    for (src, unless) in [("src", "none"), ("../port/src", "std::sync::atomic")] {
        for file in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(src)) {
            let name = file.to_str().unwrap();
            let is_process = process.iter().any(|last| name.ends_with(last));
            if !name.contains("/world/") && !name.ends_with("_tests.rs") && !is_process {
                let text = fs::read_to_string(&file).unwrap();
                let mut taken = taken(&text);
                taken.retain(|what| *what != unless);
                assert!(taken.is_empty(), "{name} uses {taken:?}");
            }
        }
    }
}
