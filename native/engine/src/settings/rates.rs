//! The rate at which one address may open connections.

/// A token bucket: so many at once, and so many a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionRate {
    /// Tokens that come back each second.
    pub per_second: u32,
    /// Tokens that a full bucket holds.
    pub burst: u32,
}
