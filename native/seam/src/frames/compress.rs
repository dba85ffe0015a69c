//! Compression on the thread of the caller, for connections that keep no window.

use std::cell::RefCell;
use std::sync::Arc;

use sockeye_engine::{Broadcast, Compression, ConnLabel, Engine, Server};
use sockeye_protocol::deflate::Codecs;

use crate::frames::{Bounds, FrameError};

/// Compressing a byte takes about as long as copying so many into a frame.
const WEIGHT: usize = 8;

thread_local! {
    /// The contexts of this thread.
    static CODECS: RefCell<Codecs> = RefCell::default();
}

fn with_codecs<T>(work: impl FnOnce(&mut Codecs) -> T) -> T {
    CODECS.with_borrow_mut(work)
}

/// How the caller compresses for a connection.
pub(super) struct CallerCompressor {
    server: Arc<Server>,
    window: u8,
}

impl CallerCompressor {
    /// `None` where the caller does not.
    pub(super) fn of(engine: &Engine, label: ConnLabel) -> Option<CallerCompressor> {
        let Compression::Shared(window) = label.compression else {
            return None;
        };
        let server = engine.server(label.server)?;
        Some(CallerCompressor { server, window })
    }

    /// Compresses the frame that begins at `start`, the last one, if that makes it smaller. Gives what the work is worth in
    /// bytes.
    ///
    /// # Errors
    /// The frame is too large for this scheduler; it has been taken away.
    pub(super) fn last_frame<T>(
        &self,
        out: &mut Vec<u8>,
        start: usize,
        bounds: Bounds,
    ) -> Result<usize, FrameError<T>> {
        let len = out.len() - start;
        if len > bounds.deflate {
            out.truncate(start);
            return Err(FrameError::Dirty);
        }
        let tuning = self.server.tuning();
        if len < tuning.threshold {
            return Ok(0);
        }
        if with_codecs(|codecs| codecs.compress_frame(out, start, &tuning, self.window)) {
            self.server.saved(len - (out.len() - start));
        }
        Ok(len * WEIGHT)
    }
}

/// A frame for all clients of a server; compressed, unless it must stay plain.
///
/// # Errors
/// It is too large for this scheduler.
pub fn broadcast<T>(
    server: &Server,
    frame: Vec<u8>,
    plain: bool,
    bounds: Bounds,
) -> Result<Broadcast, FrameError<T>> {
    if plain || server.config.deflate.is_none() {
        return Ok(Broadcast::plain(frame));
    }
    if frame.len() > bounds.deflate {
        return Err(FrameError::Dirty);
    }
    Ok(with_codecs(|codecs| Broadcast::new(server, frame, codecs)))
}
