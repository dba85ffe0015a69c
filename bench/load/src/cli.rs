//! `--name value` arguments, nothing more.

use std::collections::HashMap;
use std::str::FromStr;

use crate::Result;

pub(crate) const USAGE: &str =
    "usage: sockeye-load echo|fanout|handshakes|idle|pings|flood|http|scale --addr IP:PORT --pid SERVER_PID [options]
  all     --size BYTES (64)  --shape records|string (records)  --connections N (64)  --path /ws (/)  --deflate true|false (false)  --tls true|false (false; idle, pings, handshakes and scale only)
  echo    --pipeline N (1)  --refill burst|slide (burst)  --warmup S (0.5)  --duration S (2)  --bursts N at least (2)  --rate N a second, at even times (0: closed loop)
  fanout  --publishes N (50)  --rounds N of all at once (3)  --settle S (0.5)  --writes true|false (false; counts them with strace)
  handshakes  --duration S (2)  --settle S (0.2)
  idle    --settle S (2)
  pings   --over S (25; the time in which they open)  --duration S (25)
  http    --warmup S (0.5)  --duration S (2)
  scale   --http2 true|false (false: 100 streams on each connection); then a step a line: open N RATE, rest S, echo N S, publish N, burst, gone, closed S, probe, server PORT
  flood   --duration S (20)  --sndbuf BYTES (16384)  --drain S (300)";

/// The arguments after the mode. Every option has a default except `--addr` and `--pid`.
pub(crate) struct Args {
    given: HashMap<String, String>,
}

impl Args {
    pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Args> {
        let mut given = HashMap::new();
        let mut args = args;
        while let Some(name) = args.next() {
            let Some(name) = name.strip_prefix("--") else {
                return Err(format!("not an option: {name}\n{USAGE}").into());
            };
            let Some(value) = args.next() else {
                return Err(format!("--{name} needs a value\n{USAGE}").into());
            };
            given.insert(name.to_owned(), value);
        }
        Ok(Args { given })
    }

    /// Takes one option out, so that [`Args::finish`] can name what nobody asked for.
    pub(crate) fn take<T: FromStr>(&mut self, name: &str, default: T) -> Result<T> {
        match self.given.remove(name) {
            None => Ok(default),
            Some(text) => parse(name, &text),
        }
    }

    pub(crate) fn require<T: FromStr>(&mut self, name: &str) -> Result<T> {
        match self.given.remove(name) {
            None => Err(format!("--{name} is missing\n{USAGE}").into()),
            Some(text) => parse(name, &text),
        }
    }

    pub(crate) fn finish(self) -> Result<()> {
        match self.given.keys().next() {
            None => Ok(()),
            Some(name) => Err(format!("unknown option --{name}\n{USAGE}").into()),
        }
    }
}

fn parse<T: FromStr>(name: &str, text: &str) -> Result<T> {
    text.parse()
        .map_err(|_| format!("--{name}: cannot read {text:?}").into())
}
