//! Builds a crate's tests.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::Result;
use crate::list::Mutant;
use crate::render;
use crate::sites;

pub struct Crate<'a> {
    pub name: String,
    pub tree: &'a Path,
    pub source: String,
}

/// What was built.
pub struct Built {
    pub programs: Vec<String>,
    /// Changes that are to be built alone.
    pub alone: HashSet<usize>,
    /// Those that do not compile.
    pub unviable: HashSet<usize>,
}

/// Builds the tests with all changes that are wanted and can be built so.
pub fn with_all(
    krate: &Crate<'_>,
    sources: &HashMap<String, String>,
    mutants: &[Mutant],
    wanted: &[usize],
    out: &Path,
) -> Result<Built> {
    let wanted: HashSet<usize> = wanted.iter().copied().collect();
    let unwanted = (0..mutants.len()).filter(|index| !wanted.contains(index));
    let unwanted: HashSet<usize> = unwanted.collect();
    let found: HashMap<&String, Vec<sites::Site>> = sources
        .iter()
        .map(|(path, source)| (path, sites::find(source, mutants, path)))
        .collect();
    let sited: HashSet<usize> = found
        .values()
        .flatten()
        .flat_map(|site| site.mutants.iter().copied())
        .collect();
    let mut left_out: HashSet<usize> = (0..mutants.len())
        .filter(|index| !sited.contains(index))
        .collect();
    eprintln!(
        "mutants: {} of {}, {} have no place",
        mutants.len(),
        krate.name,
        left_out.len()
    );
    // Of a value that an opaque type can not be the compiler says nothing where the value stands.
    left_out.extend(
        (0..mutants.len()).filter(|&index| mutants[index].replacement.starts_with("::std::iter::")),
    );
    // What an earlier run has found out, which was not whole.
    let kept = out.join("left-out");
    let known = fs::read_to_string(&kept).unwrap_or_default();
    let known: HashSet<&str> = known.lines().collect();
    left_out
        .extend((0..mutants.len()).filter(|&index| known.contains(mutants[index].place.as_str())));
    let mut unviable = HashSet::new();
    let before: HashSet<usize> = left_out.intersection(&unwanted).copied().collect();
    left_out.extend(&unwanted);
    loop {
        let places: Vec<&str> = left_out
            .iter()
            .filter(|index| before.contains(index) || !unwanted.contains(index))
            .map(|&index| mutants[index].place.as_str())
            .collect();
        fs::write(&kept, places.join("\n"))?;
        let mut rendered = HashMap::new();
        for (path, source) in sources {
            let mut text = render::file(source, &found[path], mutants, &left_out);
            if *path == format!("{}/lib.rs", krate.source) {
                let after = render::ROOT_AFTER.replace("COUNT", &mutants.len().to_string());
                text = format!("{}{text}{after}", render::ROOT_BEFORE);
            }
            fs::write(krate.tree.join(path), &text)?;
            rendered.insert(path.clone(), text);
        }
        // What does not compile says so sooner without the tests beside the crate.
        let (mut programs, mut errors) = cargo(krate, &["--lib"], 0)?.unwrap_or_default();
        if errors.is_empty() {
            (programs, errors) = cargo(krate, &["--lib", "--tests"], 0)?.unwrap_or_default();
        }
        if errors.is_empty() {
            let alone = left_out.difference(&unviable).copied().collect();
            return Ok(Built {
                programs,
                alone,
                unviable,
            });
        }
        let count = left_out.len();
        // Where none of them is at fault by itself: the type of a function that is what its body makes of it.
        let mut suspects = Vec::new();
        for error in &errors {
            for span in error["spans"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|span| span["is_primary"] == true)
            {
                let path = span["file_name"].as_str().unwrap_or_default();
                let at = span["byte_start"].as_u64().unwrap_or(0) as usize;
                let text = rendered
                    .iter()
                    .find(|(known, _)| path.ends_with(known.as_str()))
                    .map(|(_, text)| text);
                let found = text.and_then(|text| render::change_at(text, at));
                left_out.extend(found);
                // A value that the function can not return, whatever stands around it.
                let of_type = ["E0277", "E0308", "E0599"]
                    .iter()
                    .any(|code| error["code"]["code"] == *code);
                unviable
                    .extend(found.filter(|&index| of_type && mutants[index].genre == "FnValue"));
                suspects.extend(
                    text.into_iter()
                        .flat_map(|text| render::changes_before(text, at, mutants)),
                );
                // Of a match it is said at its head that an arm is missed.
                let of_arms = error["code"]["code"] == "E0004";
                suspects.extend(
                    text.into_iter()
                        .filter(|_| of_arms)
                        .flat_map(|text| render::arms_behind(text, at)),
                );
            }
        }
        if left_out.len() == count {
            left_out.extend(suspects);
        }
        eprintln!("mutants: {} more are left out", left_out.len() - count);
        if left_out.len() == count {
            let first: Vec<_> = errors
                .iter()
                .filter_map(|error| error["rendered"].as_str())
                .take(5)
                .collect();
            return Err(format!("{} does not compile:\n{}", krate.name, first.join("\n")).into());
        }
    }
}

/// What a build with one change came to.
pub enum Alone {
    Built(Vec<String>),
    DoesNotCompile,
    /// What the compiler evaluates has no end any more.
    HasNoEnd,
}

/// Seconds of the processor that one run of the compiler has for a crate with one change, if `COMPILER_SECONDS` says nothing else.
const COMPILER_LIMIT: u32 = 120;

/// Builds the tests with the one change that is in the tree.
pub fn alone(krate: &Crate<'_>) -> Result<Alone> {
    let limit = std::env::var("COMPILER_SECONDS").ok();
    let limit = limit.as_deref().map_or(Ok(COMPILER_LIMIT), str::parse)?;
    Ok(match cargo(krate, &["--lib", "--tests"], limit)? {
        None => Alone::HasNoEnd,
        Some((programs, errors)) if errors.is_empty() => Alone::Built(programs),
        Some(_) => Alone::DoesNotCompile,
    })
}

/// Programs and errors. None if the compiler has used up its time, which is in seconds; 0 for no limit.
fn cargo(
    krate: &Crate<'_>,
    targets: &[&str],
    limit: u32,
) -> Result<Option<(Vec<String>, Vec<Value>)>> {
    let limited = match limit {
        0 => "exec cargo \"$@\"".to_string(),
        limit => format!("ulimit -t {limit}; exec cargo \"$@\""),
    };
    let output = Command::new("sh")
        .args([
            "-c",
            &limited,
            "sh",
            "test",
            "--no-run",
            "--locked",
            "--message-format=json",
            "-p",
            &krate.name,
        ])
        .args(targets)
        .current_dir(krate.tree)
        .env("RUSTC_BOOTSTRAP", krate.name.replace('-', "_"))
        .env("RUSTFLAGS", "--cap-lints allow")
        .output()?;
    let mut programs = Vec::new();
    let mut errors = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(value) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        if value["reason"] == "compiler-artifact" && value["profile"]["test"] == true {
            programs.extend(value["executable"].as_str().map(str::to_string));
        } else if value["reason"] == "compiler-message" && value["message"]["level"] == "error" {
            errors.push(value["message"].clone());
        }
    }
    if !output.status.success() && errors.is_empty() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // Of the limit it says SIGXCPU, or SIGKILL when it goes on.
        let is_late = limit > 0 && (said.contains("SIGXCPU") || said.contains("SIGKILL"));
        return if is_late { Ok(None) } else { Err(said.into()) };
    }
    Ok(Some((programs, errors)))
}
