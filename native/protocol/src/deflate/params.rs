//! What can be wanted and agreed on.

use crate::config::Role;

/// The largest window, in bits: 32 KiB.
pub(crate) const MAX_BITS: u8 = 15;

/// The smallest window that can be compressed with.
pub(crate) const MIN_BITS: u8 = 9;

/// What both sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Params {
    /// The server's messages may refer to earlier ones.
    pub server_takeover: bool,
    /// The client's messages may refer to earlier ones.
    pub client_takeover: bool,
    /// How far back the server's messages may refer: 2 to this power bytes. 8 to 15.
    pub server_max_window_bits: u8,
    /// How far back the client's messages may refer: 2 to this power bytes. 8 to 15.
    pub client_max_window_bits: u8,
}

/// One direction of the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Direction {
    pub(crate) takeover: bool,
    pub(crate) window_bits: u8,
}

impl Params {
    fn of(&self, sender: Role) -> Direction {
        match sender {
            Role::Server => Direction {
                takeover: self.server_takeover,
                window_bits: self.server_max_window_bits,
            },
            Role::Client => Direction {
                takeover: self.client_takeover,
                window_bits: self.client_max_window_bits,
            },
        }
    }

    pub(crate) fn outgoing(&self, role: Role) -> Direction {
        self.of(role)
    }

    pub(crate) fn incoming(&self, role: Role) -> Direction {
        self.of(role.other())
    }
}

/// What one side wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// Whether the server keeps its window from message to message, if the client lets it: better compression for memory of
    /// its own in each connection. Default `false`.
    pub server_takeover: bool,
    /// Whether the client may keep its window: the same, for what the server has to remember. Default `false`.
    pub client_takeover: bool,
    /// At most 2 to this power bytes of window for the server: 9 to 15, default 15.
    pub server_max_window_bits: u8,
    /// At most 2 to this power bytes of window for the client: 9 to 15, default 15.
    pub client_max_window_bits: u8,
    /// How to compress.
    pub tuning: Tuning,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            server_takeover: false,
            client_takeover: false,
            server_max_window_bits: MAX_BITS,
            client_max_window_bits: MAX_BITS,
            tuning: Tuning::default(),
        }
    }
}

/// How to compress. The peer does not see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tuning {
    /// From 1, fast, to 9, small. Default 2.
    pub level: u8,
    /// Memory for a block, from 1, little, to 9. Default 5.
    pub mem_level: u8,
    /// Messages of fewer bytes are sent as they are. Default 64.
    pub threshold: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Tuning {
            level: 2,
            mem_level: 5,
            threshold: 64,
        }
    }
}
