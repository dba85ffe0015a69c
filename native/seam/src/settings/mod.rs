//! Options, out of the maps that Erlang has checked.

mod client;
mod config;
mod decision;
mod ends;
mod json;
mod options;
mod tls;

pub use client::{client_tls, dial};
pub use config::{EventFormat, Owner, Settings, active, deflate_policy, time};
pub use decision::{decision, stream_end, stream_head};
pub use ends::ends;
pub use json::{AtomNumbers, JsonOptions, KeyMode, encode_null, null};
pub use options::set_option;
pub use tls::{read_tls, tls_settings};

/// Set in the tag of a client, whose frames are masked. The engine keeps four bits.
pub const CLIENT_TAG: u8 = 0x08;
