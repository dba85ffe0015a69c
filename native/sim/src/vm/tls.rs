//! The certificate of all servers, and what keeps sessions of two runs apart.

use std::sync::atomic::{AtomicU64, Ordering};

/// A certificate and a key of Ed25519, for nobody.
pub(crate) const PEM: &str = include_str!("tls.pem");

/// Another one each time, of the same length: it goes over links, whose bytes are counted.
pub(crate) fn unlike_others() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{:020}", COUNT.fetch_add(1, Ordering::Relaxed))
}
