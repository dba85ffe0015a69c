//! Access: the rules of the server, client addresses from proxies, the question to the virtual machine.

pub(crate) mod ask;
pub(crate) mod forwarded;
pub(crate) mod gate;
pub(crate) mod lingering;
