//! What a session holds between two reads: a header, a frame or a message that is not complete.

use crate::close::CloseReason;
use crate::config::Kind;
use crate::decode::{MAX_HEAD, ReceivedHeader};
use crate::deflate::Windows;
use crate::error::Violation;
use crate::mask;
use crate::utf8::Utf8;

/// The first allocation for a message of unknown future. A peer that claims a gigabyte and sends nothing gets this much.
const FIRST: usize = 4096;

/// Boxed, and there only while something is incomplete, so that an idle session stays small.
#[derive(Debug, Default)]
pub(crate) struct Partial {
    /// The bytes of a header that the end of a read cut.
    pub(crate) head: [u8; MAX_HEAD],
    pub(crate) head_len: usize,
    /// The frame whose payload is incomplete.
    pub(crate) frame: Option<PartialFrame>,
    /// The payload so far when that frame is a control frame.
    pub(crate) control: Vec<u8>,
    /// The message whose last fragment has not come.
    pub(crate) message: Option<PartialMessage>,
    /// Contexts that stay from message to message.
    pub(crate) windows: Option<Box<Windows>>,
    /// How it all ended.
    pub(crate) closed: Option<CloseReason>,
}

#[derive(Debug)]
pub(crate) struct PartialFrame {
    pub(crate) head: ReceivedHeader,
    pub(crate) received: u64,
}

impl PartialFrame {
    /// How many of the next `available` bytes belong to this frame.
    pub(crate) fn share(&self, available: usize) -> usize {
        usize::try_from(self.head.len - self.received).map_or(available, |left| left.min(available))
    }
}

#[derive(Debug)]
pub(crate) struct PartialMessage {
    pub(crate) kind: Kind,
    pub(crate) data: Vec<u8>,
    pub(crate) fragments: u32,
    /// The data is compressed: it is inflated, and text checked, when it is complete.
    pub(crate) compressed: bool,
    utf8: Utf8,
}

impl PartialMessage {
    pub(crate) fn new(kind: Kind, compressed: bool) -> Self {
        PartialMessage {
            kind,
            data: Vec::new(),
            fragments: 1,
            compressed,
            utf8: Utf8::default(),
        }
    }

    /// Appends unmasked bytes. `claimed` is what the current frame will still bring after them, `limit` what all of the message may
    /// have, when this is not its last frame.
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        claimed: u64,
        limit: Option<usize>,
    ) -> Result<(), Violation> {
        if self.kind == Kind::Text && !self.compressed {
            self.utf8.feed(bytes).map_err(|_| Violation::InvalidUtf8)?;
        }
        let need = self.data.len() + bytes.len();
        if need > self.data.capacity() {
            // Twice what is here, as a vector does, but never more than the last frame can fill; others are followed by more,
            // and who grew by each would copy all that is here for each.
            let double = need.saturating_mul(2);
            let claimed = usize::try_from(claimed).unwrap_or(usize::MAX);
            let more = limit.map_or(0, |limit| double.min(limit));
            let most = need.saturating_add(claimed).max(more);
            let room = most.min(double.max(FIRST));
            self.data.reserve_exact(room - self.data.len());
        }
        self.data.extend_from_slice(bytes);
        Ok(())
    }

    /// The message is complete. It may wait for its receiver, and takes no more room there than it is counted with.
    pub(crate) fn finish(mut self) -> Result<(Kind, Vec<u8>), Violation> {
        if self.kind == Kind::Text && !self.compressed {
            self.utf8.finish().map_err(|_| Violation::InvalidUtf8)?;
        }
        self.data.shrink_to_fit();
        Ok((self.kind, self.data))
    }
}

impl Partial {
    /// Takes the next bytes of the payload of the current frame. `limit` is that of a message.
    pub(crate) fn feed(&mut self, bytes: &mut [u8], limit: usize) -> Result<(), Violation> {
        let Some(frame) = &mut self.frame else {
            return Ok(());
        };
        if let Some(key) = frame.head.mask {
            // Only the lowest two bits matter.
            mask::apply(bytes, key, (frame.received & 3) as usize);
        }
        frame.received += bytes.len() as u64;
        if frame.head.op.is_control() {
            self.control.extend_from_slice(bytes);
            Ok(())
        } else if let Some(message) = &mut self.message {
            let limit = (!frame.head.fin).then_some(limit);
            message.push(bytes, frame.head.len - frame.received, limit)
        } else {
            // After our Close frame data is skipped.
            Ok(())
        }
    }

    /// The incomplete frame, if it is complete now.
    pub(crate) fn completed(&mut self) -> Option<ReceivedHeader> {
        self.frame
            .take_if(|frame| frame.received == frame.head.len)
            .map(|frame| frame.head)
    }

    /// Whether there is nothing to remember.
    pub(crate) fn is_over(&self) -> bool {
        self.head_len == 0
            && self.frame.is_none()
            && self.message.is_none()
            && self.windows.is_none()
            && self.closed.is_none()
    }

    pub(crate) fn footprint(&self) -> usize {
        let message = self.message.as_ref().map_or(0, |m| m.data.capacity());
        size_of::<Self>() + self.control.capacity() + message
    }
}
