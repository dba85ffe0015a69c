//! The network: sockets and the layers above them, TLS of both roles, URLs, names, outgoing proxies.

pub(crate) mod basic;
pub(crate) mod client_tls;
pub(crate) mod fault;
pub(crate) mod lookups;
pub(crate) mod peer;
pub(crate) mod proxy;
pub(crate) mod redirect;
pub(crate) mod rejection;
pub(crate) mod resolve;
pub(crate) mod secure;
pub mod tls;
pub(crate) mod tls_accept;
pub(crate) mod transport;
pub(crate) mod upstream;
pub(crate) mod url;
pub(crate) mod zone;
