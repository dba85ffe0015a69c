//! Frames of HTTP/2, as far as they are looked at.

pub(super) const HEADER: usize = 9;

/// The largest frame that a client may send: our settings say nothing else.
pub(super) const FRAME: usize = 16 * 1024;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const PING: u8 = 6;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;
pub(super) const WITH_PRIORITY: u8 = 0x20;

#[derive(Clone, Copy)]
pub(super) struct FrameHeader {
    pub(super) len: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl FrameHeader {
    pub(super) fn parse(header: [u8; HEADER]) -> Self {
        let [a, b, c, kind, flags, d, e, f, g] = header;
        FrameHeader {
            len: u32::from_be_bytes([0, a, b, c]) as usize,
            kind,
            flags,
            stream: u32::from_be_bytes([d & 0x7f, e, f, g]),
        }
    }

    pub(super) fn write(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
        out.extend_from_slice(&[a, b, c, kind, flags]);
        out.extend_from_slice(&stream.to_be_bytes());
        out.extend_from_slice(payload);
    }
}

/// Appends what ends a stream of whose answer nothing is taken.
pub(super) fn reset(out: &mut Vec<u8>, stream: u32) {
    const CANCEL: [u8; 4] = [0, 0, 0, 8];
    FrameHeader::write(out, RST_STREAM, 0, stream, &CANCEL);
}

/// What of the payload of a HEADERS frame is the head, if that can be told, and whether the stream
/// is said to depend on itself.
pub(super) fn fragment(frame: FrameHeader, payload: &[u8]) -> (Option<&[u8]>, bool) {
    let mut rest = payload;
    let mut padding = 0;
    if frame.flags & PADDED != 0 {
        let Some((&length, more)) = rest.split_first() else {
            return (None, false);
        };
        (padding, rest) = (usize::from(length), more);
    }
    let mut odd = false;
    if frame.flags & WITH_PRIORITY != 0 {
        let Some((on, more)) = rest.split_first_chunk::<5>() else {
            return (None, false);
        };
        let [a, b, c, d, _] = *on;
        odd = depends_on([a, b, c, d]) == frame.stream;
        rest = more;
    }
    let end = rest.len().checked_sub(padding);
    (end.and_then(|end| rest.get(..end)), odd)
}

pub(super) fn depends_on(bytes: [u8; 4]) -> u32 {
    u32::from_be_bytes(bytes) & 0x7fff_ffff
}
