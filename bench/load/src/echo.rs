//! Closed loop: each connection keeps `pipeline` messages on their way and checks each reply.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde_json::{Value, json};

use crate::cli::Args;
use crate::deflate::Inflater;
use crate::frame::{self, Incoming, Template};
use crate::histogram::Histogram;
use crate::payload::Verifier;
use crate::{Result, Target, conn, proc};

/// A server that answers nothing for this long has failed.
const STALL: Duration = Duration::from_secs(20);
const READ_BUFFER: usize = 256 * 1024;

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
}

impl Options {
    pub(crate) fn take(mut args: Args) -> Result<Options> {
        let options = Options {
            pipeline: args.take("pipeline", 1)?,
            refill: args.take("refill", Refill::Burst)?,
            warmup: Duration::from_secs_f64(args.take("warmup", 0.5)?),
            duration: Duration::from_secs_f64(args.take("duration", 2.0)?),
            bursts: args.take("bursts", 2)?,
        };
        args.finish()?;
        Ok(options)
    }
}

struct Conn {
    stream: TcpStream,
    sent: u64,
    received: u64,
    out: Vec<u8>,
    written: usize,
    /// The beginning of a frame whose end has not come yet.
    spill: Vec<u8>,
    burst_at: Instant,
    inflater: Option<Inflater>,
}

struct Echo<'a> {
    target: &'a Target,
    options: Options,
    template: Template,
    verifier: Verifier,
    conns: Vec<Conn>,
    bytes_in: u64,
    /// Round trips of whole bursts.
    round_trips: Histogram,
}

pub(crate) fn run(target: &Target, options: Options) -> Result<Value> {
    let mut poll = Poll::new()?;
    let mut conns = Vec::new();
    for (n, stream) in conn::open_all(target, None)?.into_iter().enumerate() {
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(n), interest)?;
        conns.push(Conn {
            stream,
            sent: 0,
            received: 0,
            out: Vec::new(),
            written: 0,
            spill: Vec::new(),
            burst_at: Instant::now(),
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
        options,
    };
    echo.measure(&mut poll)
}

impl Echo<'_> {
    fn measure(&mut self, poll: &mut Poll) -> Result<Value> {
        for n in 0..self.conns.len() {
            self.send(n, self.options.pipeline)?;
        }
        // What a slow server still has to do for the burst before would be billed to this one.
        let burst = self.options.pipeline * self.conns.len() as u64;
        self.turn_until(poll, self.options.warmup, burst)?;
        self.round_trips = Histogram::new();
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
        Ok(json!({
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
            "rss": proc::memory(pid)?.now,
        }))
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
            let wait = if now < end { end - now } else { STALL };
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
                    flush(&mut self.conns[n])?;
                }
            }
        }
    }

    fn send(&mut self, n: usize, count: u64) -> Result<()> {
        let conn = &mut self.conns[n];
        for _ in 0..count {
            let id = self.target.payload.id(n, conn.sent);
            self.template.push(id, &mut conn.out);
            conn.sent += 1;
        }
        conn.burst_at = Instant::now();
        flush(conn)
    }

    fn read(&mut self, n: usize, buffer: &mut [u8]) -> Result<()> {
        loop {
            let conn = &mut self.conns[n];
            let got = match conn.stream.read(buffer) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(got) => got,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e.into()),
            };
            self.bytes_in += got as u64;
            let before = conn.received;
            if conn.spill.is_empty() {
                let used = self.take_frames(n, &buffer[..got])?;
                self.conns[n].spill.extend_from_slice(&buffer[used..got]);
            } else {
                let mut whole = std::mem::take(&mut conn.spill);
                whole.extend_from_slice(&buffer[..got]);
                let used = self.take_frames(n, &whole)?;
                whole.drain(..used);
                self.conns[n].spill = whole;
            }
            self.refill(n, before)?;
            if got < buffer.len() {
                // Short read: the socket is empty, and the next byte raises an edge.
                return Ok(());
            }
        }
    }

    fn refill(&mut self, n: usize, before: u64) -> Result<()> {
        let conn = &self.conns[n];
        let (news, whole) = (conn.received - before, conn.received == conn.sent);
        if whole && news > 0 {
            self.round_trips.add(conn.burst_at.elapsed());
        }
        match self.options.refill {
            Refill::Slide if news > 0 => self.send(n, news),
            Refill::Burst if whole && news > 0 => self.send(n, self.options.pipeline),
            _ => Ok(()),
        }
    }

    /// Checks all whole frames in `bytes`; the number of bytes they took.
    fn take_frames(&mut self, n: usize, bytes: &[u8]) -> Result<usize> {
        let mut used = 0;
        while let Some((incoming, size)) = frame::next(&bytes[used..])? {
            let conn = &mut self.conns[n];
            match incoming {
                Incoming::Text(text) => {
                    let id = self.target.payload.id(n, conn.received);
                    self.verifier.check(text, id)?;
                    conn.received += 1;
                }
                Incoming::Deflated(body) => {
                    let inflater = conn.inflater.as_mut().ok_or("compressed unasked")?;
                    let id = self.target.payload.id(n, conn.received);
                    self.verifier.check(inflater.message(body)?, id)?;
                    conn.received += 1;
                }
                Incoming::Ping(pong) => conn.out.extend(pong),
                Incoming::Close(code) => return Err(format!("closed with {code}").into()),
            }
            used += size;
        }
        Ok(used)
    }
}

fn flush(conn: &mut Conn) -> Result<()> {
    while conn.written < conn.out.len() {
        match conn.stream.write(&conn.out[conn.written..]) {
            Ok(n) => conn.written += n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e.into()),
        }
    }
    conn.out.clear();
    conn.written = 0;
    Ok(())
}

pub(crate) fn round(value: f64, places: i32) -> f64 {
    let unit = 10f64.powi(places);
    (value * unit).round() / unit
}
