//! Which clients of responses in pieces have left: each process is to hear of that once.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use sockeye_world::trace;

use crate::model::ledger::SharedLedger;

/// The tokens of responses in pieces, and whether the client of each has left.
#[derive(Default)]
pub(crate) struct LeftClients(Mutex<BTreeMap<u64, bool>>);

impl LeftClients {
    /// Whether the client of this token has left.
    pub(crate) fn has_left(&self, token: u64) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&token) == Some(&true)
    }

    /// A response in pieces begins.
    pub(crate) fn begin(&self, token: u64) {
        self.set(token, false);
    }

    fn set(&self, token: u64, has_left: bool) -> Option<bool> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(token, has_left)
    }

    /// The engine says that it has left.
    pub(crate) fn left(&self, ledger: &SharedLedger, token: u64) {
        trace::note(&[25], || {
            "the client of a response in pieces has left".into()
        });
        if self.set(token, true) != Some(false) {
            ledger.problem("a client has left twice, or before its response began".into());
        }
    }
}
