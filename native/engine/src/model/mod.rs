//! Plain data and arithmetic: no I/O, and nothing of servers or connections.

pub mod active;
pub mod backlog;
pub(crate) mod clock;
pub(crate) mod compression;
pub(crate) mod counters;
pub(crate) mod delivery_count;
pub(crate) mod error;
pub(crate) mod give_back;
pub(crate) mod id;
pub(crate) mod lock;
pub(crate) mod log_interval;
pub(crate) mod pace;
pub mod pieces;
pub(crate) mod refused;
pub(crate) mod timers;
pub(crate) mod trace;
pub(crate) mod traffic;
