//! Who we are and how much we take.

use crate::opcode::Opcode;

/// Which end of the connection a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Incoming frames must be masked, outgoing frames are not.
    Server,
    /// Incoming frames must not be masked, outgoing frames are.
    Client,
}

impl Role {
    /// The peer's role.
    pub fn other(self) -> Role {
        match self {
            Role::Server => Role::Client,
            Role::Client => Role::Server,
        }
    }

    /// The mask of the next outgoing frame: `None` for a server, four unpredictable bytes for a client.
    pub fn mask(self) -> Option<[u8; 4]> {
        match self {
            Role::Server => None,
            Role::Client => Some(rand::random()),
        }
    }
}

/// What a message holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Valid UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

impl Kind {
    /// The opcode of the first frame of such a message.
    pub fn op(self) -> Opcode {
        match self {
            Kind::Text => Opcode::Text,
            Kind::Binary => Opcode::Binary,
        }
    }
}

impl From<Kind> for Opcode {
    fn from(kind: Kind) -> Opcode {
        kind.op()
    }
}

/// Bounds on what a peer may send. A peer that goes beyond one is closed with the code given here, and the decision is
/// made from the frame header, before the payload arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of one message, all fragments together. Default 1 MiB. Beyond: close code 1009.
    pub max_message_size: usize,
    /// Bytes of the payload of one frame. Default: no bound but `max_message_size`. Beyond: 1009.
    pub max_frame_size: usize,
    /// Frames of one message. Default 1024. Beyond: 1008.
    pub max_fragments: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_message_size: 1 << 20,
            max_frame_size: usize::MAX,
            max_fragments: 1024,
        }
    }
}

impl Limits {
    /// Sets the bound on a message, in bytes.
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.max_message_size = bytes;
        self
    }

    /// Sets the bound on the payload of a frame, in bytes.
    pub fn max_frame_size(mut self, bytes: usize) -> Self {
        self.max_frame_size = bytes;
        self
    }

    /// Sets the bound on the number of frames of a message.
    pub fn max_fragments(mut self, count: u32) -> Self {
        self.max_fragments = count;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_masks_each_frame_in_another_way() {
        assert_eq!(Role::Server.mask(), None);
        let masks: Vec<_> = (0..8).map(|_| Role::Client.mask()).collect();
        assert!(masks.iter().all(Option::is_some));
        assert!(masks.iter().any(|mask| *mask != masks[0]));
    }

    #[test]
    fn each_limit_is_set_by_itself() {
        let limits = Limits::default()
            .max_message_size(1)
            .max_frame_size(2)
            .max_fragments(3);
        let found = (
            limits.max_message_size,
            limits.max_frame_size,
            limits.max_fragments,
        );
        assert_eq!(found, (1, 2, 3));
    }
}
