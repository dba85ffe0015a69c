//! Asks of each change that cargo-mutants would make to a crate whether the crate's own tests see it, without building the crate
//! for each: all changes are built at once, and the environment says which is on. `test/mutants/run` calls it.
//!
//!     sockeye-mutants CRATE TREE LIST OUT [NAMES]
//!
//! TREE is a copy of the tree, which is changed; LIST what `cargo mutants --list --json` printed; OUT a folder for results, which are
//! not asked for again; NAMES a file with the names of the changes to ask for, when not for all.

mod build;
mod list;
mod render;
mod simulated;
mod sites;
mod tests;

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use build::Alone;
use list::Mutant;

pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What became of a change.
const CAUGHT: &str = "caught";
const MISSED: &str = "missed";
const TIMEOUT: &str = "timeout";
/// It does not compile.
const UNVIABLE: &str = "unviable";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, tree, list, out, rest @ ..] = arguments.as_slice() else {
        return Err("CRATE TREE LIST OUT [NAMES]".into());
    };
    let tree = PathBuf::from(tree).canonicalize()?;
    fs::create_dir_all(out)?;
    let out = PathBuf::from(out).canonicalize()?;
    let mut mutants = list::read(&tree, &fs::read_to_string(list)?)?;
    let sources = read_sources(&tree, &format!("native/{name}/src"))?;
    simulated::leave_out(&sources, &mut mutants);
    let names = match rest {
        [names, ..] => Some(
            fs::read_to_string(names)?
                .lines()
                .map(str::to_string)
                .collect::<HashSet<_>>(),
        ),
        [] => None,
    };
    // k/n: every nth, from the kth on.
    let share = std::env::var("SHARD").ok();
    let share = share
        .as_deref()
        .and_then(|share| share.split_once('/'))
        .map(|(k, n)| Ok::<_, std::num::ParseIntError>((k.parse()?, n.parse()?)));
    let share = share.transpose()?.unwrap_or((0, 1));
    let jobs = std::env::var("JOBS").ok();
    let jobs: usize = jobs.as_deref().map_or(Ok(1), str::parse)?;
    let mut results = Results::open(&out.join("results"))?;
    let wanted: Vec<usize> = (0..mutants.len())
        .filter(|&index| {
            names.as_ref().is_none_or(|names| {
                names.contains(&mutants[index].place) || names.contains(&mutants[index].name)
            })
        })
        .filter(|&index| {
            !results.done.contains(&mutants[index].place) && index % share.1 == share.0
        })
        .collect();

    let krate = build::Crate {
        name: format!("sockeye-{name}"),
        tree: &tree,
        source: format!("native/{name}/src"),
    };
    let built = build::with_all(&krate, &sources, &mutants, &wanted, &out)?;
    let (reached, left_out) = tests::reached(&built.programs, &out)?;
    let mut later = Vec::new();
    let mut asked = Vec::new();
    for index in wanted {
        let tests = reached.get(&index).map_or(&[][..], Vec::as_slice);
        if built.unviable.contains(&index) {
            results.add(&mutants[index], (UNVIABLE, String::new()))?;
        } else if built.alone.contains(&index) || tests.is_empty() {
            // Without a test, perhaps the compiler reaches it.
            later.push(index);
        } else {
            asked.push((&mutants[index], index, tests));
        }
    }
    let (next, shared) = (AtomicUsize::new(0), Mutex::new(&mut results));
    let ask = || -> std::result::Result<(), String> {
        while let Some((mutant, index, tests)) = asked.get(next.fetch_add(1, Ordering::Relaxed)) {
            let verdict = tests::run(*index, tests).map_err(|error| error.to_string())?;
            let mut results = shared.lock().map_err(|error| error.to_string())?;
            results
                .add(mutant, verdict)
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(ask)).collect();
        let ends = workers.into_iter().map(|worker| worker.join());
        ends.map(|end| end.unwrap_or_else(|_| Err("a thread has ended".to_string())))
            .collect::<std::result::Result<Vec<()>, _>>()
    })?;

    eprintln!("mutants: {} to be built alone", later.len());
    for (path, source) in &sources {
        fs::write(tree.join(path), source)?;
    }
    for index in later {
        let mutant = &mutants[index];
        let source = &sources[&mutant.file];
        let changed = format!(
            "{} {} {}",
            &source[..mutant.range.start],
            mutant.replacement,
            &source[mutant.range.end..]
        );
        fs::write(tree.join(&mutant.file), changed)?;
        let verdict = match build::alone(&krate)? {
            Alone::DoesNotCompile => (UNVIABLE, String::new()),
            Alone::HasNoEnd => (TIMEOUT, "the compiler".to_string()),
            Alone::Built(programs) => tests::run_all(&programs, &left_out)?,
        };
        fs::write(tree.join(&mutant.file), source)?;
        results.add(mutant, verdict)?;
    }
    Ok(())
}

/// The files of a crate, by their path in the tree.
fn read_sources(tree: &Path, folder: &str) -> Result<HashMap<String, String>> {
    let mut sources = HashMap::new();
    for entry in fs::read_dir(tree.join(folder))? {
        let entry = entry?;
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            sources.extend(read_sources(tree, &path)?);
        } else if path.ends_with(".rs") {
            sources.insert(path.clone(), fs::read_to_string(tree.join(&path))?);
        }
    }
    Ok(sources)
}

/// A file with a line for each change.
struct Results {
    file: fs::File,
    done: HashSet<String>,
}

impl Results {
    fn open(path: &Path) -> Result<Self> {
        let done = fs::read_to_string(path).unwrap_or_default();
        let done = done
            .lines()
            .filter_map(|line| line.split('\t').nth(1))
            .map(str::to_string)
            .collect();
        Ok(Self {
            file: fs::File::options().create(true).append(true).open(path)?,
            done,
        })
    }

    fn add(&mut self, mutant: &Mutant, (verdict, by): (&str, String)) -> Result<()> {
        writeln!(self.file, "{verdict}\t{}\t{by}", mutant.place)?;
        Ok(())
    }
}
