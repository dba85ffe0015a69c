//! The executable over its socket, with no VM: the tests play the VM's side.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub
)]

mod asking;
mod batches;
mod calls;
mod client;
mod dialling;
mod ends;
mod grants;
mod links;
mod options;
mod sections;
mod serving;
mod terms;
mod vm;
