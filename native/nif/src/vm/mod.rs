//! What the library has to do with the VM, whichever server it is for: messages, monitors, the one engine of a node.

pub(crate) mod backlog;
pub(crate) mod memory;
pub(crate) mod monitor;
pub(crate) mod process;
pub(crate) mod reply;
pub(crate) mod running;
