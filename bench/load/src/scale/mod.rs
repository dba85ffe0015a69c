//! As many connections as there may be: opened, idle, used, gone. A step a line on standard input, a line of JSON for each.

mod clients;
mod h2;
pub(crate) mod pings;
mod probe;
mod socket;

use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use mio::Events;
use serde_json::{Value, json};

use crate::cli::Args;
use crate::echo::round;
use crate::frame::Template;
use crate::histogram::Histogram;
use crate::{Result, Target, proc, tls};
use clients::{Clients, Expect};
use probe::Probe;

/// What comes on a connection of this path is published.
const PUBLISHER: &str = "/publish";
/// A step in which nothing happens for this long has failed.
const STALL: Duration = Duration::from_secs(30);
/// Connections that begin to open before the others are served.
const AT_ONCE: usize = 64;

pub(crate) struct Options {
    http2: bool,
}

impl Options {
    pub(crate) fn take(mut args: Args) -> Result<Options> {
        let options = Options {
            http2: args.take("http2", false)?,
        };
        args.finish()?;
        Ok(options)
    }
}

pub(crate) fn run(target: &Target, options: Options) -> Result<Value> {
    let mut target = Target {
        payload: crate::payload::Payload::new(
            crate::payload::Shape::String,
            target.payload.text.len(),
            target.connections,
        )?,
        path: target.path.clone(),
        ..*target
    };
    let mut lines = std::io::stdin().lock().lines();
    // A new server has a new address.
    loop {
        let mut scale = Scale::new(&target, &options)?;
        let port = loop {
            let Some(line) = lines.next() else {
                return Ok(json!({"step": "end"}));
            };
            let line = line?;
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["server", port] = words[..] {
                break port.parse()?;
            }
            let row = match words[..] {
                ["probe"] => scale.probe.take(),
                _ => scale.step(&words)?,
            };
            println!("{row}");
            std::io::stdout().flush()?;
        };
        target.addr.set_port(port);
    }
}

struct Scale<'a> {
    target: &'a Target,
    clients: Clients<'a>,
    probe: Probe,
    events: Events,
}

impl<'a> Scale<'a> {
    fn new(target: &'a Target, options: &Options) -> Result<Scale<'a>> {
        Ok(Scale {
            target,
            clients: Clients::new(target, options.http2)?,
            probe: Probe::start(target)?,
            events: Events::with_capacity(4096),
        })
    }

    fn step(&mut self, words: &[&str]) -> Result<Value> {
        let pid = self.target.pid;
        let (server, load) = (proc::cpu_ns(pid)?, proc::cpu_ns(std::process::id())?);
        self.clients.times = Histogram::new();
        self.clients.codes.clear();
        self.clients.arrived = 0;
        self.clients.pings = 0;
        self.clients.expect = Expect::Nothing;
        self.probe.take();
        let start = Instant::now();
        let mut row = match words {
            ["open", count, rate] => self.open(count.parse()?, rate.parse()?)?,
            ["rest", seconds] => self.rest(seconds.parse()?)?,
            ["echo", count, seconds] => self.echo(count.parse()?, seconds.parse()?)?,
            ["publish", count] => self.publish(count.parse()?)?,
            ["burst"] => self.burst()?,
            ["gone"] => self.gone(),
            ["closed", seconds] => self.closed(seconds.parse()?)?,
            _ => return Err(format!("no such step: {words:?}").into()),
        };
        let wall = start.elapsed().as_nanos() as f64;
        // A thread that has ended took its account along.
        let server = proc::cpu_ns(pid)?.saturating_sub(server);
        let load = proc::cpu_ns(std::process::id())?.saturating_sub(load);
        row["step"] = words[0].into();
        row["open"] = self.clients.open.into();
        row["cpu_s"] = round(server as f64 / 1e9, 3).into();
        row["server_busy"] = round(server as f64 / wall, 3).into();
        row["load_busy"] = round(load as f64 / wall, 3).into();
        row["probe"] = self.probe.take();
        if words[0] != "closed" && !self.clients.codes.is_empty() {
            row["lost"] = json!(self.clients.codes);
        }
        Ok(row)
    }

    /// `rate` a second, or as fast as they can be begun (0).
    fn open(&mut self, count: usize, rate: usize) -> Result<Value> {
        let wanted = count.saturating_sub(self.clients.open);
        let (start, mut begun) = (Instant::now(), 0);
        let (mut last, mut last_open) = (start, self.clients.open);
        while begun < wanted || self.clients.opening > 0 {
            let due = match rate {
                0 => wanted,
                _ => wanted.min((start.elapsed().as_secs_f64() * rate as f64) as usize),
            };
            let now = due.saturating_sub(begun).min(AT_ONCE);
            for _ in 0..now {
                self.clients.launch(self.target)?;
            }
            begun += now;
            let wait = if begun < due {
                Duration::ZERO
            } else if begun < wanted {
                Duration::from_millis(1)
            } else {
                Duration::from_millis(100)
            };
            self.clients.turn(&mut self.events, wait)?;
            if self.clients.open > last_open {
                (last, last_open) = (Instant::now(), self.clients.open);
            }
            if last.elapsed() > STALL {
                return Err(format!("{last_open} are open, then nothing for 30 s").into());
            }
        }
        let seconds = last.duration_since(start).as_secs_f64();
        Ok(json!({
            "opened": wanted,
            "rate": rate,
            "seconds": round(seconds, 3),
            "p50_us": self.clients.times.percentile(0.5),
            "p99_us": self.clients.times.percentile(0.99),
        }))
    }

    fn rest(&mut self, seconds: f64) -> Result<Value> {
        self.turns(Duration::from_secs_f64(seconds))?;
        Ok(json!({"seconds": seconds, "pings": self.clients.pings}))
    }

    fn turns(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.clients.turn(&mut self.events, left)?;
        }
        Ok(())
    }

