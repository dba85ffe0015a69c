//! Carries out calls of the VM: frames on their way to the shards.

mod commands;
mod facts;
mod fanout;
mod pairs;
mod send;

pub use commands::{CommandsOutcome, Failed, Gathered, Stop, commands};
pub use facts::{conn_map, dropped, engine_map, rows, server_map, stopped};
pub use fanout::{
    Encoded, FanoutTarget, Recipients, Sent, encode_for, recipients, send_list, spread,
};
pub use pairs::{Refused, Shape, pairs, push_head};
pub use send::{gather_taken, send};
