//! One message compressed.

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush};

use super::bound;
use super::params::{MAX_BITS, MIN_BITS, Tuning};

/// The end of every flushed stream, which does not travel.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

pub(crate) struct Deflater {
    inner: Deflate,
    used: bool,
}

impl Deflater {
    pub(crate) fn new(tuning: &Tuning, window_bits: u8) -> Self {
        let config = DeflateConfig {
            level: i32::from(tuning.level.clamp(1, 9)),
            window_bits: -i32::from(window_bits.clamp(MIN_BITS, MAX_BITS)),
            mem_level: i32::from(tuning.mem_level.clamp(1, 9)),
            ..DeflateConfig::default()
        };
        Deflater {
            inner: Deflate::new_with_config(config),
            used: false,
        }
    }

    /// Compresses a message without reference to those before it. The length of what lies in `buffer` then; `None` if it
    /// would not be smaller.
    pub(crate) fn fresh(&mut self, payload: &[u8], buffer: &mut Vec<u8>) -> Option<usize> {
        if self.used {
            self.inner.reset();
        }
        self.used = true;
        self.run(payload, buffer)
    }

    /// The same with reference to those before it.
    pub(crate) fn next(&mut self, payload: &[u8], buffer: &mut Vec<u8>) -> Option<usize> {
        let len = self.run(payload, buffer);
        if len.is_none() {
            // The peer does not get this message compressed: nothing may refer to it.
            self.inner.reset();
        }
        len
    }

    fn run(&mut self, payload: &[u8], buffer: &mut Vec<u8>) -> Option<usize> {
        // Room for whatever may come: where it runs out, the fast level of the library can panic.
        let room = bound(payload.len()) + TAIL.len();
        if buffer.len() < room {
            buffer.resize(room, 0);
        }
        let place = buffer.get_mut(..room)?;
        let (taken, given) = (self.inner.total_in(), self.inner.total_out());
        self.inner
            .compress(payload, place, DeflateFlush::SyncFlush)
            .ok()?;
        let taken = self.inner.total_in() - taken;
        let given = (self.inner.total_out() - given) as usize;
        let whole = taken == payload.len() as u64 && given < room;
        let end = buffer.get(..given)?.strip_suffix(&TAIL)?;
        (whole && end.len() < payload.len()).then_some(end.len())
    }
}
