//! Where and how outgoing messages of a connection are compressed.
//!
//! A connection that keeps no window takes bytes that anybody has compressed: the caller does that, on its own thread, and
//! once for all receivers of a broadcast. One that keeps its window is compressed for by its shard, in the order of its
//! messages.

use sockeye_protocol::Role;
use sockeye_protocol::deflate::Params;

/// How messages to one connection may be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// By whoever sends them, each for itself, with a window of so many bits.
    Shared(u8),
    /// By its shard only.
    Own,
}

/// The windows from 9 to 15 bits are 1 to 7.
const WINDOW_BASE: u8 = 8;
const OWN: u8 = 8;

impl Compression {
    pub(crate) fn of(params: Option<Params>, role: Role) -> Self {
        let (keeps_window, window) = match (params, role) {
            (None, _) => return Compression::None,
            (Some(params), Role::Server) => (params.server_takeover, params.server_max_window_bits),
            (Some(params), Role::Client) => (params.client_takeover, params.client_max_window_bits),
        };
        if keeps_window {
            Compression::Own
        } else {
            Compression::Shared(window)
        }
    }

    /// In four bits, for the slot table.
    pub(crate) fn to_bits(self) -> u8 {
        match self {
            Compression::None => 0,
            Compression::Shared(window) => window.saturating_sub(WINDOW_BASE).clamp(1, 7),
            Compression::Own => OWN,
        }
    }

    pub(crate) fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Compression::None,
            OWN => Compression::Own,
            window => Compression::Shared(WINDOW_BASE + window),
        }
    }
}

/// What is known of a connection by its id alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnLabel {
    /// The server's number.
    pub server: u32,
    /// The server's tag.
    pub tag: u8,
    /// How messages to it are compressed.
    pub compression: Compression,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_bits_hold_it() {
        for compression in [Compression::None, Compression::Own]
            .into_iter()
            .chain((9..=15).map(Compression::Shared))
        {
            let bits = compression.to_bits();
            assert!(bits < 16);
            assert_eq!(Compression::from_bits(bits), compression);
        }
    }
}
