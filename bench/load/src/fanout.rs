//! One message for many: a connection of its own publishes, all others count what arrives.
//!
//! Every delivery is checked: each subscriber gets each message once, in order.

use std::io::ErrorKind;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mio::{Events, Poll};
use serde_json::{Value, json};

use crate::cli::Args;
use crate::echo::round;
use crate::frame::{Incoming, Template};
use crate::payload::Verifier;
use crate::wire::{READ_BUFFER, Wire};
use crate::{Result, Target, conn, proc};

/// What comes on a connection of this path is published; all others subscribe.
const PUBLISHER: &str = "/publish";
const STALL: Duration = Duration::from_secs(30);
const WARM: u64 = 3;
/// Waiting for what must not come: a message too many.
const QUIET: Duration = Duration::from_millis(100);

pub(crate) struct Options {
    publishes: u64,
    rounds: u64,
    settle: Duration,
    writes: bool,
}

impl Options {
    pub(crate) fn take(mut args: Args) -> Result<Options> {
        let options = Options {
            publishes: args.take("publishes", 50)?,
            rounds: args.take("rounds", 3)?,
            settle: Duration::from_secs_f64(args.take("settle", 0.5)?),
            writes: args.take("writes", false)?,
        };
        args.finish()?;
        Ok(options)
    }
}

struct Fanout<'a> {
    target: &'a Target,
    template: Template,
    verifier: Verifier,
    publisher: Wire,
    subscribers: Vec<(Wire, u64)>,
    published: u64,
    delivered: u64,
    buffer: Vec<u8>,
}

pub(crate) fn run(target: &Target, options: Options) -> Result<Value> {
    let mut poll = Poll::new()?;
    let mut subscribers = Vec::new();
    for (n, stream) in conn::open_all(target, None)?.into_iter().enumerate() {
        subscribers.push((Wire::new(stream, poll.registry(), n)?, 0));
    }
    let publisher = conn::open_at(target, PUBLISHER, target.connections)?;
    let publisher = Wire::new(publisher, poll.registry(), subscribers.len())?;
    // A subscription may come a moment after the handshake.
    std::thread::sleep(options.settle);
    let mut fanout = Fanout {
        target,
        template: Template::new(&target.payload),
        verifier: Verifier::new(&target.payload)?,
        publisher,
        subscribers,
        published: 0,
        delivered: 0,
        buffer: vec![0; READ_BUFFER],
    };
    for _ in 0..WARM {
        fanout.publish(&mut poll, 1)?;
    }
    let single = fanout.measure(&mut poll, options.publishes, 1)?;
    let burst = fanout.measure(&mut poll, options.rounds, options.publishes)?;
    let mut row = json!({
        "mode": "fanout",
        "size": target.payload.text.len(),
        "connections": target.connections,
        "publishes": options.publishes,
        "one": single,
        "burst": burst,
        "rss": proc::memory(target.pid)?.now,
    });
    if options.writes {
        row["writes"] = fanout.writes(&mut poll, options.publishes)?;
    }
    Ok(row)
}

