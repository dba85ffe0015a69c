//! What the engine asks of the virtual machine around it.
//!
//! Every call comes from a shard's thread, but for [`Owner::deliver`] with much text, and must not
//! block.

use std::sync::Arc;

use crate::batch::Batch;
use crate::dial::error::DialError;
use crate::dialling::Parted;
use crate::front::ask::Question;
use crate::id::ConnId;
use crate::server::ServerStats;

/// The process behind an [`crate::Inbox`].
pub trait Bell: Send + Sync {
    /// Tells the process that its inbox has events. False if the process is dead.
    fn ring(&self) -> bool;
}

/// A process that gets every event as a message.
pub trait Owner: Send + Sync {
    /// Sends the events, in order. One call at a time for each shard.
    ///
    /// If [`Owner::parses_text`] says so, batches with more than [`crate::offload::INLINE_TEXT`]
    /// bytes of text come from a thread beside the shard.
    fn deliver(&self, batch: &Batch) -> Delivery;
    /// Whether text takes more time than copying it does. Default: no.
    fn parses_text(&self) -> bool {
        false
    }
    /// Equal for the same process of the same server, and for nothing else.
    fn key(&self) -> u64;
}

/// What came of [`Owner::deliver`].
#[derive(Debug, Default)]
pub struct Delivery {
    /// The process is dead.
    pub dead: bool,
    /// Connections whose text was not what the server promises, with the reason: they close
    /// with 1007.
    pub invalid: Vec<(crate::ConnId, Box<str>)>,
}

/// The process that started a server.
pub trait ServerHost: Send + Sync {
    /// The receiver of a new connection in owner mode. None if there is no such process.
    fn owner(&self) -> Option<Arc<dyn Owner>>;
    /// Asks what only the virtual machine knows. The answer goes to [`crate::Server::answer`] with
    /// this token. False if nobody is there to ask.
    fn ask(&self, _token: u64, _question: &Question<'_>) -> bool {
        false
    }
    /// The server's port is free.
    fn unlistened(&self) {}
    /// The server's port is free and its connections are gone. Its counters say how that went.
    fn stopped(&self, stats: &ServerStats);
    /// Something that belongs into the log.
    fn event(&self, event: Notice);
    /// Bytes of memory that the engine holds, if somebody counts them.
    fn memory(&self) -> Option<u64> {
        None
    }
    /// The last subscription of a topic has ended with its connection.
    fn topic_left(&self, _name: &[u8]) {}
    /// What became of [`crate::Engine::dial`].
    fn dialled(&self, _result: Result<ConnId, DialError>) {}
    /// The connection of a client is over, and its last event is with its receiver.
    fn parted(&self, _conn: ConnId, _end: Parted) {}
}

/// Something that belongs into the log.
#[derive(Debug)]
pub enum Notice {
    /// `accept` failed, with the operating system's words. At most one a minute.
    AcceptFailed(String),
    /// Sockets are refused since the number of their descriptor would be this or more, see
    /// [`crate::ServerConfig::max_descriptor`]. At most one a minute.
    NoDescriptor(usize),
}
