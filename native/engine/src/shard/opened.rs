//! A connection whose handshake is done: from an accepted socket, a dialled URL or a stream of HTTP/2.

use crate::net::transport::Transport;
use crate::server::Permit;
use crate::settings::options::ConnOptions;
use crate::vm::batch::OpenInfo;

/// A connection whose handshake is done, and the bytes that followed it.
pub(crate) struct Opened {
    pub(crate) transport: Transport,
    pub(crate) info: Box<OpenInfo>,
    /// What this connection has of its own.
    pub(crate) options: ConnOptions,
    pub(crate) rest: Vec<u8>,
    /// Where the connection belongs to another server than the socket.
    pub(crate) permit: Option<Permit>,
}
