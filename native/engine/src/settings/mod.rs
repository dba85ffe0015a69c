//! Options of the engine, of servers, clients and connections.

pub(crate) mod config;
pub(crate) mod dial;
pub mod options;
pub(crate) mod rates;
pub(crate) mod routes;
pub(crate) mod upstream;
