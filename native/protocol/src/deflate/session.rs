//! Compressed messages of a connection, both ways.

use super::bound;
use super::codecs::Codecs;
use super::compress::Deflater;
use super::inflate::Inflater;
use super::params::{MIN_BITS, Tuning};
use crate::config::{Kind, Limits};
use crate::error::Violation;
use crate::frame;
use crate::session::{ReceiveContext, Session};
use crate::sink::{Payload, Sink};

/// Bounds on a message while it is compressed: what cannot be made smaller becomes a little larger, and still is within the
/// bound when it is inflated.
pub(crate) fn while_compressed(limits: &Limits) -> Limits {
    let most = limits.max_message_size;
    let more = bound(most);
    let max_frame_size = if limits.max_frame_size < most {
        limits.max_frame_size
    } else {
        more
    };
    limits.max_message_size(more).max_frame_size(max_frame_size)
}

impl Session {
    /// Whether the messages that go out have a window of their own, so that nobody else can compress them.
    pub fn keeps_window(&self) -> bool {
        self.deflate
            .is_some_and(|params| params.outgoing(self.role).takeover)
    }

    /// Appends a message, compressed where that was agreed on and makes it smaller. True if it is compressed.
    ///
    /// Text must be UTF-8, and the session open.
    pub fn encode(
        &mut self,
        kind: Kind,
        payload: &[u8],
        tuning: &Tuning,
        codecs: &mut Codecs,
        out: &mut Vec<u8>,
    ) -> bool {
        let mask = self.role.mask();
        let len = self.compress(payload, tuning, codecs);
        match len {
            Some(len) => frame::write_compressed(out, kind.op(), codecs.bytes(len), mask),
            None => frame::write(out, kind.op(), payload, mask),
        }
        codecs.trim();
        len.is_some()
    }

    /// Appends frames of a server, with the messages among them compressed as [`Session::encode`] does. Fragments, control
    /// frames and what is compressed already stay as they are.
    pub fn encode_frames(
        &mut self,
        frames: &[u8],
        tuning: &Tuning,
        codecs: &mut Codecs,
        out: &mut Vec<u8>,
    ) {
        let mut rest = frames;
        while let Some((op, frame, after)) = frame::split(rest) {
            rest = after;
            let payload = frame::head_len_of(frame).and_then(|head| frame.get(head..));
            let compressed = match (op, payload) {
                (Some(op), Some(payload)) => self
                    .compress(payload, tuning, codecs)
                    .map(|len| frame::write_compressed(out, op, codecs.bytes(len), None)),
                _ => None,
            };
            if compressed.is_none() {
                out.extend_from_slice(frame);
            }
        }
        out.extend_from_slice(rest);
        codecs.trim();
    }

    fn compress(&mut self, payload: &[u8], tuning: &Tuning, codecs: &mut Codecs) -> Option<usize> {
        let direction = self.deflate?.outgoing(self.role);
        if payload.len() < tuning.threshold.max(1) || direction.window_bits < MIN_BITS {
            return None;
        }
        if !direction.takeover {
            return codecs.compress(payload, tuning, direction.window_bits);
        }
        let windows = self.partial.get_or_insert_default();
        let windows = windows.windows.get_or_insert_default();
        let compressor = windows
            .compressor
            .get_or_insert_with(|| Deflater::new(tuning, direction.window_bits));
        compressor.next(payload, &mut codecs.buffer)
    }

    /// Inflates a complete message and hands it on.
    pub(crate) fn inflate<S: Sink>(
        &mut self,
        kind: Kind,
        payload: &[u8],
        context: &mut ReceiveContext<'_, S>,
    ) -> Result<(), Violation> {
        // No compressor makes that of an empty message, since a block is one byte at least; but others take it for one.
        // What follows it in the window is not touched.
        if payload.is_empty() {
            context.sink.message(kind, Payload::Borrowed(&[]));
            return Ok(());
        }
        let takeover = self
            .deflate
            .is_some_and(|params| params.incoming(self.role).takeover);
        let limit = context.limits.max_message_size;
        let len = if takeover {
            let windows = self.partial.get_or_insert_default();
            let windows = windows.windows.get_or_insert_default();
            let inflater = windows.inflater.get_or_insert_with(Inflater::new);
            inflater.next(payload, limit, &mut context.codecs.buffer)
        } else {
            context.codecs.inflate(payload, limit)
        };
        let len = len.inspect_err(|_| context.codecs.trim())?;
        let codecs = &mut *context.codecs;
        if kind == Kind::Text && std::str::from_utf8(codecs.bytes(len)).is_err() {
            codecs.trim();
            return Err(Violation::InvalidUtf8);
        }
        if codecs.is_swollen() {
            // Its receiver may have the buffer itself.
            let mut data = std::mem::take(&mut codecs.buffer);
            data.truncate(len);
            data.shrink_to_fit();
            context.sink.message(kind, Payload::Owned(data));
        } else {
            context
                .sink
                .message(kind, Payload::Borrowed(codecs.bytes(len)));
        }
        context.stopped = context.patient && context.sink.is_full();
        Ok(())
    }
}
