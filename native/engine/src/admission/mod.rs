//! Who is let in: the rules of the server, what proxies say of their clients, the question to the virtual machine.

pub(crate) mod ask;
pub(crate) mod forwarded;
pub(crate) mod gate;
pub(crate) mod lingering;
