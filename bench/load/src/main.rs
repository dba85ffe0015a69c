//! Load generator for the bench. One thread, one result: a line of JSON on standard output.

mod cli;
mod conn;
mod deflate;
mod echo;
mod fanout;
mod flood;
mod frame;
mod handshakes;
mod histogram;
mod http;
mod idle;
mod payload;
mod proc;
mod scale;
mod tls;
mod wire;

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;

use cli::{Args, USAGE};
use payload::{Payload, Shape};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What every mode needs to know.
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    pub(crate) path: String,
    pub(crate) pid: u32,
    pub(crate) connections: usize,
    pub(crate) payload: Payload,
    /// Offer permessage-deflate, and compress what is sent.
    pub(crate) deflate: bool,
    pub(crate) tls: bool,
}

fn main() -> ExitCode {
    match run() {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("sockeye-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<serde_json::Value> {
    let mut words = std::env::args().skip(1);
    let mode = words.next().ok_or(USAGE)?;
    let mut args = Args::parse(words)?;
    let connections = args.take("connections", 64)?;
    let shape: Shape = args.take("shape", Shape::Records)?;
    let target = Target {
        addr: args.require("addr")?,
        path: args.take("path", "/".to_owned())?,
        pid: args.require("pid")?,
        connections,
        payload: Payload::new(shape, args.take("size", 64)?, connections)?,
        deflate: args.take("deflate", false)?,
        tls: args.take("tls", false)?,
    };
    if target.tls && !matches!(mode.as_str(), "idle" | "pings" | "handshakes" | "scale") {
        return Err("--tls is for handshakes, idle connections, pings and scale only".into());
    }
    match mode.as_str() {
        "echo" => echo::run(&target, echo::Options::take(args)?),
        "fanout" => fanout::run(&target, fanout::Options::take(args)?),
        "handshakes" => handshakes::run(&target, handshakes::Options::take(args)?),
        "idle" => idle::run(&target, idle::Options::take(args)?),
        "pings" => scale::pings::run(&target, scale::pings::Options::take(args)?),
        "http" => http::run(&target, http::Options::take(args)?),
        "scale" => scale::run(&target, scale::Options::take(args)?),
        "flood" => flood::run(&target, flood::Options::take(args)?),
        _ => Err(USAGE.into()),
    }
}
