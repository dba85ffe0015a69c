//! Client framing, as little as a load needs: whole text frames out, whole frames in.

use crate::Result;
use crate::deflate;
use crate::payload::{ID_DIGITS, Payload, digits};

const MASK: [u8; 4] = [0x3a, 0x91, 0xc5, 0x6e];

/// A masked text frame, ready but for the id. The mask never changes: servers unmask all the same,
/// and the generator must stay cheaper than what it measures.
pub(crate) struct Template {
    bytes: Vec<u8>,
    id_at: usize,
    id_mask: [u8; ID_DIGITS],
}

impl Template {
    pub(crate) fn new(payload: &Payload) -> Template {
        Self::of(0x81, &payload.text, payload.id_at)
    }

    /// The same message, compressed.
    pub(crate) fn deflated(payload: &Payload) -> Result<Template> {
        let (body, id_at) = deflate::body(payload)?;
        Ok(Self::of(0xc1, &body, id_at))
    }

    fn of(first: u8, body: &[u8], id_at: usize) -> Template {
        let mut bytes = header(first, body.len());
        let start = bytes.len();
        bytes.extend(body.iter().enumerate().map(|(i, b)| b ^ MASK[i & 3]));
        Template {
            bytes,
            id_at: start + id_at,
            id_mask: std::array::from_fn(|i| MASK[(id_at + i) & 3]),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn push(&self, id: u64, out: &mut Vec<u8>) {
        let at = out.len() + self.id_at;
        out.extend_from_slice(&self.bytes);
        let text = digits(id);
        for (i, byte) in out[at..at + ID_DIGITS].iter_mut().enumerate() {
            *byte = text[i] ^ self.id_mask[i];
        }
    }
}

fn header(first: u8, len: usize) -> Vec<u8> {
    let mut out = vec![first];
    match len {
        0..=125 => out.push(0x80 | len as u8),
        126..=0xffff => {
            out.push(0x80 | 126);
            out.extend((len as u16).to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(MASK);
    out
}

/// The answer to a Close frame.
pub(crate) fn close(code: u16) -> Vec<u8> {
    let mut out = header(0x88, 2);
    out.extend(code.to_be_bytes().iter().zip(MASK).map(|(b, m)| b ^ m));
    out
}

/// What a server sent.
pub(crate) enum Incoming<'a> {
    Text(&'a [u8]),
    /// A text message that permessage-deflate has compressed.
    Deflated(&'a [u8]),
    /// The masked pong to answer with.
    Ping(Vec<u8>),
    Close(u16),
}

/// The first whole frame in `buf` and the number of bytes that it took, or `None` for too little.
pub(crate) fn next(buf: &[u8]) -> Result<Option<(Incoming<'_>, usize)>> {
    let [first, second, ..] = *buf else {
        return Ok(None);
    };
    let (len, start) = match second {
        0..=125 => (second as usize, 2),
        126 => match buf.get(2..4) {
            Some(&[a, b]) => (u16::from_be_bytes([a, b]) as usize, 4),
            _ => return Ok(None),
        },
        127 => match buf.get(2..10).and_then(|b| b.first_chunk::<8>()) {
            Some(bytes) => (u64::from_be_bytes(*bytes) as usize, 10),
            None => return Ok(None),
        },
        _ => return Err("a server must not mask".into()),
    };
    let Some(body) = buf.get(start..).and_then(|rest| rest.get(..len)) else {
        return Ok(None);
    };
    let incoming = match first {
        0x81 => Incoming::Text(body),
        0xc1 => Incoming::Deflated(body),
        0x89 => {
            let mut pong = header(0x8a, len);
            pong.extend(body.iter().enumerate().map(|(i, b)| b ^ MASK[i & 3]));
            Incoming::Ping(pong)
        }
        0x88 => Incoming::Close(
            body.first_chunk::<2>()
                .map_or(1005, |c| u16::from_be_bytes(*c)),
        ),
        _ => return Err(format!("unexpected frame, first byte {first:#x}").into()),
    };
    Ok(Some((incoming, start + len)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::{Payload, Shape};

    #[test]
    fn a_template_unmasks_to_the_message_with_its_id() {
        for size in [64, 125, 126, 1024, 65535, 65536] {
            let payload = Payload::new(Shape::String, size, 1).unwrap();
            let mut out = Vec::new();
            Template::new(&payload).push(payload.id(0, 7), &mut out);
            let start = out.len() - size;
            let text: Vec<u8> = (0..size).map(|i| out[start + i] ^ MASK[i & 3]).collect();
            let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(value["id"], payload.id(0, 7));
        }
    }

    #[test]
    fn a_frame_is_taken_only_when_it_is_whole() {
        let mut bytes = vec![0x81, 126, 1, 0];
        bytes.extend([b'a'; 256]);
        for cut in 0..bytes.len() {
            assert!(next(&bytes[..cut]).unwrap().is_none());
        }
        let (incoming, used) = next(&bytes).unwrap().unwrap();
        assert!(matches!(incoming, Incoming::Text(t) if t.len() == 256));
        assert_eq!(used, bytes.len());
        assert!(next(&[0x81, 0x80, 0, 0, 0, 0]).is_err());
    }
}
