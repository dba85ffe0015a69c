//! What it costs a server to keep silent connections alive: it sends each a ping now and then, and gets the pong.

use std::time::{Duration, Instant};

use mio::Events;
use serde_json::{Value, json};

use super::clients::Clients;
use super::{AT_ONCE, STALL};
use crate::cli::Args;
use crate::echo::round;
use crate::{Result, Target, proc};

pub(crate) struct Options {
    /// The connections open over this time at even distances, and so do their pings come.
    over: Duration,
    duration: Duration,
}

impl Options {
    pub(crate) fn take(mut args: Args) -> Result<Options> {
        let options = Options {
            over: Duration::from_secs_f64(args.take("over", 25.0)?),
            duration: Duration::from_secs_f64(args.take("duration", 25.0)?),
        };
        args.finish()?;
        Ok(options)
    }
}

pub(crate) fn run(target: &Target, options: Options) -> Result<Value> {
    let pid = target.pid;
    let mut clients = Clients::new(target, false)?;
    let mut events = Events::with_capacity(4096);
    let start = Instant::now();
    let (mut begun, mut last) = (0, (start, 0));
    while clients.open < target.connections {
        let share = start.elapsed().as_secs_f64() / options.over.as_secs_f64().max(0.001);
        let due = (target.connections as f64 * share.min(1.0)) as usize;
        let now = due.saturating_sub(begun).min(AT_ONCE);
        for _ in 0..now {
            clients.launch(target)?;
        }
        begun += now;
        clients.turn(&mut events, Duration::from_millis(1))?;
        if clients.open > last.1 {
            last = (Instant::now(), clients.open);
        }
        if last.0.elapsed() > STALL || !clients.codes.is_empty() {
            return Err(format!("{} are open, then none opens", clients.open).into());
        }
    }
    turns(&mut clients, &mut events, Duration::from_secs(1))?;
    clients.pings = 0;
    let (cpu, start) = (proc::cpu_ns(pid)?, Instant::now());
    turns(&mut clients, &mut events, options.duration)?;
    let (cpu, took) = (proc::cpu_ns(pid)? - cpu, start.elapsed().as_secs_f64());
    if clients.open < target.connections {
        return Err(format!("connections were closed: {:?}", clients.codes).into());
    }
    let us = cpu as f64 / 1000.0;
    let each = |what: f64| round(us / what.max(1.0), 3);
    Ok(json!({
        "mode": "pings",
        "connections": target.connections,
        "pings": clients.pings,
        "pings_each": round(clients.pings as f64 / target.connections as f64, 2),
        "cpu_us": each(clients.pings as f64),
        "cpu_us_second": each(target.connections as f64 * took),
        "seconds": round(took, 3),
    }))
}

fn turns(clients: &mut Clients, events: &mut Events, time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        clients.turn(events, left)?;
    }
    Ok(())
}
