//! The seeds: small inputs that reach far in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The folder that holds a folder for each target.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds")
}

/// The seeds of a target, in the order of their names.
pub fn of(target: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder().join(target))? {
        let path = entry?.path();
        found.push((path.display().to_string(), fs::read(&path)?));
    }
    found.sort();
    Ok(found)
}
