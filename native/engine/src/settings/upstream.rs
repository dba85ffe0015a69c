//! An upstream web server, and how requests are passed to it.

use crate::world::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use crate::model::log_interval::Trouble;
use crate::net::url::{Destination, Url, host_and_port};

/// A web server behind this one, and how requests are passed on to it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Upstream {
    /// Where it listens.
    pub destination: Destination,
    /// Time to connect to it. Default 5 seconds.
    pub connect_timeout: Duration,
    /// Time for the head of its answer, from the last byte of the request. Default 60 seconds.
    pub timeout: Duration,
    /// The longest pause in the content of a request or an answer, and in a WebSocket. Default 60 seconds.
    pub idle_timeout: Duration,
    /// How long a connection that has nothing to do is kept. Default 4 seconds.
    pub keepalive: Duration,
    /// Connections of each shard that are kept while they have nothing to do. Default 32.
    pub pool_size: usize,
    /// Requests that are passed on at once; 503 beyond. Default 1,024.
    pub max_requests: usize,
    /// Bytes of the body of a request; 413 beyond. Default: as many as there are.
    pub max_body_size: u64,
    busy: AtomicUsize,
    /// What the log was told of it.
    pub(crate) trouble: Trouble,
}

impl Upstream {
    /// The defaults, for `host`, `host:port` or `[ip]:port`.
    ///
    /// # Errors
    /// It is none of these.
    pub fn inet(authority: &str) -> Result<Self, &'static str> {
        let (host, port) = host_and_port(authority)?;
        Ok(Upstream::new(Destination::Inet(host, port.unwrap_or(80))))
    }

    /// The defaults, for a Unix socket: a path, or a zero byte and an abstract name.
    pub fn unix(name: &[u8]) -> Self {
        Upstream::new(Destination::Unix(name.into()))
    }

    fn new(destination: Destination) -> Self {
        Upstream {
            destination,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            keepalive: Duration::from_secs(4),
            pool_size: 32,
            max_requests: 1024,
            max_body_size: u64::MAX,
            busy: AtomicUsize::new(0),
            trouble: Trouble::default(),
        }
    }

    /// The `Host` of a request that came without one.
    pub(crate) fn authority(&self) -> String {
        let url = Url {
            tls: false,
            destination: self.destination.clone(),
            target: String::new(),
            credentials: None,
        };
        url.authority()
    }

    /// Where it is, for the log.
    pub(crate) fn place(&self) -> String {
        match &self.destination {
            Destination::Inet(host, port) => format!("{host}:{port}"),
            Destination::Unix(name) => match name.strip_prefix(b"\0") {
                Some(name) => format!("the abstract socket {}", String::from_utf8_lossy(name)),
                None => format!("the Unix socket {}", String::from_utf8_lossy(name)),
            },
        }
    }

    /// Room for one more request, if there is some.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Passing> {
        let before = self.busy.fetch_add(1, Ordering::SeqCst);
        let passing = Passing(self.clone());
        (before < self.max_requests).then_some(passing)
    }
}

/// A request that is passed on. Dropped, it makes room for another.
pub(crate) struct Passing(Arc<Upstream>);

impl Drop for Passing {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_requests_and_no_more() {
        let mut upstream = Upstream::unix(b"/x");
        upstream.max_requests = 2;
        let upstream = Arc::new(upstream);
        let first = upstream.enter();
        let second = upstream.enter();
        assert!(first.is_some() && second.is_some() && upstream.enter().is_none());
        drop(first);
        let third = upstream.enter();
        assert!(third.is_some() && upstream.enter().is_none());
    }

    #[test]
    fn its_place_has_the_port_or_the_path() {
        let inet = |text| Upstream::inet(text).map(|upstream| upstream.place());
        assert_eq!(inet("a"), Ok("a:80".into()));
        assert_eq!(inet("[::1]:4000"), Ok("[::1]:4000".into()));
        assert_eq!(Upstream::unix(b"/a b").place(), "the Unix socket /a b");
        assert_eq!(Upstream::unix(b"\0a").place(), "the abstract socket a");
    }

    #[test]
    fn the_authority_leaves_out_the_port_of_http() {
        let authority = |text| Upstream::inet(text).map(|upstream| upstream.authority());
        assert_eq!(authority("a"), Ok("a".into()));
        assert_eq!(authority("a:80"), Ok("a".into()));
        assert_eq!(authority("[::1]:4000"), Ok("[::1]:4000".into()));
        assert!(authority("a:0").is_err());
    }
}
