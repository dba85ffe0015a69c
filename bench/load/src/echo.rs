//! Echo: each reply is checked. Closed loop (each connection keeps `pipeline` messages on their way), or a fixed rate.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use mio::{Events, Poll};
use serde_json::{Value, json};

use crate::cli::Args;
use crate::deflate::Inflater;
use crate::frame::{Incoming, Template};
use crate::histogram::Histogram;
use crate::payload::Verifier;
use crate::wire::{READ_BUFFER, Wire};
use crate::{Result, Target, conn, proc};

/// A server that answers nothing for this long has failed.
const STALL: Duration = Duration::from_secs(20);
/// Below this, waiting in epoll, which counts milliseconds, would miss the time.
const SPIN: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Refill {
    /// The next burst goes out when the last reply of this one is in: the load has the same shape for all servers.
    Burst,
    /// Each reply makes room for one message.
    Slide,
}

impl std::str::FromStr for Refill {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Refill, ()> {
        match text {
            "burst" => Ok(Refill::Burst),
            "slide" => Ok(Refill::Slide),
            _ => Err(()),
        }
    }
}

pub(crate) struct Options {
    pipeline: u64,
    refill: Refill,
    warmup: Duration,
    duration: Duration,
    bursts: u64,
    /// Messages a second over all connections, at even times, whether the server keeps up or not; 0: closed loop.
    rate: u64,
}

impl Options {
    pub(crate) fn take(mut args: Args) -> Result<Options> {
        let options = Options {
            pipeline: args.take("pipeline", 1)?,
            refill: args.take("refill", Refill::Burst)?,
            warmup: Duration::from_secs_f64(args.take("warmup", 0.5)?),
            duration: Duration::from_secs_f64(args.take("duration", 2.0)?),
            bursts: args.take("bursts", 2)?,
            rate: args.take("rate", 0)?,
        };
        args.finish()?;
        Ok(options)
    }
}

struct Conn {
    wire: Wire,
    sent: u64,
    received: u64,
    burst_at: Instant,
    /// When the messages on their way were due, with a rate.
    due: VecDeque<Instant>,
    inflater: Option<Inflater>,
}

struct Echo<'a> {
    target: &'a Target,
    options: Options,
    template: Template,
    verifier: Verifier,
    conns: Vec<Conn>,
    bytes_in: u64,
    /// Round trips of whole bursts; with a rate, of each message since it was due.
    round_trips: Histogram,
    /// With a rate: how long after its time a message was sent.
    late: Histogram,
    paced: u64,
    began: Instant,
}

pub(crate) fn run(target: &Target, options: Options) -> Result<Value> {
    let mut poll = Poll::new()?;
    let mut conns = Vec::new();
    for (n, stream) in conn::open_all(target, None)?.into_iter().enumerate() {
        conns.push(Conn {
            wire: Wire::new(stream, poll.registry(), n)?,
            sent: 0,
            received: 0,
            burst_at: Instant::now(),
            due: VecDeque::new(),
            inflater: target
                .deflate
                .then(|| Inflater::new(target.payload.text.len())),
        });
    }
    let mut echo = Echo {
        target,
        template: if target.deflate {
            Template::deflated(&target.payload)?
        } else {
            Template::new(&target.payload)
        },
        verifier: Verifier::new(&target.payload)?,
        conns,
        bytes_in: 0,
        round_trips: Histogram::new(),
        late: Histogram::new(),
        paced: 0,
        began: Instant::now(),
        options,
    };
    echo.measure(&mut poll)
}

