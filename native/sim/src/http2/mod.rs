//! Clients that speak HTTP/2, by hand: a library would not break rules, and would hide what the server does with windows.

mod carrier;
mod frames;
pub(crate) mod plan;
mod pool;
mod state;
mod stream;

pub(crate) use pool::Pool;
pub(crate) use stream::Stream;
