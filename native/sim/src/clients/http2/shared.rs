//! What the connections of a pool have in common.

use std::cell::Cell;

use crate::model::ledger::SharedLedger;
use crate::plan::http2::Http2Plan;

pub(super) struct Shared {
    /// The number of the pool.
    pub(super) number: usize,
    pub(super) plan: Http2Plan,
    pub(super) fair: bool,
    pub(super) ledger: SharedLedger,
    /// The records of its WebSockets.
    pub(super) places: Vec<usize>,
    /// Clients that have a stream, or will open one.
    pub(super) users: Cell<usize>,
}
