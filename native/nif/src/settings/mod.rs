//! Options out of the maps that Erlang has checked.

pub(crate) mod config;
pub(crate) mod tls;
pub(crate) mod tree;
