//! Ordinary requests: each connection has one on its way. Every answer must be 200 and have the content of the first.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde_json::{Value, json};

use crate::cli::Args;
use crate::echo::round;
use crate::histogram::Histogram;
use crate::{Result, Target, conn, proc};

/// A server that answers nothing for this long has failed.
const STALL: Duration = Duration::from_secs(20);
const READ_BUFFER: usize = 64 * 1024;
/// The longest head of an answer.
const HEAD: usize = 8 * 1024;

pub(crate) struct Options {
    warmup: Duration,
    duration: Duration,
}

impl Options {
    pub(crate) fn take(mut args: Args) -> Result<Options> {
        let options = Options {
            warmup: Duration::from_secs_f64(args.take("warmup", 0.5)?),
            duration: Duration::from_secs_f64(args.take("duration", 2.0)?),
        };
        args.finish()?;
        Ok(options)
    }
}

struct Conn {
    stream: TcpStream,
    /// What has come of the answer.
    answer: Vec<u8>,
    asked_at: Instant,
}

struct Load {
    request: Vec<u8>,
    conns: Vec<Conn>,
    content: Option<Vec<u8>>,
    answers: u64,
    round_trips: Histogram,
}

pub(crate) fn run(target: &Target, options: Options) -> Result<Value> {
    let mut poll = Poll::new()?;
    let mut load = Load {
        request: format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\n\r\n",
            target.path, target.addr
        )
        .into(),
        conns: Vec::new(),
        content: None,
        answers: 0,
        round_trips: Histogram::new(),
    };
    for n in 0..target.connections {
        let stream = conn::connect(target.addr, n, None)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry()
            .register(&mut stream, Token(n), Interest::READABLE)?;
        load.conns.push(Conn {
            stream,
            answer: Vec::new(),
            asked_at: Instant::now(),
        });
        load.ask(n)?;
    }
    load.turn_for(&mut poll, options.warmup)?;
    load.round_trips = Histogram::new();

    let pid = target.pid;
    let (server, own) = (proc::cpu_ns(pid)?, proc::cpu_ns(std::process::id())?);
    let (before, start) = (load.answers, Instant::now());
    load.turn_for(&mut poll, options.duration)?;
    let wall = start.elapsed();
    let answers = load.answers - before;
    let server = proc::cpu_ns(pid)? - server;
    let own = proc::cpu_ns(std::process::id())? - own;
    if answers == 0 {
        return Err("no answer in the measured time".into());
    }
    let wall_ns = wall.as_nanos() as f64;
    Ok(json!({
        "mode": "http",
        "connections": target.connections,
        "content": load.content.map_or(0, |content| content.len()),
        "answers": answers,
        "per_second": (answers as f64 / wall.as_secs_f64()) as u64,
        "cpu_us": round(server as f64 / 1000.0 / answers as f64, 3),
        "server_busy": round(server as f64 / wall_ns, 3),
        "load_busy": round(own as f64 / wall_ns, 3),
        "p50_us": load.round_trips.percentile(0.5),
        "p99_us": load.round_trips.percentile(0.99),
        "rss": proc::memory(pid)?.now,
    }))
}

impl Load {
    fn turn_for(&mut self, poll: &mut Poll, time: Duration) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; READ_BUFFER];
        let end = Instant::now() + time;
        let mut answered_at = Instant::now();
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            if now - answered_at > STALL {
                return Err("no answer for 20 s".into());
            }
            match poll.poll(&mut events, Some(end - now)) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                answered_at = Instant::now();
                self.read(event.token().0, &mut buffer)?;
            }
        }
    }

    /// A request is smaller than the buffer of a socket.
    fn ask(&mut self, n: usize) -> Result<()> {
        let conn = &mut self.conns[n];
        conn.asked_at = Instant::now();
        conn.stream.write_all(&self.request)?;
        Ok(())
    }

    fn read(&mut self, n: usize, buffer: &mut [u8]) -> Result<()> {
        loop {
            let conn = &mut self.conns[n];
            match conn.stream.read(buffer) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(got) => conn.answer.extend_from_slice(&buffer[..got]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e.into()),
            }
            let Some(content) = content(&conn.answer)? else {
                continue;
            };
            let expected = self.content.get_or_insert_with(|| content.to_vec());
            if content != expected.as_slice() {
                return Err("an answer with another content".into());
            }
            conn.answer.clear();
            self.answers += 1;
            self.round_trips.add(conn.asked_at.elapsed());
            self.ask(n)?;
        }
    }
}

/// The content of an answer, if all of it is there.
fn content(answer: &[u8]) -> Result<Option<&[u8]>> {
    let window = &answer[..answer.len().min(HEAD)];
    let Some(end) = window.windows(4).position(|w| w == b"\r\n\r\n") else {
        return if answer.len() < HEAD {
            Ok(None)
        } else {
            Err("an answer with a large head".into())
        };
    };
    let head = std::str::from_utf8(&answer[..end])?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(format!("another answer: {head}").into());
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.ok_or("an answer without a length")?;
    let content = &answer[end + 4..];
    if content.len() > length {
        return Err("more than an answer".into());
    }
    Ok((content.len() == length).then_some(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_or_wrong() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-LENGTH: 3\r\n\r\nabc";
        for end in 0..answer.len() {
            assert_eq!(content(&answer[..end]).unwrap(), None, "{end}");
        }
        assert_eq!(content(answer).unwrap(), Some(&b"abc"[..]));
        for wrong in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd"[..],
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        ] {
            assert!(content(wrong).is_err());
        }
    }
}
