//! The two ends of a connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// An address and a port.
    Inet(IpAddr, u16),
    /// The name of a Unix socket: a path, a zero byte and an abstract name, or nothing.
    Unix(Arc<[u8]>),
}

impl Peer {
    /// The address. A Unix socket has none.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Peer::Inet(ip, _) => Some(*ip),
            Peer::Unix(_) => None,
        }
    }
}

/// Who had a connection, in one piece: the address, then the path that was asked for.
///
/// A byte says of what kind the address is: 4 and 6 stand before an IP address and its port; 0 before the length of a name, in
/// two bytes, and the name.
pub(crate) fn packed(peer: &Peer, path: &str) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(32 + path.len());
    match peer {
        Peer::Inet(ip, port) => {
            match ip {
                IpAddr::V4(v4) => {
                    bytes.push(4);
                    bytes.extend(v4.octets());
                }
                IpAddr::V6(v6) => {
                    bytes.push(6);
                    bytes.extend(v6.octets());
                }
            }
            bytes.extend(port.to_be_bytes());
        }
        Peer::Unix(name) => {
            bytes.push(0);
            // The system has room for about a hundred.
            let name = name.get(..u16::MAX.into()).unwrap_or(name);
            bytes.extend((name.len() as u16).to_be_bytes());
            bytes.extend_from_slice(name);
        }
    }
    bytes.extend_from_slice(path.as_bytes());
    bytes.into()
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        // A socket of `::` shows IPv4 clients in a form that no rule about addresses expects.
        Peer::Inet(address.ip().to_canonical(), address.port())
    }
}

#[cfg(unix)]
impl From<tokio::net::unix::SocketAddr> for Peer {
    fn from(address: tokio::net::unix::SocketAddr) -> Self {
        use std::os::unix::ffi::OsStrExt;
        if let Some(path) = address.as_pathname() {
            return Peer::Unix(path.as_os_str().as_bytes().into());
        }
        match address.as_abstract_name() {
            Some(name) => Peer::Unix([&[0], name].concat().into()),
            None => Peer::Unix([].into()),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Inet(ip, port) => SocketAddr::new(*ip, *port).fmt(f),
            Peer::Unix(name) => write!(f, "unix:{}", String::from_utf8_lossy(name)),
        }
    }
}

/// What a TLS handshake agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// The protocol version, 1.2 or 1.3.
    pub version: (u8, u8),
    /// The cipher suite's name in the registry.
    pub cipher: Box<str>,
    /// The host that the client asked for.
    pub sni: Option<Box<str>>,
    /// The protocol of the application.
    pub alpn: Option<Box<[u8]>>,
    /// The certificate of the client, as DER.
    pub peer_cert: Option<Box<[u8]>>,
}

/// What is known of a connection before its first request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// The other end.
    pub peer: Peer,
    /// Our end.
    pub local: Peer,
    /// None without TLS.
    pub tls: Option<Arc<TlsFacts>>,
    /// Of the request that opened the connection: 1.1 or 2.0.
    pub http_version: (u8, u8),
}

impl PeerInfo {
    /// One who came to `local` from `peer`.
    pub fn new(peer: Peer, local: Peer) -> Self {
        PeerInfo {
            peer,
            local,
            tls: None,
            http_version: (1, 1),
        }
    }
}
