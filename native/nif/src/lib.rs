//! The seam between the engine and the Erlang VM: terms on one side, bytes on the other.
//!
//! Each folder uses those before it only; a test of the engine crate (`tests/layers.rs`) holds that.
//!
//! - [`atoms`], [`terms`]: raw terms, and on which thread they may be built.
//! - [`json`]: JSON text and terms.
//! - [`vm`]: messages, monitors, the one engine of a node.
//! - [`frames`]: what a term that stands for a frame says (`grammar`), and its bytes.
//! - [`server`]: the processes behind a server: its own, the owners of its connections (`vm_server`, `owner_inbox`) and who
//!   sends them their messages (`delivery_queue`), who is asked, who wakes; and what the engine has them told (`host`).
//! - [`settings`]: what can be set, out of maps that Erlang has checked.
//! - [`calls`]: the functions of `sockeye_nif`, and the codec for people who own the socket.
//! - [`library`]: how the VM loads all this, a second time as well.

mod atoms;
mod calls;
mod frames;
mod json;
mod library;
#[cfg(planted)]
mod planted;
mod server;
mod settings;
mod terms;
mod vm;
