//! Clients outside the VM, which speak to servers over the simulated network and follow the plan.

pub(crate) mod compression;
mod concurrent;
mod connector;
mod endpoint;
mod handshake;
mod http1;
mod http2;
mod requester;
mod socket;
pub(crate) mod start;
mod transport;
mod websocket;
