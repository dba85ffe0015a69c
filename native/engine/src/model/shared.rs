//! Bytes that several queues share.

use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use sockeye_protocol::buffers;

/// A buffer of several owners. The last of them gives it back to those that are used again.
#[derive(Debug)]
pub(crate) struct Shared(Vec<u8>);

impl Shared {
    pub(crate) fn new(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Shared(bytes))
    }
}

impl Deref for Shared {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Shared {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        buffers::give(mem::take(&mut self.0));
    }
}
