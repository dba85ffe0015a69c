//! Opening handshakes: rounds of connections that are opened, 64 at a time, and closed.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::Args;
use crate::echo::round;
use crate::{Result, Target, proc, tls};

pub(crate) struct Options {
    duration: Duration,
    settle: Duration,
}

impl Options {
    pub(crate) fn take(mut args: Args) -> Result<Options> {
        let options = Options {
            duration: Duration::from_secs_f64(args.take("duration", 2.0)?),
            settle: Duration::from_secs_f64(args.take("settle", 0.2)?),
        };
        args.finish()?;
        Ok(options)
    }
}

/// The time of opening and its CPU are counted; closing is counted on its own.
pub(crate) fn run(target: &Target, options: Options) -> Result<Value> {
    let pid = target.pid;
    drop(tls::open(target, target.connections)?);
    sleep(options.settle);
    let (mut opening, mut closing, mut load) = (0, 0, 0);
    let (mut wall, mut done) = (Duration::ZERO, 0);
    while wall < options.duration {
        let (server, own) = (proc::cpu_ns(pid)?, proc::cpu_ns(std::process::id())?);
        let start = Instant::now();
        let open = tls::open(target, target.connections)?;
        wall += start.elapsed();
        load += proc::cpu_ns(std::process::id())? - own;
        // What is still done for the last of them.
        sleep(options.settle);
        let opened = proc::cpu_ns(pid)?;
        opening += opened - server;
        done += open.len();
        drop(open);
        sleep(options.settle);
        closing += proc::cpu_ns(pid)? - opened;
    }
    let each = |ns: u64| round(ns as f64 / 1000.0 / done as f64, 1);
    let wall_ns = wall.as_nanos() as f64;
    Ok(json!({
        "mode": "handshakes",
        "tls": target.tls,
        "handshakes": done,
        "per_second": (done as f64 / wall.as_secs_f64()) as u64,
        "cpu_us": each(opening),
        "close_cpu_us": each(closing),
        "server_busy": round(opening as f64 / wall_ns, 3),
        "load_busy": round(load as f64 / wall_ns, 3),
    }))
}
