//! Frames and header blocks of HTTP/2.

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The largest payload, since no settings state another one.
pub(super) const LARGEST: usize = 16_384;

/// What both sides may send at first, to a stream and in all.
pub(super) const WINDOW: i64 = 65_535;

/// INTERNAL_ERROR: a process has broken a response off.
pub(super) const BROKEN: u32 = 2;
pub(super) const REFUSED: u32 = 7;
pub(super) const CANCEL: u32 = 8;

/// Numbers of settings.
pub(super) const MAX_STREAMS: u16 = 3;
pub(super) const INITIAL_WINDOW: u16 = 4;
pub(super) const CONNECT_PROTOCOL: u16 = 8;

/// A frame that was read.
pub(super) struct Frame<'a> {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: &'a [u8],
}

impl Frame<'_> {
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// A number of 32 bits in the payload.
    pub(super) fn number(&self, at: usize) -> Option<u32> {
        let bytes = self.payload.get(at..)?.first_chunk()?;
        Some(u32::from_be_bytes(*bytes))
    }

    /// The settings in it.
    pub(super) fn settings(&self) -> impl Iterator<Item = (u16, u32)> {
        self.payload.chunks_exact(6).map(|six| {
            let id = u16::from_be_bytes([six[0], six[1]]);
            (id, u32::from_be_bytes([six[2], six[3], six[4], six[5]]))
        })
    }
}

/// The first frame, and its length.
pub(super) fn first(bytes: &[u8]) -> Option<(Frame<'_>, usize)> {
    let head: &[u8; 9] = bytes.first_chunk()?;
    let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let frame = Frame {
        kind: head[3],
        flags: head[4],
        stream: u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]),
        payload: bytes.get(9..9 + len)?,
    };
    Some((frame, 9 + len))
}

/// A frame to write.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    let mut out = vec![a, b, c, kind, flags];
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// Settings to write.
pub(super) fn settings(all: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (id, value) in all {
        payload.extend_from_slice(&id.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    frame(SETTINGS, 0, 0, &payload)
}

/// The fields of a head, each as it is.
pub(super) fn head(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    let text = |text: &str, out: &mut Vec<u8>| {
        match text.len() {
            len @ ..127 => out.push(len as u8),
            // One more byte is enough for what is said here.
            len => out.extend([127, (len - 127).min(127) as u8]),
        }
        out.extend_from_slice(text.as_bytes());
    };
    for (name, value) in fields {
        out.push(0);
        text(name, &mut out);
        text(value, &mut out);
    }
    out
}
