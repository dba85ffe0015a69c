//! The protocol from outside, by concern.

#![allow(clippy::unwrap_used, clippy::panic)]

mod closing;
mod ended;
mod handshake;
mod limits;
mod properties;
mod support;
mod violations;