impl Fanout<'_> {
    /// `rounds` times `at_once` messages, each round when all of the one before have arrived.
    fn measure(&mut self, poll: &mut Poll, rounds: u64, at_once: u64) -> Result<Value> {
        let mut times = Vec::new();
        let pid = self.target.pid;
        let (server, load) = (proc::cpu_ns(pid)?, proc::cpu_ns(std::process::id())?);
        let (before, start) = (self.delivered, Instant::now());
        for _ in 0..rounds {
            times.push(self.publish(poll, at_once)?.as_secs_f64() * 1000.0);
        }
        let wall = start.elapsed();
        let load = proc::cpu_ns(std::process::id())? - load;
        self.quiet(poll)?;
        let server = proc::cpu_ns(pid)? - server;
        let deliveries = (self.delivered - before) as f64;
        times.sort_by(f64::total_cmp);
        let wall_ns = wall.as_nanos() as f64;
        Ok(json!({
            "rounds": rounds,
            "at_once": at_once,
            "cpu_us": round(server as f64 / 1000.0 / deliveries, 3),
            "last_p50_ms": round(times[times.len() / 2], 2),
            "last_max_ms": round(times[times.len() - 1], 2),
            "per_second": (deliveries / wall.as_secs_f64()) as u64,
            "server_busy": round(server as f64 / wall_ns, 3),
            "load_busy": round(load as f64 / wall_ns, 3),
        }))
    }

    /// Publishes in one write; the time until the last subscriber has the last of it.
    fn publish(&mut self, poll: &mut Poll, count: u64) -> Result<Duration> {
        let start = Instant::now();
        for _ in 0..count {
            let id = self.target.payload.id(0, self.published);
            self.template.push(id, &mut self.publisher.out);
            self.published += 1;
        }
        self.publisher.flush()?;
        let wanted = self.published * self.subscribers.len() as u64;
        while self.delivered < wanted {
            if !self.turn(poll, STALL)? {
                return Err(format!(
                    "{} of {wanted} deliveries, then nothing for 30 s",
                    self.delivered
                )
                .into());
            }
        }
        Ok(start.elapsed())
    }

    fn quiet(&mut self, poll: &mut Poll) -> Result<()> {
        let end = Instant::now() + QUIET;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.turn(poll, left)?;
        }
        Ok(())
    }

    /// Takes what has come; false when nothing did.
    fn turn(&mut self, poll: &mut Poll, wait: Duration) -> Result<bool> {
        let mut events = Events::with_capacity(1024);
        match poll.poll(&mut events, Some(wait)) {
            Err(e) if e.kind() == ErrorKind::Interrupted => return Ok(true),
            other => other?,
        }
        for event in &events {
            let n = event.token().0;
            let Some((wire, received)) = self.subscribers.get_mut(n) else {
                self.publisher.flush()?;
                self.publisher.read(&mut self.buffer, |_| {
                    Err("the publisher subscribed to nothing".into())
                })?;
                continue;
            };
            if event.is_readable() {
                wire.read(&mut self.buffer, |incoming| {
                    let Incoming::Text(text) = incoming else {
                        return Err("not a text message".into());
                    };
                    if *received >= self.published {
                        return Err("a message that was not published".into());
                    }
                    self.verifier
                        .check(text, self.target.payload.id(0, *received))?;
                    *received += 1;
                    self.delivered += 1;
                    Ok(())
                })?;
            }
            if event.is_writable() {
                wire.flush()?;
            }
        }
        Ok(!events.is_empty())
    }

    /// System calls that write, for one burst of `count` messages, by strace's account.
    fn writes(&mut self, poll: &mut Poll, count: u64) -> Result<Value> {
        let Ok(mut strace) = Command::new("strace")
            .args([
                "-f",
                "-c",
                "-e",
                "trace=write,writev,sendto,sendmsg,sendmmsg",
            ])
            .args(["-p", &self.target.pid.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
        else {
            return Ok(Value::Null);
        };
        // No sign tells when all threads are attached.
        std::thread::sleep(Duration::from_millis(500));
        self.publish(poll, count)?;
        let _ = Command::new("kill")
            .args(["-INT", &strace.id().to_string()])
            .status();
        let mut calls = 0;
        let mut text = String::new();
        if let Some(mut pipe) = strace.stderr.take() {
            std::io::Read::read_to_string(&mut pipe, &mut text)?;
        }
        strace.wait()?;
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let (Some(count), Some(name)) = (words.get(3), words.last())
                && (name.starts_with("write") || name.starts_with("send"))
            {
                calls += count.parse::<u64>().unwrap_or(0);
            }
        }
        if calls == 0 {
            return Ok(Value::Null);
        }
        Ok(json!({
            "messages": count,
            "calls": calls,
            "per_subscriber": round(calls as f64 / self.subscribers.len() as f64, 2),
        }))
    }
}
