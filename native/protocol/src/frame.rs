//! Writing frames.
//!
//! [`write()`] takes a finished payload. An encoder that produces its payload piece by piece calls [`begin`], appends to the
//! buffer, and calls [`seal`]: the frame then lies in the buffer with no gap and no second copy of the payload.

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::OpCode;

use crate::mask;
use crate::opcode::COMPRESSED;
pub use crate::opcode::Opcode;

/// Appends a whole frame to `out`. `mask` is [`crate::Role::mask`]'s: `None` for a server.
///
/// A control frame holds 125 bytes at most; the caller sees to that.
///
/// ```
/// use sockeye_protocol::frame::{Opcode, write};
/// let mut out = Vec::new();
/// write(&mut out, Opcode::Text, b"hi", None);
/// assert_eq!(out, b"\x81\x02hi");
/// ```
pub fn write(out: &mut Vec<u8>, op: Opcode, payload: &[u8], mask: Option<[u8; 4]>) {
    write_fragment(out, op, true, payload, mask);
}

/// Appends one fragment of a message: the first has the message's opcode, the others are [`Opcode::Continuation`], and only
/// the last is `fin`.
pub fn write_fragment(
    out: &mut Vec<u8>,
    op: Opcode,
    fin: bool,
    payload: &[u8],
    mask: Option<[u8; 4]>,
) {
    let head = EncodedHeader::new(op, fin, payload.len(), mask);
    out.reserve(head.len + payload.len());
    out.extend_from_slice(head.as_bytes());
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = mask {
        mask::apply(&mut out[start..], key, 0);
    }
}

/// Appends a whole compressed message. Only a peer that has agreed to permessage-deflate takes it.
pub(crate) fn write_compressed(
    out: &mut Vec<u8>,
    op: Opcode,
    payload: &[u8],
    mask: Option<[u8; 4]>,
) {
    let start = out.len();
    write(out, op, payload, mask);
    if let Some(first) = out.get_mut(start) {
        *first |= COMPRESSED;
    }
}

/// Opcode and payload of the one frame that `bytes` are: `None` if it is not a whole message, or masked or compressed.
pub(crate) fn plain_message(bytes: &[u8]) -> Option<(Opcode, &[u8])> {
    let (op, frame, rest) = split(bytes)?;
    let op = op.filter(|_| rest.is_empty())?;
    Some((op, frame.get(head_len_of(frame)?..)?))
}

/// Takes the first frame, which is unmasked, off a sequence: its opcode if it is a whole message and not compressed, its
/// bytes, and the rest.
pub(crate) fn split(bytes: &[u8]) -> Option<(Option<Opcode>, &[u8], &[u8])> {
    let (first, len) = (*bytes.first()?, *bytes.get(1)?);
    if len & 0x80 != 0 {
        return None;
    }
    let payload = match len {
        126 => u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
        127 => u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?),
        short => u64::from(short),
    };
    let len = usize::try_from(payload)
        .ok()?
        .checked_add(head_len_of(bytes)?)?;
    let (frame, rest) = bytes.split_at_checked(len)?;
    let op = match first {
        0x81 => Some(Opcode::Text),
        0x82 => Some(Opcode::Binary),
        _ => None,
    };
    Some((op, frame, rest))
}

/// Masks the frame that begins at `start` and is the last in `out`, as a client has to.
///
/// ```
/// use sockeye_protocol::frame::{Opcode, mask_last, write};
/// let (mut masked, mut expected) = (Vec::new(), Vec::new());
/// write(&mut masked, Opcode::Text, b"hi", None);
/// mask_last(&mut masked, 0, [1, 2, 3, 4]);
/// write(&mut expected, Opcode::Text, b"hi", Some([1, 2, 3, 4]));
/// assert_eq!(masked, expected);
/// ```
pub fn mask_last(out: &mut Vec<u8>, start: usize, key: [u8; 4]) {
    let Some(head) = out.get(start..).and_then(head_len_of) else {
        return;
    };
    let payload = start + head;
    if payload > out.len() {
        return;
    }
    out.splice(payload..payload, key);
    if let Some(second) = out.get_mut(start + 1) {
        *second |= 0x80;
    }
    if let Some(payload) = out.get_mut(payload + key.len()..) {
        mask::apply(payload, key, 0);
    }
}

