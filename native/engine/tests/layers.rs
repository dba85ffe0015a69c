//! An arrow goes down: each folder uses those that stand before it, and itself. Read out of the `use` lines and paths.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// Folders and modules of a crate, the lowest first.
const ENGINE: &str = "model net settings vm server shard admission http dial accept engine";
const NIF: &str = "atoms terms json vm frames server settings calls library";

fn sources(path: &Path) -> Vec<PathBuf> {
    match fs::read_dir(path) {
        Ok(entries) => entries.flat_map(|e| sources(&e.unwrap().path())).collect(),
        Err(_) => vec![path.with_extension("rs")],
    }
}

/// The modules that a file names behind `crate::`, alone or in braces.
fn used(text: &str) -> Vec<String> {
    let code = text.lines().filter_map(|line| line.split("//").next());
    let code = code.collect::<Vec<_>>().join(" ");
    let paths = code.split("crate::").skip(1);
    let names = paths.flat_map(|path| match path.strip_prefix('{') {
        Some(group) => group.split('}').next().unwrap().split(',').collect(),
        None => vec![path],
    });
    let word = |c: char| !c.is_alphanumeric() && c != '_';
    let names = names.map(|name| name.trim().split(word).next().unwrap().to_owned());
    names.filter(|name| !name.is_empty()).collect()
}

fn check(src: &str, layers: &str) {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join(src);
    let layers: Vec<_> = layers.split_whitespace().collect();
    let mut up = Vec::new();
    for (rank, layer) in layers.iter().enumerate() {
        for file in sources(&src.join(layer)) {
            let text = fs::read_to_string(&file).unwrap();
            for name in used(&text) {
                let place = layers.iter().position(|layer| *layer == name);
                if place.is_none_or(|place| place > rank) {
                    up.push(format!("{} uses {name}", file.display()));
                }
            }
        }
    }
    for entry in fs::read_dir(&src).unwrap() {
        let name = entry.unwrap().path().file_stem().unwrap().to_owned();
        let known = name == "lib" || layers.iter().any(|layer| name == *layer);
        assert!(known, "{name:?} has no place among the layers");
    }
    assert!(up.is_empty(), "arrows that go up:\n{}", up.join("\n"));
}

#[test]
fn arrows_go_down() {
    check("src", ENGINE);
    check("../nif/src", NIF);
}
