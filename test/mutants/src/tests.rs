//! Runs tests, all or some, with a change on.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::{CAUGHT, MISSED, Result, TIMEOUT};

/// A test by its program and name, and how long it takes.
#[derive(Clone)]
pub struct Test {
    program: String,
    name: String,
    took: Duration,
}

/// The tests that come to each change.
pub type Reached = HashMap<usize, Vec<Test>>;

enum End {
    Passed,
    Failed(String),
    Late,
}

/// Which tests come to each change: of all, or of those that `TESTS` names. One that fails without any change is left out: these are returned
/// as well.
pub fn reached(programs: &[String], out: &Path) -> Result<(Reached, Vec<String>)> {
    let mut reached = Reached::new();
    let mut left_out = Vec::new();
    let log = out.join("reached");
    let wanted = std::env::var("TESTS").unwrap_or_default();
    let is_wanted =
        |name: &str| wanted.is_empty() || wanted.split(',').any(|part| name.contains(part));
    let mut count = 0;
    for program in programs {
        let output = command(program, &["--list", "--format", "terse"], &[])
            .stdout(Stdio::piped())
            .output()?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let Some(name) = line.strip_suffix(": test").filter(|name| is_wanted(name)) else {
                continue;
            };
            let _ = fs::remove_file(&log);
            let began = Instant::now();
            let logged = log.to_string_lossy();
            let end = run_some(
                program,
                &[name],
                &[("MUTANTS_REACHED", &logged)],
                Duration::from_secs(300),
            )?;
            if !matches!(end, End::Passed) {
                eprintln!("mutants: {name} fails without any change: left out");
                left_out.push(name.to_string());
                continue;
            }
            count += 1;
            let test = Test {
                program: program.clone(),
                name: name.to_string(),
                took: began.elapsed(),
            };
            let mut indices: Vec<usize> = fs::read_to_string(&log)
                .unwrap_or_default()
                .lines()
                .filter_map(|line| line.parse().ok())
                .collect();
            indices.dedup();
            for index in indices {
                reached.entry(index).or_default().push(test.clone());
            }
        }
    }
    eprintln!("mutants: {count} tests come to {} changes", reached.len());
    Ok((reached, left_out))
}

/// Runs tests with a change on, until one fails, the quick ones first. One that fails is asked again: on a busy machine one may fail
/// by itself.
pub fn run(index: usize, tests: &[Test]) -> Result<(&'static str, String)> {
    const QUICK: usize = 12;
    let mut order: Vec<&Test> = tests.iter().collect();
    order.sort_by_key(|test| test.took);
    let (quick, slow) = order.split_at(order.len().min(QUICK));
    for tests in [quick, slow] {
        match run_these(index, tests)? {
            (MISSED, _) => {}
            found => return Ok(found),
        }
    }
    Ok((MISSED, String::new()))
}

/// How long tests take together: so many of them run at a time.
fn side_by_side(tests: &[&Test]) -> Duration {
    let threads = std::env::var("RUST_TEST_THREADS").ok();
    let threads = threads.and_then(|threads| threads.parse().ok());
    let threads = threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, Into::into));
    let longest = tests.iter().map(|test| test.took).max();
    let all: Duration = tests.iter().map(|test| test.took).sum();
    (all / threads.max(1) as u32).max(longest.unwrap_or_default())
}

fn run_these(index: usize, tests: &[&Test]) -> Result<(&'static str, String)> {
    let chosen = index.to_string();
    let environment = [("MUTANT", chosen.as_str())];
    let mut by_program = BTreeMap::<&str, Vec<&Test>>::new();
    for test in tests {
        by_program.entry(&test.program).or_default().push(test);
    }
    let mut programs: Vec<_> = by_program.into_iter().collect();
    programs.sort_by_key(|(_, tests)| side_by_side(tests));
    for (program, tests) in programs {
        let limit = Duration::from_secs(20) + side_by_side(&tests) * 5;
        let names: Vec<&str> = tests.iter().map(|test| test.name.as_str()).collect();
        match run_some(program, &names, &environment, limit)? {
            End::Passed => {}
            End::Late => return Ok((TIMEOUT, String::new())),
            End::Failed(name) if name.is_empty() => {
                return Ok((CAUGHT, "the end of the process".to_string()));
            }
            End::Failed(name) => match run_some(program, &[&name], &environment, limit)? {
                // By itself, or by chance: what a property tries differs.
                End::Passed => match run_each(program, &names, &environment, limit)? {
                    (MISSED, _) => {}
                    found => return Ok(found),
                },
                _ => return Ok((CAUGHT, name)),
            },
        }
    }
    Ok((MISSED, String::new()))
}

