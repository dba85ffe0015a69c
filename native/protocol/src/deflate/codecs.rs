//! The contexts of a thread.

use std::fmt;

use super::compress::Deflater;
use super::inflate::Inflater;
use super::params::Tuning;
use super::short::{SHORT, ShortCompressor};
use crate::error::Violation;
use crate::frame;

/// What a buffer may keep from message to message.
const KEEP: usize = 64 * 1024;

/// Settings for which a compressor is kept.
const KINDS: usize = 4;

/// Contexts to compress and inflate with, made when they are first used: 47 KiB to inflate, 140 to 500 KiB for each setting
/// to compress with, and up to 64 KiB for the bytes themselves. One for each thread is enough: nothing stays in it of one
/// message that another could see.
#[derive(Default)]
pub struct Codecs {
    inflater: Option<Box<Inflater>>,
    short: Option<Box<ShortCompressor>>,
    compressors: Vec<(Key, Box<Deflater>)>,
    pub(crate) buffer: Vec<u8>,
}

/// Level, memory level, window.
type Key = (u8, u8, u8);

impl Codecs {
    /// Compresses the payload of the frame that begins at `start` of `out` and is its last: a whole, unmasked text or
    /// binary message of a server. True if the frame is compressed now; otherwise it is as it was: too small for the
    /// threshold, not smaller, or nothing that can be compressed.
    ///
    /// For connections without context takeover: the same bytes are good for all of them whose window is not smaller.
    pub fn compress_frame(
        &mut self,
        out: &mut Vec<u8>,
        start: usize,
        tuning: &Tuning,
        window_bits: u8,
    ) -> bool {
        let Some((op, payload)) = frame::plain_message(out.get(start..).unwrap_or_default()) else {
            return false;
        };
        if payload.len() < tuning.threshold.max(1) {
            return false;
        }
        let compressed = self.compress(payload, tuning, window_bits);
        if let Some(len) = compressed {
            out.truncate(start);
            frame::write_compressed(out, op, self.bytes(len), None);
        }
        self.trim();
        compressed.is_some()
    }

    /// Compresses a message that refers to no other: see [`Deflater::fresh`].
    pub(crate) fn compress(&mut self, payload: &[u8], tuning: &Tuning, bits: u8) -> Option<usize> {
        if payload.len() <= SHORT {
            return self
                .short
                .get_or_insert_default()
                .compress(payload, tuning, &mut self.buffer);
        }
        let key = (tuning.level, tuning.mem_level, bits);
        let place = match self.compressors.iter().position(|(k, _)| *k == key) {
            Some(place) => place,
            None => {
                if self.compressors.len() == KINDS {
                    self.compressors.remove(0);
                }
                let new = Box::new(Deflater::new(tuning, bits));
                self.compressors.push((key, new));
                self.compressors.len() - 1
            }
        };
        let (_, compressor) = self.compressors.get_mut(place)?;
        compressor.fresh(payload, &mut self.buffer)
    }

    pub(crate) fn inflate(&mut self, payload: &[u8], limit: usize) -> Result<usize, Violation> {
        let inflater = self
            .inflater
            .get_or_insert_with(|| Box::new(Inflater::new()));
        inflater.fresh(payload, limit, &mut self.buffer)
    }

    /// What was written last.
    pub(crate) fn bytes(&self, len: usize) -> &[u8] {
        self.buffer.get(..len).unwrap_or_default()
    }

    /// Whether the buffer is larger than what is kept.
    pub(crate) fn is_swollen(&self) -> bool {
        self.buffer.len() > KEEP
    }

    /// Gives a large buffer back to the allocator.
    pub(crate) fn trim(&mut self) {
        if self.is_swollen() {
            self.buffer = Vec::new();
        }
    }
}

impl fmt::Debug for Codecs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codecs")
            .field("inflater", &self.inflater.is_some())
            .field("compressors", &self.compressors.len())
            .field("buffer", &self.buffer.len())
            .finish()
    }
}

/// The contexts of one connection, where the peer agreed to them.
#[derive(Default)]
pub(crate) struct Windows {
    pub(crate) inflater: Option<Inflater>,
    pub(crate) compressor: Option<Deflater>,
}

impl fmt::Debug for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Windows")
            .field("inflater", &self.inflater.is_some())
            .field("compressor", &self.compressor.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Opcode, write};

    /// A frame of this payload, compressed if it can be, by these contexts.
    fn compress(codecs: &mut Codecs, payload: &[u8], tuning: &Tuning) -> bool {
        let mut frame = Vec::new();
        write(&mut frame, Opcode::Binary, payload, None);
        codecs.compress_frame(&mut frame, 0, tuning, 15)
    }

    /// Bytes that cannot be made smaller.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let next = std::iter::from_fn(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            Some((state >> 32) as u8)
        });
        next.take(len).collect()
    }

    #[test]
    #[cfg_attr(miri, ignore = "to compress 400 KB takes a quarter of an hour there")]
    fn a_large_message_leaves_no_large_buffer() {
        let tuning = Tuning {
            threshold: 0,
            ..Tuning::default()
        };
        for (payload, smaller) in [(vec![b'a'; 200_000], true), (noise(200_000), false)] {
            let mut codecs = Codecs::default();
            assert_eq!(compress(&mut codecs, &payload, &tuning), smaller);
            assert_eq!(codecs.buffer.capacity(), 0, "{smaller}");
        }
    }

    #[test]
    fn kept_capacity_of_a_buffer() {
        for (len, kept) in [(KEEP - 1, true), (KEEP, true), (KEEP + 1, false)] {
            let mut codecs = Codecs {
                buffer: vec![0; len],
                ..Codecs::default()
            };
            assert_eq!(codecs.is_swollen(), !kept);
            codecs.trim();
            assert_eq!(codecs.buffer.len(), if kept { len } else { 0 });
        }
        assert_eq!(KEEP, 65_536);
    }

    #[test]
    fn as_many_compressors_as_are_kept() {
        let mut codecs = Codecs::default();
        for (level, count) in [
            (1, 1),
            (1, 1),
            (2, 2),
            (3, 3),
            (4, 4),
            (5, 4),
            (2, 4),
            (1, 4),
        ] {
            let tuning = Tuning {
                level,
                threshold: 0,
                ..Tuning::default()
            };
            assert!(compress(&mut codecs, &[b'a'; 1000], &tuning));
            assert_eq!(codecs.compressors.len(), count);
        }
        // The one that was made first went: 1 for 5, and 2 for 1.
        let levels: Vec<u8> = codecs
            .compressors
            .iter()
            .map(|((level, ..), _)| *level)
            .collect();
        assert_eq!(levels, [3, 4, 5, 1]);
    }

    #[test]
    fn debug_output_has_what_there_is_and_no_bytes() {
        let mut codecs = Codecs::default();
        let tuning = Tuning {
            threshold: 0,
            ..Tuning::default()
        };
        assert!(compress(&mut codecs, &[b'a'; 1000], &tuning));
        let text = format!("{codecs:?}");
        assert!(
            text.starts_with("Codecs { inflater: false, compressors: 1, buffer: "),
            "{text}"
        );
        let windows = format!("{:?}", Windows::default());
        assert_eq!(windows, "Windows { inflater: false, compressor: false }");
    }
}
