//! permessage-deflate for a load generator: compressed once, patched for each message.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::Result;
use crate::payload::{ID_DIGITS, Payload};

/// What a sync flush ends with and a message leaves out (RFC 7692, 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Small enough for what any of the servers asks of its clients.
const WINDOW_BITS: u8 = 12;

/// The compressed message, and where the ten digits of its id lie in it.
///
/// The text up to the id goes as it is, in a stored block of its own, so that a new id needs no new compression: the
/// generator must stay cheaper than what it measures.
pub(crate) fn body(payload: &Payload) -> Result<(Vec<u8>, usize)> {
    let (plain, rest) = payload.text.split_at(payload.id_at + ID_DIGITS);
    let len = u16::try_from(plain.len())?;
    let mut out = vec![0];
    out.extend(len.to_le_bytes());
    out.extend((!len).to_le_bytes());
    let id_at = out.len() + payload.id_at;
    out.extend_from_slice(plain);
    let mut compress = Compress::new_with_window_bits(Compression::default(), false, WINDOW_BITS);
    out.reserve(rest.len() + 1024);
    compress.compress_vec(rest, &mut out, FlushCompress::Sync)?;
    if compress.total_in() != rest.len() as u64 || !out.ends_with(&TAIL) {
        return Err("the message did not compress in one piece".into());
    }
    out.truncate(out.len() - TAIL.len());
    Ok((out, id_at))
}

/// Inflates the replies of one connection, whether the server keeps its window or not.
pub(crate) struct Inflater {
    inflate: Decompress,
    out: Vec<u8>,
}

impl Inflater {
    /// For messages of at most `size` bytes.
    pub(crate) fn new(size: usize) -> Self {
        Inflater {
            inflate: Decompress::new(false),
            out: Vec::with_capacity(size + 64),
        }
    }

    pub(crate) fn message(&mut self, body: &[u8]) -> Result<&[u8]> {
        self.out.clear();
        for piece in [body, &TAIL] {
            let before = self.inflate.total_in();
            self.inflate
                .decompress_vec(piece, &mut self.out, FlushDecompress::Sync)?;
            if self.inflate.total_in() - before != piece.len() as u64 {
                return Err("a reply that does not inflate to what was sent".into());
            }
        }
        Ok(&self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::{Shape, digits};

    #[test]
    fn a_patched_message_inflates_to_the_text_with_its_id() {
        for size in [64, 1024, 65536] {
            let payload = Payload::new(Shape::Records, size, 1).unwrap();
            let (mut body, id_at) = body(&payload).unwrap();
            let id = payload.id(0, 12345);
            body[id_at..id_at + ID_DIGITS].copy_from_slice(&digits(id));
            let mut inflater = Inflater::new(size);
            for _ in 0..3 {
                let text = inflater.message(&body).unwrap();
                let value: serde_json::Value = serde_json::from_slice(text).unwrap();
                assert_eq!(value["id"], id);
                assert_eq!(text.len(), size);
            }
        }
    }
}
