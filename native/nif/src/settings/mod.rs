//! Options out of the maps that Erlang has checked.

pub(crate) mod config;
pub(crate) mod deflate;
pub(crate) mod options;
pub(crate) mod tls;