/// How long the header of an unmasked frame is.
pub(crate) fn head_len_of(frame: &[u8]) -> Option<usize> {
    Some(match frame.get(1)? {
        126 => 4,
        127 => 10,
        _ => 2,
    })
}

/// The bytes that the header of a frame takes.
pub fn head_len(payload: usize, masked: bool) -> usize {
    let length = match payload {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    };
    length + if masked { 4 } else { 0 }
}

/// Where a frame begins whose payload is being written.
#[derive(Debug)]
#[must_use = "a frame that is begun must be sealed, or the buffer truncated to `start`"]
pub struct Mark {
    start: usize,
    room: usize,
}

impl Mark {
    /// The length of the buffer before the frame: truncating to it takes the frame back.
    pub fn start(&self) -> usize {
        self.start
    }

    /// Where the payload begins.
    pub fn payload(&self) -> usize {
        self.start + self.room
    }
}

/// Begins a frame at the end of `out` with room for the smallest header; append the payload, then [`seal`].
pub fn begin(out: &mut Vec<u8>) -> Mark {
    begin_sized(out, 0, false)
}

/// As [`begin`], with room for the header of a payload of about `expected` bytes. A wrong guess costs one move of the
/// payload.
pub fn begin_sized(out: &mut Vec<u8>, expected: usize, masked: bool) -> Mark {
    let mark = Mark {
        start: out.len(),
        room: head_len(expected, masked),
    };
    out.resize(mark.payload(), 0);
    mark
}

/// Makes what was appended since `mark` the payload of a whole frame.
///
/// ```
/// use sockeye_protocol::frame::{Opcode, begin, seal};
/// let mut out = Vec::new();
/// for word in ["one", "two"] {
///     let mark = begin(&mut out);
///     out.extend_from_slice(word.as_bytes());
///     seal(&mut out, mark, Opcode::Text, None);
/// }
/// assert_eq!(out, b"\x81\x03one\x81\x03two");
/// ```
pub fn seal(out: &mut Vec<u8>, mark: Mark, op: Opcode, mask: Option<[u8; 4]>) {
    let payload = mark.payload();
    let len = out.len().saturating_sub(payload);
    let head = EncodedHeader::new(op, true, len, mask);
    if head.len > mark.room {
        out.resize(out.len() + head.len - mark.room, 0);
    }
    if head.len != mark.room {
        out.copy_within(payload..payload + len, mark.start + head.len);
    }
    out.truncate(mark.start + head.len + len);
    if let Some(frame) = out.get_mut(mark.start..) {
        frame[..head.len].copy_from_slice(head.as_bytes());
        if let Some(key) = mask {
            mask::apply(&mut frame[head.len..], key, 0);
        }
    }
}

/// A header ready to be copied: the longest has 14 bytes.
struct EncodedHeader {
    bytes: [u8; 14],
    len: usize,
}

