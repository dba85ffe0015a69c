//! What cargo-mutants would change.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::{fs, io};

use serde_json::Value;

/// One change, as cargo-mutants lists it.
pub struct Mutant {
    /// Its name without line and column, which every change to a file moves.
    pub name: String,
    /// Its name with both.
    pub place: String,
    pub file: String,
    pub genre: String,
    /// The bytes of the file that are replaced.
    pub range: Range<usize>,
    pub replacement: String,
}

/// The list of `cargo mutants --list --json`.
pub fn read(tree: &Path, json: &str) -> io::Result<Vec<Mutant>> {
    let list: Vec<Value> = serde_json::from_str(json)?;
    let mut sources = HashMap::new();
    let mut mutants = Vec::with_capacity(list.len());
    for value in &list {
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_string();
        let file = text("file");
        if !sources.contains_key(&file) {
            sources.insert(file.clone(), fs::read_to_string(tree.join(&file))?);
        }
        let source = &sources[&file];
        let at = |end: &str| {
            let place = &value["span"][end];
            offset(
                source,
                place["line"].as_u64().unwrap_or(1),
                place["column"].as_u64().unwrap_or(1),
            )
        };
        let place = text("name");
        mutants.push(Mutant {
            name: without_place(&place),
            place,
            range: at("start")..at("end"),
            genre: text("genre"),
            replacement: text("replacement"),
            file,
        });
    }
    Ok(mutants)
}

/// `file.rs:12:5: words` without the two numbers.
fn without_place(name: &str) -> String {
    let mut parts = name.splitn(4, ':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(file), Some(_), Some(_), Some(words)) => format!("{file}:{words}"),
        _ => name.to_string(),
    }
}

/// The byte at a line and a column, which count characters from 1.
fn offset(source: &str, line: u64, column: u64) -> usize {
    let mut start = 0;
    for _ in 1..line {
        start += source[start..].find('\n').map_or(0, |at| at + 1);
    }
    let rest = &source[start..];
    start
        + rest
            .char_indices()
            .nth(column as usize - 1)
            .map_or(rest.len(), |(at, _)| at)
}
