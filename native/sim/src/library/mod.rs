//! Runs in which the VM has loaded the engine: processes call it directly.

mod config;
mod engine_client;
mod handler;
mod host;
mod other_server;
mod owner;
mod parent;
mod perform;
mod processes;
mod proxy;
mod questions;
mod random_calls;
pub(crate) mod run;
mod streamed;
mod tls;
