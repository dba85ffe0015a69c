//! CPU time and memory of a server, from /proc: of its process and of those that it has started.

use std::fs;

use crate::Result;

/// The process, its children, and theirs.
fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    for task in tasks.into_iter().flatten().flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        let children = children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok());
        all.extend(children.flat_map(family));
    }
    all
}

/// Nanoseconds on a CPU, user and kernel, of all live threads of a server.
pub(crate) fn cpu_ns(pid: u32) -> Result<u64> {
    family(pid).into_iter().map(cpu_of).sum()
}

/// The scheduler's own account: `utime` and `stime` count in hundredths of a second.
fn cpu_of(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end while the list is read.
        let Ok(line) = fs::read_to_string(task?.path().join("schedstat")) else {
            continue;
        };
        let first = line.split_whitespace().next().ok_or("empty schedstat")?;
        sum += first.parse::<u64>()?;
    }
    Ok(sum)
}

/// Resident memory in bytes: now, and the highest ever.
pub(crate) struct Memory {
    pub(crate) now: u64,
    pub(crate) peak: u64,
}

pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let mut sum = Memory { now: 0, peak: 0 };
    for pid in family(pid) {
        let one = memory_of(pid)?;
        sum.now += one.now;
        sum.peak += one.peak;
    }
    Ok(sum)
}

fn memory_of(pid: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> Result<u64> {
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix(name))
            .ok_or_else(|| format!("no {name} in status"))?;
        let kib: u64 = line
            .trim_start_matches(':')
            .trim_end_matches("kB")
            .trim()
            .parse()?;
        Ok(kib * 1024)
    };
    Ok(Memory {
        now: exact_rss(pid).map_or_else(|| field("VmRSS"), Ok)?,
        peak: field("VmHWM")?,
    })
}

/// `VmRSS` lags by some pages for each thread; smaps_rollup counts the pages.
fn exact_rss(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("Rss:"))?;
    let kib: u64 = line.trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}
