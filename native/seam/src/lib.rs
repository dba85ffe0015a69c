//! What is said between the engine and the VM: options, commands, events. Each is said here once, for two hosts: the NIF, whose
//! terms the VM makes, and the engine in a process of its own, whose terms are bytes.
//!
//! - [`atoms`], [`value`]: names, and a term as a tree, for what is rare.
//! - [`settings`]: what can be set, out of maps that Erlang has checked.
//! - [`write`], [`events`], [`dialled`]: terms that leave, with what the engine tells in them.
//! - [`topic_changes`]: of topics, for who watches them.
//! - [`read`], [`frames`], [`calls`]: terms that come, and what is to be done for them.
//! - [`allocator`], [`dense`]: what both hosts ask of the C library, and what they do not leave to it.

#![deny(clippy::indexing_slicing, clippy::string_slice)]

pub mod allocator;
pub mod atoms;
pub mod calls;
pub mod dense;
pub mod dialled;
mod encode;
mod errno;
mod etf_reader;
mod etf_term;
pub mod events;
pub mod frames;
pub mod read;
pub mod settings;
mod short;
pub mod topic_changes;
pub mod value;
pub mod write;

pub use atoms::Atom;
pub use encode::encode;
pub use errno::{errno, errno_of};
pub use etf_reader::EtfReader;
pub use etf_term::EtfTerm;
pub use read::Reader;
pub use value::{BadArg, Read, Value};
pub use write::{Etf, EventWriter, KeptEtf, Writer};
