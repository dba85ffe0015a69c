//! Hosts on channels, clients on blocking sockets. Whatever waits, waits for an event with a
//! deadline.

// Each test binary uses its part, and none of it leaves the binary.
#![allow(dead_code, unreachable_pub, unused_imports)]

mod client;
mod host;
mod world;

use std::time::Duration;

use sockeye_engine::batch::Event;

pub use client::*;
pub use host::*;
pub use world::*;

/// Longer than anything here may take.
pub const LONG: Duration = Duration::from_secs(20);

/// An event, kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Got {
    Open(String),
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Passive,
    Ending,
    Closed(u16, String),
}

impl From<Event<'_>> for Got {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Open(info) => Got::Open(info.request.path().to_owned()),
            Event::Text(bytes) => Got::Text(bytes.to_vec()),
            Event::Binary(bytes) => Got::Binary(bytes.to_vec()),
            Event::Ping(bytes) => Got::Ping(bytes.to_vec()),
            Event::Pong(bytes) => Got::Pong(bytes.to_vec()),
            Event::Passive => Got::Passive,
            Event::Ending => Got::Ending,
            Event::Closed(ended) => Got::Closed(ended.code, ended.reason.to_string()),
        }
    }
}

pub fn text(s: &str) -> Got {
    Got::Text(s.as_bytes().to_vec())
}
