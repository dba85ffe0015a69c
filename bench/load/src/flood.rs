//! Open loop: each client sends as fast as the kernel takes it, then waits until all is answered.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde_json::{Value, json};

use crate::cli::Args;
use crate::echo::round;
use crate::frame::{self, Incoming, Template};
use crate::payload::Verifier;
use crate::{Result, Target, conn, proc};

/// With all sending done, a server that answers nothing for this long has lost the rest.
const STALL: Duration = Duration::from_secs(15);
const SAMPLE: Duration = Duration::from_millis(50);
/// Bytes written to one connection before the others get their turn.
const TURN: usize = 256 * 1024;
const CHUNK: usize = 16 * 1024;

pub(crate) struct Options {
    duration: Duration,
    drain: Duration,
    sndbuf: usize,
}

impl Options {
    pub(crate) fn take(mut args: Args) -> Result<Options> {
        let options = Options {
            duration: Duration::from_secs_f64(args.take("duration", 20.0)?),
            drain: Duration::from_secs_f64(args.take("drain", 300.0)?),
            sndbuf: args.take("sndbuf", 16 * 1024)?,
        };
        args.finish()?;
        Ok(options)
    }
}

struct Conn {
    stream: TcpStream,
    /// Messages whose last byte the kernel has, or that are in `out`.
    sent: u64,
    received: u64,
    out: Vec<u8>,
    written: usize,
    inbox: Vec<u8>,
    writable: bool,
    failed: Option<String>,
}

struct Flood<'a> {
    target: &'a Target,
    template: Template,
    verifier: Verifier,
    conns: Vec<Conn>,
    sending: bool,
    peak_rss: u64,
    most_unanswered: u64,
}

pub(crate) fn run(target: &Target, options: Options) -> Result<Value> {
    let mut poll = Poll::new()?;
    let rss_before = proc::memory(target.pid)?.now;
    let mut conns = Vec::new();
    let streams = conn::open_all(target, Some(options.sndbuf))?;
    for (n, stream) in streams.into_iter().enumerate() {
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
            inbox: Vec::new(),
            writable: true,
            failed: None,
        });
    }
    let mut flood = Flood {
        target,
        template: Template::new(&target.payload),
        verifier: Verifier::new(&target.payload)?,
        conns,
        sending: true,
        peak_rss: rss_before,
        most_unanswered: 0,
    };
    let start = Instant::now();
    flood.turn_until(&mut poll, start + options.duration)?;
    let answered = flood.totals().1;
    flood.sending = false;
    let drain = Instant::now();
    flood.turn_until(&mut poll, drain + options.drain)?;

    let (sent, received) = flood.totals();
    let errors: Vec<_> = flood
        .conns
        .iter()
        .filter_map(|c| c.failed.clone())
        .collect();
    Ok(json!({
        "mode": "flood",
        "connections": target.connections,
        "size": target.payload.text.len(),
        "seconds": options.duration.as_secs_f64(),
        "sent": sent,
        "answered_in_time": answered,
        "received": received,
        "lost": sent - received,
        "gave_up": drain.elapsed() >= options.drain,
        "drain_seconds": round(drain.elapsed().as_secs_f64(), 1),
        "most_unanswered": flood.most_unanswered,
        "errors": errors,
        "rss_before": rss_before,
        "rss_peak": flood.peak_rss.max(proc::memory(target.pid)?.peak),
    }))
}

impl Flood<'_> {
    fn totals(&self) -> (u64, u64) {
        self.conns
            .iter()
            .fold((0, 0), |(s, r), c| (s + c.sent, r + c.received))
    }

    fn turn_until(&mut self, poll: &mut Poll, end: Instant) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; 64 * 1024];
        let mut sample_at = Instant::now();
        let mut progress = (0, Instant::now());
        loop {
            let now = Instant::now();
            if now >= sample_at {
                sample_at = now + SAMPLE;
                let (sent, received) = self.totals();
                self.most_unanswered = self.most_unanswered.max(sent - received);
                self.peak_rss = self.peak_rss.max(proc::memory(self.target.pid)?.now);
                if received != progress.0 {
                    progress = (received, now);
                }
                let stalled = now - progress.1 > STALL;
                if !self.sending && (sent == received || stalled) {
                    return Ok(());
                }
            }
            if now >= end {
                return Ok(());
            }
            let busy = self.sending && self.conns.iter().any(|c| c.writable);
            let wait = if busy { Duration::ZERO } else { SAMPLE };
            match poll.poll(&mut events, Some(wait)) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                let n = event.token().0;
                self.conns[n].writable |= event.is_writable();
                if event.is_readable() {
                    self.guard(n, |flood| flood.read(n, &mut buffer));
                }
            }
            for n in 0..self.conns.len() {
                if self.conns[n].writable {
                    self.guard(n, |flood| flood.write(n));
                }
            }
        }
    }

    /// A connection that fails is a finding, not the end of the run.
    fn guard(&mut self, n: usize, step: impl FnOnce(&mut Self) -> Result<()>) {
        if self.conns[n].failed.is_some() {
            return;
        }
        if let Err(error) = step(self) {
            self.conns[n].failed = Some(error.to_string());
            self.conns[n].writable = false;
        }
    }

    fn write(&mut self, n: usize) -> Result<()> {
        let conn = &mut self.conns[n];
        let mut turn = 0;
        while turn < TURN {
            if conn.written == conn.out.len() {
                conn.out.clear();
                conn.written = 0;
                while self.sending && conn.out.len() < CHUNK {
                    let id = self.target.payload.id(n, conn.sent);
                    self.template.push(id, &mut conn.out);
                    conn.sent += 1;
                }
                if conn.out.is_empty() {
                    conn.writable = false;
                    return Ok(());
                }
            }
            match conn.stream.write(&conn.out[conn.written..]) {
                Ok(wrote) => {
                    conn.written += wrote;
                    turn += wrote;
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    conn.writable = false;
                    return Ok(());
                }
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn read(&mut self, n: usize, buffer: &mut [u8]) -> Result<()> {
        loop {
            let conn = &mut self.conns[n];
            match conn.stream.read(buffer) {
                Ok(0) => return Err("closed by the server".into()),
                Ok(got) => conn.inbox.extend_from_slice(&buffer[..got]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e.into()),
            }
            let mut used = 0;
            while let Some((incoming, size)) = frame::next(&conn.inbox[used..])? {
                match incoming {
                    Incoming::Text(text) => {
                        let id = self.target.payload.id(n, conn.received);
                        self.verifier.check(text, id)?;
                        conn.received += 1;
                    }
                    // `out` holds whole frames, so a pong may follow whatever is in it.
                    Incoming::Ping(pong) => {
                        conn.out.extend(pong);
                        conn.writable = true;
                    }
                    Incoming::Deflated(_) => {
                        return Err("a compressed reply to a plain message".into());
                    }
                    Incoming::Close(code) => return Err(format!("closed with {code}").into()),
                }
                used += size;
            }
            conn.inbox.drain(..used);
        }
    }
}