impl EncodedHeader {
    fn new(op: Opcode, fin: bool, payload: usize, mask: Option<[u8; 4]>) -> EncodedHeader {
        let header = FrameHeader {
            is_final: fin,
            opcode: OpCode::from(op as u8),
            mask,
            ..FrameHeader::default()
        };
        let mut head = EncodedHeader {
            bytes: [0; 14],
            len: head_len(payload, mask.is_some()),
        };
        // Writing fails only for want of room, and there is room for the longest.
        let written = header.format(payload as u64, &mut &mut head.bytes[..]);
        debug_assert!(written.is_ok());
        head
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: &[usize] = if cfg!(miri) {
        &[0, 1, 126, 65_536]
    } else {
        &[0, 1, 2, 125, 126, 127, 65_535, 65_536, 70_000]
    };

    fn payload_of(size: usize) -> Vec<u8> {
        let all: Vec<u8> = (0..=255).collect();
        let mut payload = all.repeat(size.div_ceil(all.len()));
        payload.truncate(size);
        payload
    }

    #[test]
    fn headers_of_the_rfc() {
        for (size, want) in [
            (125, &b"\x82\x7d"[..]),
            (126, b"\x82\x7e\x00\x7e"),
            (65_535, b"\x82\x7e\xff\xff"),
            (65_536, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
        ] {
            let mut out = Vec::new();
            write(&mut out, Opcode::Binary, &vec![7; size], None);
            assert_eq!(&out[..want.len()], want);
            assert_eq!(out.len(), want.len() + size);
        }
        let mut out = Vec::new();
        write_fragment(&mut out, Opcode::Text, false, b"Hel", None);
        write_fragment(&mut out, Opcode::Continuation, true, b"lo", None);
        write(
            &mut out,
            Opcode::Text,
            b"Hello",
            Some([0x37, 0xfa, 0x21, 0x3d]),
        );
        assert_eq!(
            out,
            b"\x01\x03Hel\x80\x02lo\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
        );
    }

    #[test]
    fn sealing_gives_what_writing_gives() {
        for mask in [None, Some([1, 2, 3, 4])] {
            for &size in SIZES {
                for &expected in SIZES {
                    let payload = payload_of(size);
                    let mut want = b"before".to_vec();
                    write(&mut want, Opcode::Text, &payload, mask);
                    let mut out = b"before".to_vec();
                    let mark = begin_sized(&mut out, expected, mask.is_some());
                    out.extend_from_slice(&payload);
                    seal(&mut out, mark, Opcode::Text, mask);
                    assert!(out == want, "{size} bytes where {expected} were expected");
                }
            }
        }
    }

    #[test]
    fn masking_gives_what_writing_gives() {
        let key = [1, 2, 3, 4];
        for &size in SIZES {
            for before in [&b""[..], b"b", b"before"] {
                let payload = payload_of(size);
                let (mut want, mut out) = (before.to_vec(), before.to_vec());
                write(&mut want, Opcode::Text, &payload, Some(key));
                write(&mut out, Opcode::Text, &payload, None);
                mask_last(&mut out, before.len(), key);
                assert!(out == want, "{size} bytes behind {}", before.len());
            }
        }
    }

    #[test]
    fn an_incomplete_header_is_not_masked() {
        for bytes in [
            &b""[..],
            b"\x81",
            b"\x81\x7e\x00",
            b"\x81\x7f\0\0\0\0\0\0\0",
        ] {
            let mut out = bytes.to_vec();
            mask_last(&mut out, 0, [1, 2, 3, 4]);
            assert_eq!(out, bytes);
            mask_last(&mut out, bytes.len() + 1, [1, 2, 3, 4]);
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn sequences_are_split_into_frames() {
        for &size in SIZES {
            let payload = vec![b'x'; size];
            let mut bytes = vec![];
            write(&mut bytes, Opcode::Text, &payload, None);
            let first = bytes.len();
            write(&mut bytes, Opcode::Ping, b"p", None);
            let found = split(&bytes);
            assert_eq!(
                found,
                Some((Some(Opcode::Text), &bytes[..first], &bytes[first..]))
            );
            assert_eq!(
                split(&bytes[first..]),
                Some((None, &bytes[first..], &[][..]))
            );
            // Cut anywhere, or masked, it is none.
            assert_eq!(split(&bytes[..first - 1]), None);
            assert_eq!(split(&bytes[..1]), None);
            assert_eq!(
                plain_message(&bytes[..first]),
                Some((Opcode::Text, &payload[..]))
            );
            assert_eq!(plain_message(&bytes), None);
            mask_last(&mut bytes, first, [1, 2, 3, 4]);
            assert_eq!(split(&bytes[first..]), None);
        }
        assert_eq!(split(b""), None);
    }

    #[test]
    fn a_mark_tells_where_a_frame_begins() {
        let mut out = b"before".to_vec();
        let mark = begin(&mut out);
        assert_eq!((mark.start(), mark.payload(), out.len()), (6, 8, 8));
        out.extend_from_slice(b"ab");
        seal(&mut out, mark, Opcode::Binary, None);
        assert_eq!(out, b"before\x82\x02ab");
    }
}
