//! Memory of connections that do nothing: fresh, after one echo each, and when they are closed.

use std::io::{Read, Write};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::Args;
use crate::deflate::Inflater;
use crate::echo::round;
use crate::frame::{self, Incoming, Template};
use crate::payload::Verifier;
use crate::tls::{self, Link};
use crate::{Result, Target, proc};

/// Connections opened, used and closed first, so that code pages and fixed buffers are not billed.
const WARM: usize = 100;
/// Messages on their way at the same time.
const AT_ONCE: usize = 64;

pub(crate) struct Options {
    settle: Duration,
}

impl Options {
    pub(crate) fn take(mut args: Args) -> Result<Options> {
        let options = Options {
            settle: Duration::from_secs_f64(args.take("settle", 2.0)?),
        };
        args.finish()?;
        Ok(options)
    }
}

pub(crate) fn run(target: &Target, options: Options) -> Result<Value> {
    let pid = target.pid;
    let count = target.connections as f64;
    let mut warm = tls::open(target, WARM.min(target.connections))?;
    echo_each(target, &mut warm)?;
    drop(warm);
    sleep(options.settle);

    let base = proc::memory(pid)?.now;
    let cpu = proc::cpu_ns(pid)?;
    let mut open = tls::open(target, target.connections)?;
    let handshakes = proc::cpu_ns(pid)? - cpu;
    sleep(options.settle);
    let fresh = proc::memory(pid)?.now;

    let (cpu, start) = (proc::cpu_ns(pid)?, Instant::now());
    sleep(options.settle);
    let idle = (proc::cpu_ns(pid)? - cpu) as f64 / start.elapsed().as_nanos() as f64;

    echo_each(target, &mut open)?;
    sleep(options.settle);
    let used = proc::memory(pid)?.now;
    drop(open);
    sleep(options.settle * 2);
    let closed = proc::memory(pid)?.now;
    // What an allocator keeps for later is no leak: the next ones must live in it.
    let open = tls::open(target, target.connections)?;
    sleep(options.settle);
    let again = proc::memory(pid)?.now;
    drop(open);
    let each = |now: u64| ((now as f64 - base as f64) / count).round();
    Ok(json!({
        "mode": "idle",
        "connections": target.connections,
        "rss_base": base,
        "rss_fresh": fresh,
        "rss_echoed": used,
        "rss_closed": closed,
        "rss_again": again,
        "bytes_fresh": each(fresh),
        "bytes_echoed": each(used),
        "bytes_left": each(closed),
        "bytes_again": each(again),
        "handshake_us": round(handshakes as f64 / 1000.0 / count, 1),
        "idle_busy": round(idle, 4),
    }))
}

fn echo_each(target: &Target, conns: &mut [Link]) -> Result<()> {
    let template = Template::new(&target.payload);
    let mut verifier = Verifier::new(&target.payload)?;
    let mut out = Vec::new();
    for (chunk, group) in conns.chunks_mut(AT_ONCE).enumerate() {
        let first = chunk * AT_ONCE;
        for (n, stream) in group.iter_mut().enumerate() {
            out.clear();
            template.push(target.payload.id(first + n, 0), &mut out);
            stream.write_all(&out)?;
        }
        for (n, stream) in group.iter_mut().enumerate() {
            let reply = reply(stream)?;
            verifier.check(&reply, target.payload.id(first + n, 0))?;
        }
    }
    Ok(())
}

/// The next message, and pings answered.
pub(crate) fn reply(stream: &mut Link) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let got = stream.read(&mut chunk)?;
        if got == 0 {
            return Err("closed before the reply".into());
        }
        bytes.extend_from_slice(&chunk[..got]);
        while let Some((incoming, size)) = frame::next(&bytes)? {
            match incoming {
                Incoming::Text(text) => return Ok(text.to_vec()),
                Incoming::Ping(pong) => stream.write_all(&pong)?,
                // The first compressed message of its connection, so that no window is needed yet.
                Incoming::Deflated(body) => {
                    return Ok(Inflater::new(bytes.len()).message(body)?.to_vec());
                }
                Incoming::Close(code) => return Err(format!("closed with {code}").into()),
            }
            bytes.drain(..size);
        }
    }
}
