//! The engine without a virtual machine: its hosts are channels, its clients plain sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod backlog;
mod closing;
mod control;
mod credits;
mod deaths;
mod dialling;
mod echo;
mod ending;
mod fanout;
mod http2;
mod inbox;
mod owners;
mod panics;
mod proxies;
mod questions;
mod refusals;
mod rows;
mod sending;
mod servers;
mod silence;
mod stopping;
mod support;
mod topics;
mod traces;
mod turns;
#[cfg(unix)]
mod unix;
