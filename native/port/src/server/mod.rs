//! The servers of the VM, and the state that calls act on.

pub(crate) mod context;
pub(crate) mod host;
pub(crate) mod port;
pub(crate) mod server_host;
