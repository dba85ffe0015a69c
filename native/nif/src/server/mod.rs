//! A server on the side of the VM: its processes, and the messages to them.

pub(crate) mod delivery_queue;
pub(crate) mod host;
pub(crate) mod invalid_conns;
pub(crate) mod owner_inbox;
pub(crate) mod queue;
pub(crate) mod registry;
pub(crate) mod relay;
pub(crate) mod vm_server;

/// Of [`queue`], which is loom's in `native/loom`.
use std::sync;
