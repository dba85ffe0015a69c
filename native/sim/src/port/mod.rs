//! Runs in which the engine is a process of its own: its link, and a VM at the other end that speaks the protocol of the link.

mod delivery;
mod engine_client;
mod handler;
mod host;
mod incoming;
mod node;
mod other_server;
mod owner;
mod process;
mod questions;
mod random_calls;
mod react;
pub(crate) mod run;
mod scenario;
mod settings;
mod streamed;
mod terms;
mod writer;
