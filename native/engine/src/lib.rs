//! The engine: listeners, connections, inboxes and flow control on tokio.
//!
//! It knows nothing of Erlang. What it needs from the virtual machine it asks through the
//! traits of [`host`]; what the virtual machine needs from it is in [`Engine`].
//!
//! A *shard* is one thread with one single-threaded tokio runtime. A connection lives its
//! whole life on one shard, so its state needs no lock. Other threads reach a connection only
//! through its [`ConnId`]: the shared slot table (`shard/slots.rs`) tells whether it is open and how
//! much is queued for it, and the shard's operation queue ([`op`]) carries the work over.

// The tests are those of the real world.
#![cfg(not(all(sim, test)))]
// Much of it looks at what strangers send: nothing of that may panic.
#![deny(clippy::indexing_slicing, clippy::string_slice)]

mod accept;
mod admission;
mod dial;
mod engine;
mod http;
mod model;
mod net;
mod server;
mod settings;
mod shard;
mod vm;
mod world;

pub use engine::{Engine, StopReport};
pub use model::active::{self, Active};
pub use model::backlog::{self, CallKind, ShardSet};
pub use model::compression::{Compression, ConnLabel};
pub use model::counters::{CLOSE_CODES, ServerStats};
pub use model::delivery_count::DeliveryCountReply;
pub use model::error::SendError;
pub use model::id::ConnId;
pub use model::pace::MessageRate;
pub use model::pieces;
pub use model::refused::RefusedFor;
pub use model::trace::{TellTrace, TracedFrame, Tracer};
pub use net::client_tls::{ClientTls, ClientTlsSettings, Pin};
pub use net::fault::{DialError, ProxyError, RedirectError, Rejection, TlsFault};
pub use net::peer::{Peer, PeerInfo, TlsFacts};
pub use net::proxy::{Proxy, ProxyKind};
pub use net::redirect::MAX_REDIRECTS;
pub use net::rejection::MAX_BODY;
pub use net::tls;
pub use net::transport::Detached;
pub use net::url::{Destination, Host, Url};
pub use server::Server;
pub use server::admitted::Verdict;
pub use server::broadcast::Broadcast;
pub use server::topics::{self, SubscribeError};
pub use settings::config::{Address, EngineConfig, Mode, ServerConfig};
pub use settings::dial::Dial;
pub use settings::options::{self, ConnOptions};
pub use settings::rates::ConnectionRate;
pub use settings::routes::{FileRules, Routes, Target};
pub use settings::upstream::Upstream;
#[cfg(sim)]
pub use shard::conn::census;
pub use shard::op::{self, Frames};
pub use vm::batch;
pub use vm::host::{self, Disconnected};
pub use vm::inbox::{self, Inbox, Notifier};
pub use vm::question::{About, AcceptState, Acceptance, Answer, Question};
pub use vm::stream::{PieceOutcome, StreamAnswer, StreamEnd, Tell};
