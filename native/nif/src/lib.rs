//! The seam between the engine and the Erlang VM: terms on one side, bytes on the other.
//!
//! - [`library`]: how the VM loads all this, a second time as well.
//! - [`client`]: the calls of clients.
//! - [`control`]: the calls that start and stop things.
//! - [`inbound`]: events out of an inbox, as terms of the process that asks.
//! - [`grammar`]: what a term that stands for a frame says.
//! - [`commands`], [`send`], [`fanout`]: frames out of terms, handed to the shards; [`frames`], [`outbound`]: what they share.
//! - [`backlog`]: calls that wait for the engine.
//! - [`topics`]: who gets what is published.
//! - [`compress`]: what the caller compresses.
//! - [`owner`], [`courier`]: events as messages to a plain process.
//! - [`encode`], [`decode`], [`values`]: JSON and terms; [`json`]: the same with no server.
//! - [`terms`], [`term_type`]: raw terms.
//! - [`codec`]: handshakes and frames, for people who own the socket.

mod ask;
mod atoms;
mod backlog;
mod client;
mod codec;
mod commands;
mod compress;
mod config;
mod control;
mod courier;
mod decode;
mod deflate;
mod encode;
mod events;
mod fanout;
mod frames;
mod grammar;
mod inbound;
mod json;
mod library;
mod memory;
mod news;
mod options;
mod outbound;
mod owner;
mod process;
mod refusals;
mod relay;
mod reply;
mod running;
mod send;
mod term_type;
mod terms;
mod tls;
mod topics;
mod values;
mod watch;

use rustler::{Env, Term};

/// Changes with every change of what the Erlang stubs expect.
const ABI: u32 = 5;

/// What the VM keeps objects of.
const RESOURCES: [library::Kind; 5] = [
    library::Kind::of::<watch::Watch>(),
    library::Kind::of::<inbound::InboxRef>(),
    library::Kind::of::<codec::Codec>(),
    library::Kind::of::<courier::Load>(),
    library::Kind::of::<reply::Waiting>(),
];

fn load(env: Env<'_>, info: Term<'_>) -> bool {
    running::report_panics();
    is_ours(info) && RESOURCES.iter().all(|kind| kind.register(env))
}

/// The same library for new code of the stubs: all that is open stays.
fn upgrade(env: Env<'_>, info: Term<'_>) -> bool {
    is_ours(info) && RESOURCES.iter().all(|kind| kind.take_over(env))
}

fn is_ours(info: Term<'_>) -> bool {
    info.decode::<u32>().is_ok_and(|abi| abi == ABI)
}