    /// Some of them, spread over all, each with one message on its way.
    fn echo(&mut self, count: usize, seconds: f64) -> Result<Value> {
        let open = self.clients.those_open();
        let count = count.min(open.len());
        self.clients.expect = Expect::EchoOn;
        for k in 0..count {
            self.clients.send(open[k * open.len() / count])?;
        }
        let start = Instant::now();
        self.turns(Duration::from_secs_f64(seconds))?;
        let (messages, took) = (self.clients.arrived, start.elapsed().as_secs_f64());
        if messages == 0 {
            return Err("no reply in the measured time".into());
        }
        // Those that are on their way.
        self.clients.expect = Expect::Echo;
        self.until(messages + count as u64)?;
        Ok(json!({
            "connections": count,
            "seconds": round(took, 3),
            "messages": messages,
            "per_second": (messages as f64 / took) as u64,
            "p50_us": self.clients.times.percentile(0.5),
            "p99_us": self.clients.times.percentile(0.99),
        }))
    }

    /// From a connection of its own, in one write, to all.
    fn publish(&mut self, count: u64) -> Result<Value> {
        let publisher = Target {
            path: PUBLISHER.to_owned(),
            payload: crate::payload::Payload::new(crate::payload::Shape::String, 64, 1)?,
            ..*self.target
        };
        let mut link = tls::open(&publisher, 1)?.pop().ok_or("no connection")?;
        let template = Template::new(&self.target.payload);
        let mut out = Vec::new();
        for _ in 0..count {
            template.push(self.target.payload.id(0, self.clients.published), &mut out);
            self.clients.published += 1;
        }
        self.clients.expect = Expect::Published;
        let wanted = count * self.clients.open as u64;
        let start = Instant::now();
        link.write_all(&out)?;
        let seconds = self.until(wanted)?.duration_since(start).as_secs_f64();
        Ok(json!({
            "publishes": count,
            "deliveries": wanted,
            "seconds": round(seconds, 4),
            "per_second": (wanted as f64 / seconds) as u64,
        }))
    }

    /// One message of each client, all at once.
    fn burst(&mut self) -> Result<Value> {
        self.clients.expect = Expect::Echo;
        let start = Instant::now();
        let open = self.clients.those_open();
        for (k, n) in open.iter().enumerate() {
            self.clients.send(*n)?;
            if k % AT_ONCE == 0 {
                self.clients.turn(&mut self.events, Duration::ZERO)?;
            }
        }
        let last = self.until(open.len() as u64)?;
        Ok(json!({
            "messages": open.len(),
            "seconds": round(last.duration_since(start).as_secs_f64(), 4),
            "p50_us": self.clients.times.percentile(0.5),
            "p99_us": self.clients.times.percentile(0.99),
        }))
    }

    /// When so many messages have arrived.
    fn until(&mut self, wanted: u64) -> Result<Instant> {
        let mut last = (Instant::now(), self.clients.arrived);
        while self.clients.arrived < wanted && self.clients.codes.is_empty() {
            self.clients
                .turn(&mut self.events, Duration::from_millis(100))?;
            if self.clients.arrived > last.1 {
                last = (Instant::now(), self.clients.arrived);
            }
            if last.0.elapsed() > STALL {
                let got = self.clients.arrived;
                return Err(format!("{got} of {wanted} messages, then nothing for 30 s").into());
            }
        }
        Ok(last.0)
    }

    fn gone(&mut self) -> Value {
        let start = Instant::now();
        self.clients.gone();
        json!({"seconds": round(start.elapsed().as_secs_f64(), 3)})
    }

    /// Until the server has closed all of them; from now to the last one's end.
    fn closed(&mut self, seconds: f64) -> Result<Value> {
        let (start, open) = (Instant::now(), self.clients.open);
        let end = start + Duration::from_secs_f64(seconds);
        while self.clients.open > 0 && Instant::now() < end {
            self.clients
                .turn(&mut self.events, Duration::from_millis(100))?;
        }
        let took = self.clients.last.saturating_duration_since(start);
        let row = json!({
            "closed": open - self.clients.open,
            "codes": self.clients.codes,
            "seconds": round(took.as_secs_f64(), 3),
        });
        self.clients.gone();
        Ok(row)
    }
}
