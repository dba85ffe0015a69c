//! Why there is no connection.

use std::io;

use super::proxy::ProxyError;
use super::redirect::RedirectError;
use super::tls::TlsFault;
use sockeye_protocol::handshake::{HandshakeError, Headers};

/// What a server, or a proxy, answered instead of what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The HTTP status.
    pub status: u16,
    /// The headers of the answer.
    pub headers: Headers,
    /// The beginning of its body, [`super::MAX_BODY`] bytes at most.
    pub body: Vec<u8>,
}

/// Why a client is not connected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DialError {
    /// It took longer than `connect_timeout`.
    Timeout,
    /// The host has no address.
    NoHost,
    /// The operating system could not connect.
    Io(io::ErrorKind, Option<i32>),
    /// The other end hung up before the handshake was complete.
    Closed,
    /// TLS was not agreed on; the text says more.
    Tls(TlsFault, String),
    /// The proxy did not let us through.
    Proxy(ProxyError),
    /// The proxy answered with a status.
    ProxyRefused(Box<Refused>),
    /// The server answered something else than 101.
    Refused(Box<Refused>),
    /// The server answered what a server must not, or the request can not be written.
    Handshake(HandshakeError),
    /// A redirect that must not be followed.
    Redirect(RedirectError),
    /// The client is stopped.
    Stopped,
}

impl From<io::Error> for DialError {
    fn from(e: io::Error) -> Self {
        let tls = e.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
        if let Some(tls) = tls {
            return super::tls::fault(tls);
        }
        match e.kind() {
            io::ErrorKind::UnexpectedEof => DialError::Closed,
            kind => DialError::Io(kind, e.raw_os_error()),
        }
    }
}
