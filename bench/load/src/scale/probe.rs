//! A client that asks all the time, from a thread of its own: what one notices of what the others do.

use std::io::Write;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::frame::Template;
use crate::histogram::Histogram;
use crate::payload::{Payload, Shape, Verifier};
use crate::{Result, Target, idle, tls};

/// It is no subscriber.
const PATH: &str = "/probe";
const SIZE: usize = 64;
const PAUSE: Duration = Duration::from_millis(5);

struct Seen {
    times: Histogram,
    max: Duration,
    /// When it asked what has not been answered yet.
    asked: Option<Instant>,
    error: Option<String>,
}

impl Seen {
    fn new() -> Seen {
        Seen {
            times: Histogram::new(),
            max: Duration::ZERO,
            asked: None,
            error: None,
        }
    }
}

pub(crate) struct Probe {
    seen: Arc<Mutex<Seen>>,
    /// The thread ends when this does.
    _life: Sender<()>,
}

impl Probe {
    pub(crate) fn start(target: &Target) -> Result<Probe> {
        let target = Target {
            addr: target.addr,
            path: PATH.to_owned(),
            pid: target.pid,
            connections: 1,
            payload: Payload::new(Shape::String, SIZE, 1)?,
            deflate: false,
            tls: target.tls,
        };
        let mut link = tls::open(&target, 1)?.pop().ok_or("no connection")?;
        let seen = Arc::new(Mutex::new(Seen::new()));
        let (life, end) = mpsc::channel();
        let shared = seen.clone();
        thread::spawn(move || {
            if let Err(error) = ask(&target, &mut link, &shared, &end)
                && let Ok(mut seen) = shared.lock()
            {
                seen.error = Some(error.to_string());
            }
        });
        Ok(Probe { seen, _life: life })
    }

    /// What it has seen since it was asked last, and how long it waits for an answer by now.
    pub(crate) fn take(&self) -> Value {
        let Ok(mut seen) = self.seen.lock() else {
            return Value::Null;
        };
        let row = json!({
            "p50_us": seen.times.percentile(0.5),
            "p99_us": seen.times.percentile(0.99),
            "max_us": seen.max.as_micros() as u64,
            "answers": seen.times.total(),
            "waits_us": seen.asked.map(|at| at.elapsed().as_micros() as u64),
            "error": seen.error,
        });
        let asked = seen.asked;
        *seen = Seen::new();
        seen.asked = asked;
        row
    }
}

fn ask(
    target: &Target,
    link: &mut tls::Link,
    seen: &Mutex<Seen>,
    end: &Receiver<()>,
) -> Result<()> {
    let template = Template::new(&target.payload);
    let mut verifier = Verifier::new(&target.payload)?;
    let mut out = Vec::new();
    for n in 0.. {
        if end.try_recv() == Err(mpsc::TryRecvError::Disconnected) {
            return Ok(());
        }
        let id = target.payload.id(0, n);
        out.clear();
        template.push(id, &mut out);
        let asked = Instant::now();
        if let Ok(mut seen) = seen.lock() {
            seen.asked = Some(asked);
        }
        link.write_all(&out)?;
        verifier.check(&idle::reply(link)?, id)?;
        let took = asked.elapsed();
        if let Ok(mut seen) = seen.lock() {
            seen.asked = None;
            seen.times.add(took);
            seen.max = seen.max.max(took);
        }
        sleep(PAUSE);
    }
    Ok(())
}
