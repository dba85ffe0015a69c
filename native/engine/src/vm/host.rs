//! Traits through which the engine calls the virtual machine.
//!
//! Every call comes from a shard's thread and must not block.

use std::sync::Arc;

use crate::model::counters::ServerStats;
use crate::model::id::ConnId;
use crate::net::fault::DialError;
use crate::vm::inbox::Inbox;
use crate::vm::question::Question;

/// How the connection of a client has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disconnected {
    /// The close code, as in the connection's last event.
    pub code: u16,
    /// The close reason.
    pub reason: Box<str>,
    /// Our side asked for it, with a close frame of its own accord.
    pub asked: bool,
}

/// Whether somebody has been asked for the owner of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerAsked {
    /// There is no need: [`ServerHost::owner`] knows.
    Known,
    /// [`crate::Engine::owner_is`] will tell.
    Asked,
    /// There is no room for the question. [`crate::Engine::ask_for_owners`] has it asked again.
    Full,
}

/// The process that started a server.
pub trait ServerHost: Send + Sync {
    /// The inbox of the plain process that gets a new connection in owner mode. None if there is no
    /// such process.
    fn owner(&self) -> Option<Arc<Inbox>>;
    /// The same for this connection, from one who has to ask for it.
    fn asks_for_owner(&self, _conn: ConnId) -> OwnerAsked {
        OwnerAsked::Known
    }
    /// Asks what only the virtual machine knows. The answer goes to [`crate::Server::answer`] with
    /// this token. False if nobody is there to ask, or has room for the question.
    fn ask(&self, _token: u64, _question: &Question<'_>) -> bool {
        false
    }
    /// The client of an answer in pieces has gone before its end: see [`crate::Server::open_stream`].
    fn stream_gone(&self, _token: u64) {}
    /// The server's port is free.
    fn unlistened(&self) {}
    /// The server's port is free and its connections are gone. Its counters say how that went.
    fn stopped(&self, stats: &ServerStats);
    /// Something that belongs into the log.
    fn event(&self, event: Notice);
    /// The last subscription of a topic has ended with its connection.
    fn topic_left(&self, _name: &[u8]) {}
    /// What became of [`crate::Engine::dial`].
    fn dialled(&self, _result: Result<ConnId, DialError>) {}
    /// The connection of a client is over, and its last event is with its receiver.
    fn disconnected(&self, _conn: ConnId, _end: Disconnected) {}
}

/// Something that belongs into the log.
#[derive(Debug)]
pub enum Notice {
    /// `accept` failed, with the operating system's words. At most one a minute.
    AcceptFailed(String),
    /// Sockets are refused since the number of their descriptor would be this or more, see
    /// [`crate::ServerConfig::max_descriptor`]. At most one a minute.
    NoDescriptor(usize),
    /// There was no process for a connection of [`crate::Mode::Owner`], which ends with 1011. At most one a minute.
    NoOwner(ConnId),
    /// A web server behind does not answer, and what it does instead. Once until it answers again, at most once a minute.
    UpstreamFailed {
        /// Where it listens.
        upstream: String,
        /// As in "it closed the connection".
        reason: String,
    },
    /// It answers again.
    UpstreamAnswers(String),
}