impl Echo<'_> {
    fn measure(&mut self, poll: &mut Poll) -> Result<Value> {
        let paced = self.options.rate > 0;
        let burst = if paced {
            0
        } else {
            for n in 0..self.conns.len() {
                self.send(n, self.options.pipeline)?;
            }
            // What a slow server still has to do for the burst before would be billed to this one.
            self.options.pipeline * self.conns.len() as u64
        };
        self.turn_until(poll, self.options.warmup, burst)?;
        self.round_trips = Histogram::new();
        self.late = Histogram::new();
        self.bytes_in = 0;

        let pid = self.target.pid;
        let (server, load) = (proc::cpu_ns(pid)?, proc::cpu_ns(std::process::id())?);
        let before = self.received();
        let start = Instant::now();
        self.turn_until(
            poll,
            self.options.duration,
            before + burst * self.options.bursts,
        )?;
        let wall = start.elapsed();
        let messages = self.received() - before;
        let server = proc::cpu_ns(pid)? - server;
        let load = proc::cpu_ns(std::process::id())? - load;

        if messages == 0 {
            return Err("no reply in the measured time".into());
        }
        let wall_ns = wall.as_nanos() as f64;
        let per_message = |ns: u64| round(ns as f64 / 1000.0 / messages as f64, 3);
        let mut row = json!({
            "mode": "echo",
            "size": self.target.payload.text.len(),
            "connections": self.target.connections,
            "pipeline": self.options.pipeline,
            "messages": messages,
            "seconds": round(wall.as_secs_f64(), 3),
            "per_second": (messages as f64 / wall.as_secs_f64()) as u64,
            "wire_bytes": round(self.bytes_in as f64 / messages as f64, 1),
            "cpu_us": per_message(server),
            "server_busy": round(server as f64 / wall_ns, 3),
            "load_cpu_us": per_message(load),
            "load_busy": round(load as f64 / wall_ns, 3),
            "p50_us": self.round_trips.percentile(0.5),
            "p99_us": self.round_trips.percentile(0.99),
            "p999_us": self.round_trips.percentile(0.999),
            "rss": proc::memory(pid)?.now,
        });
        if paced {
            row["rate"] = self.options.rate.into();
            row["max_us"] = self.round_trips.percentile(1.0).into();
            row["late_p99_us"] = self.late.percentile(0.99).into();
            // Sent and not yet answered: what a server that cannot keep up is behind.
            row["behind"] = self.conns.iter().map(|c| c.due.len()).sum::<usize>().into();
        }
        Ok(row)
    }

    fn received(&self) -> u64 {
        self.conns.iter().map(|c| c.received).sum()
    }

    /// Goes on for at least `time`, and until `received` replies are there.
    fn turn_until(&mut self, poll: &mut Poll, time: Duration, received: u64) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; READ_BUFFER];
        let end = Instant::now() + time;
        let mut answered_at = Instant::now();
        loop {
            let now = Instant::now();
            if now >= end && self.received() >= received {
                return Ok(());
            }
            if now - answered_at > STALL {
                return Err("no reply for 20 s".into());
            }
            let next = self.send_due(now)?;
            let wait = match next {
                Some(due) if due.saturating_duration_since(now) < SPIN => Duration::ZERO,
                Some(due) => due.saturating_duration_since(now) - SPIN / 2,
                None if now < end => end - now,
                None => STALL,
            };
            match poll.poll(&mut events, Some(wait)) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            if !events.is_empty() {
                answered_at = Instant::now();
            }
            for event in &events {
                let n = event.token().0;
                if event.is_readable() {
                    self.read(n, &mut buffer)?;
                }
                if event.is_writable() {
                    self.conns[n].wire.flush()?;
                }
            }
        }
    }

    /// With a rate: sends all that is due, one connection after the other. When the next one is due.
    fn send_due(&mut self, now: Instant) -> Result<Option<Instant>> {
        if self.options.rate == 0 {
            return Ok(None);
        }
        loop {
            let nanos = u128::from(self.paced) * 1_000_000_000 / u128::from(self.options.rate);
            let due = self.began + Duration::from_nanos(u64::try_from(nanos)?);
            if due > now {
                return Ok(Some(due));
            }
            let n = (self.paced % self.conns.len() as u64) as usize;
            self.paced += 1;
            self.late.add(due.elapsed());
            self.conns[n].due.push_back(due);
            self.send(n, 1)?;
        }
    }

    fn send(&mut self, n: usize, count: u64) -> Result<()> {
        let conn = &mut self.conns[n];
        for _ in 0..count {
            let id = self.target.payload.id(n, conn.sent);
            self.template.push(id, &mut conn.wire.out);
            conn.sent += 1;
        }
        conn.burst_at = Instant::now();
        conn.wire.flush()
    }

    fn read(&mut self, n: usize, buffer: &mut [u8]) -> Result<()> {
        let conn = &mut self.conns[n];
        let before = conn.received;
        let got = conn.wire.read(buffer, |incoming| {
            let id = self.target.payload.id(n, conn.received);
            match incoming {
                Incoming::Deflated(body) => {
                    let inflater = conn.inflater.as_mut().ok_or("compressed unasked")?;
                    self.verifier.check(inflater.message(body)?, id)?;
                }
                Incoming::Text(text) => self.verifier.check(text, id)?,
                _ => return Err("not a message".into()),
            }
            conn.received += 1;
            Ok(())
        })?;
        self.bytes_in += got as u64;
        self.refill(n, before)
    }

    fn refill(&mut self, n: usize, before: u64) -> Result<()> {
        let conn = &mut self.conns[n];
        let (news, whole) = (conn.received - before, conn.received == conn.sent);
        if self.options.rate > 0 {
            for due in conn.due.drain(..conn.due.len().min(news as usize)) {
                self.round_trips.add(due.elapsed());
            }
            return Ok(());
        }
        if whole && news > 0 {
            self.round_trips.add(conn.burst_at.elapsed());
        }
        match self.options.refill {
            Refill::Slide if news > 0 => self.send(n, news),
            Refill::Burst if whole && news > 0 => self.send(n, self.options.pipeline),
            _ => Ok(()),
        }
    }
}

pub(crate) fn round(value: f64, places: i32) -> f64 {
    let unit = 10f64.powi(places);
    (value * unit).round() / unit
}
