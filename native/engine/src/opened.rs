//! What every way in comes to: an accepted socket, a dialled URL, a stream of HTTP/2.

use crate::batch::OpenInfo;
use crate::options::ConnOptions;
use crate::transport::Transport;

/// A connection whose handshake is done, and the bytes that followed it.
pub(crate) struct Opened {
    pub(crate) transport: Transport,
    pub(crate) info: Box<OpenInfo>,
    /// What this connection has of its own.
    pub(crate) options: ConnOptions,
    pub(crate) rest: Vec<u8>,
}
