//! HTTP/2 of the clients. It is written by hand: a library would break no rules, and would hide what the server does with windows.

mod connection;
mod frames;
pub(super) mod pool;
mod shared;
mod state;
pub(super) mod stream;
