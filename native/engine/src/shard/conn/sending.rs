//! Messages that are sent in pieces, and frames of other processes meanwhile.

use std::rc::Rc;

use super::Conn;
use super::state::ConnState;
use crate::model::pieces::Piece;
use crate::shard::Shard;
use crate::shard::outbox::Segment;

impl Conn {
    /// Queues a piece of a message. Its bytes have been counted in the slot.
    pub(crate) fn send_piece(self: &Rc<Self>, shard: &Shard, part: Segment, piece: Piece) {
        let mut state = self.state.borrow_mut();
        if !state.session.is_open() {
            return;
        }
        state.trace(false, part.bytes());
        state.queue(part);
        match piece {
            Piece::First => state.rare.fields().late = Some(Box::default()),
            Piece::More => {}
            Piece::Last => {
                if let Some(late) = state.rare.take(|rare| &mut rare.late) {
                    shard.handle.open_messages.free_behind(self.id);
                    state.outbox.append(*late);
                }
            }
        }
        self.queue_write(shard, &mut state);
    }
}

impl ConnState {
    /// Queues a part, which may wait long where the socket is full.
    pub(super) fn queue(&mut self, part: Segment) {
        if self.writing.is_blocked() {
            self.outbox.push_waiting(part);
        } else {
            self.outbox.push(part);
        }
    }

    /// Queues frames while a message is sent in pieces. Control frames may go between these;
    /// messages wait for the last one: how many bytes do.
    pub(super) fn push_around(&mut self, part: &Segment) -> usize {
        let mut waiting = 0;
        let mut rest = part.whole();
        while let Some((head, len)) = first_frame(rest.bytes()) {
            let (frame, after) = rest.split(len);
            if head & 0x08 != 0 {
                self.queue(frame);
            } else if let Some(late) = self.rare.get_mut().and_then(|rare| rare.late.as_mut()) {
                late.push_waiting(frame);
                waiting += len;
            }
            rest = after;
        }
        waiting
    }
}

/// The first byte and the length of the frame that the bytes begin with.
fn first_frame(bytes: &[u8]) -> Option<(u8, usize)> {
    let (&head, rest) = bytes.split_first()?;
    let (&second, rest) = rest.split_first()?;
    let (size, payload) = match second & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (
            10,
            usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?,
        ),
        len => (2, usize::from(len)),
    };
    let mask = if second & 0x80 != 0 { 4 } else { 0 };
    Some((head, payload.checked_add(size + mask)?))
}

#[cfg(test)]
mod tests {
    use sockeye_protocol::frame::{self, Opcode};

    use super::*;

    #[test]
    fn frames_are_told_apart() {
        for mask in [None, Some([1, 2, 3, 4])] {
            for size in [0, 1, 125, 126, 127, 65_535, 65_536] {
                let mut out = Vec::new();
                frame::write(&mut out, Opcode::Text, &vec![b'a'; size], mask);
                let len = out.len();
                frame::write(&mut out, Opcode::Ping, b"", mask);
                assert_eq!(first_frame(&out), Some((0x81, len)));
                assert_eq!(first_frame(&out[len..]).map(|f| f.0), Some(0x89));
            }
        }
        assert_eq!(first_frame(b""), None);
        assert_eq!(first_frame(b"\x81"), None);
        assert_eq!(first_frame(b"\x81\x7e\x00"), None);
        assert_eq!(
            first_frame(b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff"),
            None
        );
    }
}
