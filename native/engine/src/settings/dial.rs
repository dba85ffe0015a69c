//! The target of a client, and how it connects.

use std::time::Duration;

use crate::net::client_tls::ClientTls;
use crate::net::proxy::Proxy;
use crate::net::url::Url;

/// What a client connects to, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Dial {
    /// Where.
    pub url: Url,
    /// Headers of the request, besides those of the handshake.
    pub headers: Vec<(String, String)>,
    /// The value of the header `Host`, instead of host and port of the URL. A redirect takes it to no other
    /// server.
    pub host: Option<String>,
    /// How TLS is spoken. Needed where the URL, or a redirect, leads to TLS.
    pub tls: Option<ClientTls>,
    /// A proxy on the way.
    pub proxy: Option<Proxy>,
    /// How many redirects are followed; beyond, they are errors. Default 0: they are refusals.
    pub redirects: u8,
    /// Time for all of it, from the look-up of the host to the answer.
    pub connect_timeout: Duration,
}

impl Dial {
    /// The defaults, for this URL.
    pub fn new(url: Url) -> Self {
        Dial {
            url,
            headers: Vec::new(),
            host: None,
            tls: None,
            proxy: None,
            redirects: 0,
            connect_timeout: Duration::from_secs(10),
        }
    }
}
