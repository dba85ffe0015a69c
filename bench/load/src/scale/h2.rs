//! As much of HTTP/2 as WebSockets on streams need (RFC 9113, 8441): frames, and the head of a request.

use crate::Result;

/// Streams on a connection: what servers allow.
pub(crate) const STREAMS: usize = 100;
pub(crate) const HEAD: usize = 9;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// So much a server may send on a stream, and on the connection beyond 64 KiB: more than it ever will, so that
/// no updates are due.
const STREAM_WINDOW: u32 = 1 << 26;
const WINDOW: u32 = 1 << 30;

pub(crate) struct Frame<'a> {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: usize,
    pub(crate) body: &'a [u8],
}

/// The first whole frame; it takes HEAD more bytes than its body has.
pub(crate) fn next(bytes: &[u8]) -> Result<Option<Frame<'_>>> {
    let Some(&[a, b, c, kind, flags, s0, s1, s2, s3]) = bytes.first_chunk::<HEAD>() else {
        return Ok(None);
    };
    let len = u32::from_be_bytes([0, a, b, c]) as usize;
    let Some(body) = bytes.get(HEAD..HEAD + len) else {
        return Ok(None);
    };
    if kind <= HEADERS && flags & PADDED != 0 {
        return Err("padding was not expected".into());
    }
    let stream = (u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff) as usize;
    Ok(Some(Frame {
        kind,
        flags,
        stream,
        body,
    }))
}

pub(crate) fn push(kind: u8, flags: u8, stream: usize, body: &[u8], out: &mut Vec<u8>) {
    head(kind, flags, stream, body.len(), out);
    out.extend_from_slice(body);
}

pub(crate) fn head(kind: u8, flags: u8, stream: usize, len: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&(len as u32).to_be_bytes()[1..]);
    out.extend([kind, flags]);
    out.extend((stream as u32).to_be_bytes());
}

/// What a client says first.
pub(crate) fn hello(out: &mut Vec<u8>) {
    out.extend_from_slice(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    // SETTINGS_INITIAL_WINDOW_SIZE.
    let mut settings = vec![0, 4];
    settings.extend(STREAM_WINDOW.to_be_bytes());
    push(SETTINGS, 0, 0, &settings, out);
    push(WINDOW_UPDATE, 0, 0, &WINDOW.to_be_bytes(), out);
}

/// Extended CONNECT; header fields are literals that nobody has to remember (RFC 7541, 6.2.2).
pub(crate) fn request(stream: usize, authority: &str, path: &str, out: &mut Vec<u8>) {
    // Index 6 of the static table is `:scheme: http`; 2, 4 and 1 are the names `:method`, `:path` and `:authority`.
    let mut block = vec![0x86];
    field(2, "", "CONNECT", &mut block);
    field(4, "", path, &mut block);
    field(1, "", authority, &mut block);
    field(0, ":protocol", "websocket", &mut block);
    field(0, "sec-websocket-version", "13", &mut block);
    push(HEADERS, END_HEADERS, stream, &block, out);
}

/// Names and values are shorter than 127 bytes here.
fn field(index: u8, name: &str, value: &str, out: &mut Vec<u8>) {
    out.push(index);
    if index == 0 {
        out.push(name.len() as u8);
        out.extend_from_slice(name.as_bytes());
    }
    out.push(value.len() as u8);
    out.extend_from_slice(value.as_bytes());
}

/// Whether a response begins with `:status: 200`, index 8 of the static table.
pub(crate) fn is_accepted(block: &[u8]) -> bool {
    block.first() == Some(&0x88)
}

/// What a server's settings say of the window of a stream.
pub(crate) fn initial_window(body: &[u8]) -> Option<i64> {
    let mut found = None;
    for entry in body.chunks_exact(6) {
        if entry[..2] == [0, 4] {
            found = Some(number(&entry[2..]));
        }
    }
    found
}

/// 31 bits at the beginning of a body.
pub(crate) fn number(body: &[u8]) -> i64 {
    body.first_chunk::<4>()
        .map_or(0, |b| i64::from(u32::from_be_bytes(*b) & 0x7fff_ffff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_taken_only_when_it_is_whole() {
        let mut bytes = Vec::new();
        push(DATA, END_STREAM, 7, b"hello", &mut bytes);
        for cut in 0..bytes.len() {
            assert!(next(&bytes[..cut]).unwrap().is_none());
        }
        let frame = next(&bytes).unwrap().unwrap();
        assert_eq!(
            (frame.kind, frame.flags, frame.stream, frame.body),
            (DATA, END_STREAM, 7, &b"hello"[..])
        );
        push(DATA, PADDED, 7, b"hello", &mut bytes);
        assert!(next(&bytes[14..]).is_err());
    }

    #[test]
    fn settings() {
        assert_eq!(initial_window(&[0, 3, 0, 0, 0, 9]), None);
        let both = [0, 3, 0, 0, 0, 9, 0, 4, 0, 1, 0, 0];
        assert_eq!(initial_window(&both), Some(65_536));
    }
}
