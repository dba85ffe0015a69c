//! How what goes out to a connection is compressed, and where.
//!
//! A connection that keeps no window takes bytes that anybody has compressed: the caller does that, on its own thread, and
//! once for all receivers of a broadcast. One that keeps its window is compressed for by its shard, in the order of its
//! messages.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sockeye_protocol::Role;
use sockeye_protocol::deflate::{Codecs, Params, Tuning};
use sockeye_protocol::frame;

use crate::server::{Server, bump};

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
pub struct Home {
    /// The server's number.
    pub server: u32,
    /// The server's tag.
    pub tag: u8,
    /// How messages to it are compressed.
    pub compression: Compression,
}

/// A frame for many connections: one buffer for all of them, or two.
#[derive(Clone, Debug)]
pub struct Broadcast {
    plain: Arc<Vec<u8>>,
    compressed: Option<Arc<Vec<u8>>>,
    /// The window that it was compressed with.
    window: u8,
    /// Connections that keep a window may compress it.
    compress: bool,
}

impl Broadcast {
    /// A whole frame that nobody gets compressed.
    pub fn plain(frame: Vec<u8>) -> Self {
        Broadcast {
            plain: Arc::new(frame),
            compressed: None,
            window: 0,
            compress: false,
        }
    }

    /// A whole frame that those get compressed who have agreed to that.
    pub fn new(server: &Server, frame: Vec<u8>, codecs: &mut Codecs) -> Self {
        let mut broadcast = Self::plain(frame);
        let Some(policy) = &server.config.deflate else {
            return broadcast;
        };
        broadcast.compress = true;
        broadcast.window = policy.server_max_window_bits;
        if server.counters.sharing.load(Ordering::Relaxed) > 0 {
            let mut copy = broadcast.plain.to_vec();
            if codecs.compress_frame(&mut copy, 0, &policy.tuning, broadcast.window) {
                copy.shrink_to_fit();
                broadcast.compressed = Some(Arc::new(copy));
            }
        }
        broadcast
    }

    /// The bytes of all its forms.
    pub(crate) fn len(&self) -> usize {
        self.plain.len() + self.compressed.as_ref().map_or(0, |frame| frame.len())
    }

    /// Parts of a queue are counted in 32 bits.
    pub(crate) fn is_too_long(&self) -> bool {
        u32::try_from(self.plain.len()).is_err()
    }

    /// Bytes of the payload.
    fn payload(&self) -> usize {
        self.plain.len() - frame::head_len(self.plain.len(), false).min(self.plain.len())
    }

    /// Whether connections that keep a window may compress it.
    pub(crate) fn compresses(&self) -> bool {
        self.compress
    }

    /// Bytes that one of its forms is smaller by.
    pub(crate) fn saved_by(&self, form: &[u8]) -> usize {
        self.plain.len().saturating_sub(form.len())
    }

    /// What a connection gets.
    pub(crate) fn form(&self, compression: Compression) -> &Arc<Vec<u8>> {
        match (compression, &self.compressed) {
            // What fits into a window is good for it, whichever window it was compressed with.
            (Compression::Shared(window), Some(compressed))
                if window >= self.window || self.payload() <= 1 << window =>
            {
                compressed
            }
            _ => &self.plain,
        }
    }
}

impl Server {
    /// How to compress, where that was agreed on.
    pub fn tuning(&self) -> Tuning {
        let policy = self.config.deflate;
        policy.map(|policy| policy.tuning).unwrap_or_default()
    }

    /// Counts bytes that compression has saved.
    pub fn saved(&self, bytes: usize) {
        bump(&self.counters.saved, bytes as u64);
    }
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

    #[test]
    fn a_small_window_gets_what_fits_into_it() {
        for (len, window, good) in [
            (512, 9, true),
            (513, 9, false),
            (513, 10, true),
            (100_000, 14, false),
            (100_000, 15, true),
        ] {
            let mut broadcast = Broadcast::plain(vec![0; len + frame::head_len(len, false)]);
            broadcast.compressed = Some(Arc::new(Vec::new()));
            broadcast.window = 15;
            let form = broadcast.form(Compression::Shared(window));
            assert_eq!(form.is_empty(), good, "{len} {window}");
            for other in [Compression::None, Compression::Own] {
                assert!(broadcast.form(other).len() > len);
            }
        }
    }
}
