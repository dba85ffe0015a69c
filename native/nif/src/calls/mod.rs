//! The calls of `sockeye_nif`.

pub(crate) mod adopt;
pub(crate) mod client;
pub(crate) mod codec;
pub(crate) mod commands;
pub(crate) mod control;
pub(crate) mod delivery;
pub(crate) mod fanout;
pub(crate) mod gate;
pub(crate) mod inbound;
pub(crate) mod json;
pub(crate) mod paths;
pub(crate) mod send;
pub(crate) mod topics;
