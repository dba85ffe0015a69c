//! The sources of `sockeye-engine`, and those of `sockeye-port` and `sockeye-nif` whose threads meet, with the atomics, locks and queues of
//! [loom](https://docs.rs/loom), which tries the orders in which threads can run, and what each may see of the others. What they hand
//! to each other is checked in [`checks`].

// The tests of the sources are those of the real world.
#![cfg(not(test))]
// Most of the engine has nothing to do here.
#![allow(dead_code, unused_imports, missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::new_without_default)]

// Those of the process engine name it so.
extern crate self as sockeye_engine;

#[path = "../../engine/src/accept/mod.rs"]
mod accept;
#[path = "../../engine/src/admission/mod.rs"]
mod admission;
#[path = "../../engine/src/dial/mod.rs"]
mod dial;
#[path = "../../engine/src/engine/mod.rs"]
mod engine;
#[path = "../../engine/src/http/mod.rs"]
mod http;
#[path = "../../engine/src/model/mod.rs"]
mod model;
#[path = "../../engine/src/net/mod.rs"]
mod net;
#[path = "../../engine/src/server/mod.rs"]
mod server;
#[path = "../../engine/src/settings/mod.rs"]
mod settings;
#[path = "../../engine/src/shard/mod.rs"]
mod shard;
#[path = "../../engine/src/vm/mod.rs"]
mod vm;
#[path = "../../engine/src/world/mod.rs"]
mod world;

#[path = "../../port/src/link/mod.rs"]
mod link;
#[path = "../../port/src/on_last_drop.rs"]
mod on_last_drop;
mod processes;

// Of `sockeye-nif`: what is beside it there is the standard library's.
#[path = "../../nif/src/server/queue.rs"]
mod queue;
use world::sync;

pub mod checks;

pub use engine::{Engine, StopReport};
pub use model::active::{self, Active};
pub use model::compression::{Compression, ConnLabel};
pub use model::counters::ServerStats;
pub use model::delivery_count::DeliveryCountReply;
pub use model::error::SendError;
pub use model::id::ConnId;
pub use net::fault::DialError;
pub use net::peer::{Peer, PeerInfo, TlsFacts};
pub use server::Server;
pub use server::broadcast::Broadcast;
pub use settings::config::{Address, EngineConfig, Mode, ServerConfig};
pub use settings::dial::Dial;
pub use settings::options::{self, ConnOptions};
pub use settings::routes::{Routes, Target};
pub use vm::batch;
pub use vm::host::{self, Disconnected};
pub use vm::inbox::{self, Inbox, Notifier};
pub use vm::question::{About, AcceptState, Acceptance, Answer, Question};
pub use world::sync::{sites, weaken};

static PLANTED: std::sync::OnceLock<String> = std::sync::OnceLock::new();

/// Has this fault awake, where there is one.
pub fn plant(fault: &str) {
    let _ = PLANTED.set(fault.to_owned());
}

/// Whether it is: what a copy of the sources asks in which faults are planted.
pub(crate) fn is_planted(fault: &str) -> bool {
    PLANTED.get().is_some_and(|planted| planted == fault)
}
