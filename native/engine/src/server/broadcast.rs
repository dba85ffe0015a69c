//! A frame for many connections, encoded and compressed once for all of them.

use std::sync::Arc;

use sockeye_protocol::deflate::Codecs;
use sockeye_protocol::frame;

use crate::model::compression::Compression;
use crate::server::Server;
use crate::world::sync::atomic::Ordering;

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
    pub fn plain(mut frame: Vec<u8>) -> Self {
        // A queue that waits would take its bytes out of a buffer that is much larger.
        frame.shrink_to_fit();
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

    /// What those get who do not compress.
    pub(crate) fn plain_form(&self) -> &[u8] {
        &self.plain
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_no_more_memory_than_it_needs() {
        let mut frame = Vec::with_capacity(512);
        frame.extend_from_slice(&[0; 200]);
        assert_eq!(Broadcast::plain(frame).plain.capacity(), 200);
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
