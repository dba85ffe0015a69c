//! The engine: listeners, connections, inboxes and flow control on tokio.
//!
//! It knows nothing of Erlang. What it needs from the virtual machine it asks through the
//! traits of [`host`]; what the virtual machine needs from it is in [`Engine`].
//!
//! A *shard* is one thread with one single-threaded tokio runtime. A connection lives its
//! whole life on one shard, so its state needs no lock. Other threads reach a connection only
//! through its [`ConnId`]: the shared slot table (`slots`) tells whether it is open and how
//! much is queued for it, and the shard's operation queue ([`op`]) carries the work over.

// Much of it looks at what strangers send: nothing of that may panic.
#![deny(clippy::indexing_slicing, clippy::string_slice)]

pub mod active;
mod adopt;
mod appointments;
mod backlog;
pub mod batch;
mod bind;
mod broadcast;
mod client;
mod clock;
pub mod compression;
pub mod config;
mod conn;
mod counters;
mod crowd;
mod deliver;
mod dial;
mod dialling;
mod engine;
mod error;
pub mod front;
mod handle;
pub mod host;
pub mod http;
mod id;
pub mod inbox;
mod listener;
pub mod load;
pub mod op;
mod opened;
pub mod options;
mod outbox;
mod pace;
mod question;
mod run;
mod schedule;
mod secure;
mod server;
mod shard;
mod slots;
pub mod streams;
mod tally;
pub mod tls;
pub mod topics;
mod transport;
mod turn;
mod zone;

pub use active::Active;
pub use broadcast::Broadcast;
pub use compression::{Compression, Home};
pub use config::{Address, EngineConfig, Mode, ServerConfig};
pub use counters::ServerStats;
pub use dial::error::{DialError, Refused};
pub use dial::proxy::{Proxy, ProxyError, ProxyKind};
pub use dial::redirect::{MAX_REDIRECTS, RedirectError};
pub use dial::tls::{ClientTls, ClientTlsSettings, Pin, TlsFault};
pub use dial::url::{Host, Place, Url};
pub use dial::{Dial, MAX_BODY};
pub use engine::{Engine, StopReport};
pub use error::SendError;
pub use front::addresses::ConnectionRate;
pub use front::visitor::{Peer, TlsFacts, Visitor};
pub use host::Disconnected;
pub use id::ConnId;
pub use inbox::{Inbox, Notifier};
pub use load::{Load, Shards};
pub use op::Frames;
pub use options::ConnOptions;
pub use pace::MessageRate;
pub use question::{About, AcceptState, Acceptance, Answer, Question};
pub use server::Server;
pub use tally::Outcome;
pub use topics::SubscribeError;
