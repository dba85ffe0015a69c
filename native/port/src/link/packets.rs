//! What comes over the link: packets of sections, and pieces of those that are large.
//!
//! Nothing here reads or writes a socket. The other side may send anything: all of it is bounded and checked.

use crate::link::kinds::{LAST, MORE};
use crate::world::SCALE;
use crate::world::collections::HashMap;

/// Bytes of a packet, without its length.
pub const PACKET: usize = (1 << 20) / SCALE;
/// Bytes of a body that is not cut, and of a piece.
pub const PIECE: usize = 256 * 1024 / SCALE;
/// Bodies that may come in pieces at a time.
const STREAMS: usize = 64;
/// Bytes of all bodies that are not complete.
const HELD: usize = (2 << 30) + (1 << 20);

/// Kind and size.
pub(crate) const HEAD: usize = 5;

/// The other side does not keep to the protocol: how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken(pub &'static str);

/// Sections that come, put together.
#[derive(Default)]
pub struct Incoming {
    buffer: Vec<u8>,
    parts: HashMap<u32, Vec<u8>>,
    held: usize,
}

fn be32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*head), rest))
}

impl Incoming {
    /// Where what is read goes, with room for some.
    pub fn room(&mut self) -> &mut Vec<u8> {
        self.buffer.reserve(64 * 1024);
        &mut self.buffer
    }

    /// Whether nothing is left that is not complete.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.parts.is_empty()
    }

    /// The next packet that is complete, at most so long: for the first one, which has no sections.
    pub fn packet(&mut self, most: usize) -> Result<Option<Vec<u8>>, Broken> {
        let Some((len, rest)) = be32(&self.buffer) else {
            return Ok(None);
        };
        let len = len as usize;
        if len > most {
            return Err(Broken("a packet is too long"));
        }
        let Some(packet) = rest.get(..len) else {
            return Ok(None);
        };
        let packet = packet.to_vec();
        self.buffer.drain(..4 + len);
        Ok(Some(packet))
    }

    /// Hands out the sections of all packets that are complete: kind and body.
    pub fn sections(
        &mut self,
        mut take: impl FnMut(u8, &[u8]) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        let buffer = std::mem::take(&mut self.buffer);
        let mut rest = buffer.as_slice();
        while let Some((len, behind)) = be32(rest) {
            let len = len as usize;
            if len == 0 || len > PACKET {
                return Err(Broken("a packet has no or too many bytes"));
            }
            let Some((packet, behind)) = behind.split_at_checked(len) else {
                break;
            };
            self.split(packet, &mut take)?;
            rest = behind;
        }
        let left = rest.len();
        self.buffer = buffer;
        let read = self.buffer.len() - left;
        self.buffer.drain(..read);
        Ok(())
    }

    fn split(
        &mut self,
        mut packet: &[u8],
        take: &mut impl FnMut(u8, &[u8]) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        while let [kind, rest @ ..] = packet {
            let section = be32(rest).and_then(|(size, rest)| rest.split_at_checked(size as usize));
            let (body, behind) = section.ok_or(Broken("a section leaves its packet"))?;
            packet = behind;
            match *kind {
                MORE => self.piece(body)?,
                LAST => {
                    let (stream, rest) = be32(body).ok_or(Broken("a piece is cut"))?;
                    let [kind, last @ ..] = rest else {
                        return Err(Broken("a piece is cut"));
                    };
                    let mut whole = self.parts.remove(&stream).unwrap_or_default();
                    self.held -= whole.len();
                    whole.extend_from_slice(last);
                    take(*kind, &whole)?;
                }
                kind => take(kind, body)?,
            }
        }
        Ok(())
    }

    fn piece(&mut self, body: &[u8]) -> Result<(), Broken> {
        let (stream, piece) = be32(body).ok_or(Broken("a piece is cut"))?;
        if piece.len() > PIECE {
            return Err(Broken("a piece is too long"));
        }
        self.held += piece.len();
        if self.held > HELD {
            return Err(Broken("too many bytes in pieces"));
        }
        if self.parts.len() >= STREAMS && !self.parts.contains_key(&stream) {
            return Err(Broken("too many bodies in pieces"));
        }
        self.parts
            .entry(stream)
            .or_default()
            .extend_from_slice(piece);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(packet: &[u8]) -> Broken {
        let mut incoming = Incoming::default();
        incoming
            .room()
            .extend_from_slice(&(packet.len() as u32).to_be_bytes());
        incoming.room().extend_from_slice(packet);
        incoming.sections(|_, _| Ok(())).unwrap_err()
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(refused(&[]).0, "a packet has no or too many bytes");
        for packet in [&[1][..], &[1, 0, 0, 0, 1], &[1, 255, 255, 255, 255, 0]] {
            assert_eq!(refused(packet).0, "a section leaves its packet");
        }
        for packet in [&[8, 0, 0, 0, 0][..], &[9, 0, 0, 0, 4, 0, 0, 0, 0]] {
            assert_eq!(refused(packet).0, "a piece is cut");
        }
        let mut incoming = Incoming::default();
        let len = (PACKET as u32 + 1).to_be_bytes();
        incoming.room().extend_from_slice(&len);
        assert!(incoming.sections(|_, _| Ok(())).is_err(), "told at once");
        let most = (PACKET as u32).to_be_bytes();
        let mut incoming = Incoming::default();
        incoming.room().extend_from_slice(&most);
        assert_eq!(incoming.sections(|_, _| Ok(())), Ok(()), "not there yet");
    }

    #[test]
    fn bodies_in_pieces_are_bounded() {
        let piece = |stream: u32| {
            let mut section = vec![8, 0, 0, 0, 4];
            section.extend_from_slice(&stream.to_be_bytes());
            section
        };
        let packet: Vec<_> = (0..STREAMS as u32).flat_map(piece).collect();
        let mut incoming = Incoming::default();
        assert_eq!(incoming.split(&packet, &mut |_, _| Ok(())), Ok(()));
        assert!(incoming.split(&piece(63), &mut |_, _| Ok(())).is_ok());
        assert!(incoming.split(&piece(64), &mut |_, _| Ok(())).is_err());
    }
}