/// One after the other, each twice when it fails.
fn run_each(
    program: &str,
    names: &[&str],
    environment: &[(&str, &str)],
    limit: Duration,
) -> Result<(&'static str, String)> {
    for name in names {
        for _ in 0..2 {
            match run_some(program, &[name], environment, limit)? {
                End::Passed => break,
                End::Late => return Ok((TIMEOUT, String::new())),
                End::Failed(_) => {
                    if !matches!(run_some(program, &[name], environment, limit)?, End::Passed) {
                        return Ok((CAUGHT, (*name).to_string()));
                    }
                }
            }
        }
    }
    Ok((MISSED, String::new()))
}

/// Runs all tests of programs that have one change built in, but for those that fail without any. One that fails is run again before it
/// counts.
pub fn run_all(programs: &[String], left_out: &[String]) -> Result<(&'static str, String)> {
    const LIMIT: Duration = Duration::from_secs(100);
    let mut all = vec!["--exact"];
    for name in left_out {
        all.extend(["--skip", name]);
    }
    for program in programs {
        for _ in 0..3 {
            match run_arguments(program, &all, &[], LIMIT)? {
                End::Passed => break,
                End::Late => return Ok((TIMEOUT, String::new())),
                End::Failed(name) if name.is_empty() => return Ok((CAUGHT, name)),
                // If it has failed by chance, the others have not been run.
                End::Failed(name) => match run_some(program, &[&name], &[], LIMIT)? {
                    End::Passed => {}
                    _ => return Ok((CAUGHT, name)),
                },
            }
        }
    }
    Ok((MISSED, String::new()))
}

/// A program in a group of its own, with less memory than an endless loop would like.
fn command(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -v 6000000; exec \"$0\" \"$@\"", program])
        .args(arguments)
        .process_group(0);
    command.envs(environment.iter().copied());
    command
        .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1")
        .env("PROPTEST_MAX_SHRINK_ITERS", "0")
        .env("RUST_BACKTRACE", "0");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Runs these tests.
fn run_some(
    program: &str,
    names: &[&str],
    environment: &[(&str, &str)],
    limit: Duration,
) -> Result<End> {
    let arguments = [names, &["--exact"]].concat();
    run_arguments(program, &arguments, environment, limit)
}

fn run_arguments(
    program: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
    limit: Duration,
) -> Result<End> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let output = std::env::temp_dir().join(format!("mutants-{}-{count}", std::process::id()));
    let end = run_into(&output, program, arguments, environment, limit);
    let _ = fs::remove_file(&output);
    end
}

fn run_into(
    output: &Path,
    program: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
    limit: Duration,
) -> Result<End> {
    let mut child = command(program, arguments, environment)
        .stdout(fs::File::create(output)?)
        .spawn()?;
    let began = Instant::now();
    let mut looked = began;
    let (status, failed) = loop {
        if let Some(status) = child.try_wait()? {
            break (Some(status), failed(output)?);
        }
        if looked.elapsed() > Duration::from_millis(200) {
            looked = Instant::now();
            // The others need not end.
            let failed = failed(output)?;
            if failed.is_some() || began.elapsed() > limit {
                let _ = Command::new("kill")
                    .args(["-9", "--", &format!("-{}", child.id())])
                    .status();
                let _ = child.wait();
                break (None, failed);
            }
        }
        thread::sleep(Duration::from_millis(4));
    };
    Ok(match (status, failed) {
        (Some(status), _) if status.success() => End::Passed,
        (None, None) => End::Late,
        (_, failed) => End::Failed(failed.unwrap_or_default()),
    })
}

/// The first test of which it says that it has failed.
fn failed(output: &Path) -> Result<Option<String>> {
    let printed = String::from_utf8_lossy(&fs::read(output)?).into_owned();
    let failed = printed
        .lines()
        .find_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    Ok(failed.map(|name| name.split(" - ").next().unwrap_or_default().to_string()))
}
