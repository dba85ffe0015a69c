//! Frame headers, read and judged.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;

use crate::config::Role;
use crate::error::Violation;
use crate::frame::Op;

/// The longest frame header.
pub(crate) const MAX_HEAD: usize = 14;

/// The RSV bits as they lie in the first byte of a frame.
const RSV: u8 = 0x70;

/// The header of an incoming frame that broke no rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) op: Op,
    pub(crate) fin: bool,
    /// Bytes of the payload.
    pub(crate) len: u64,
    pub(crate) mask: Option<[u8; 4]>,
    /// Bytes of the header itself.
    pub(crate) size: usize,
}

impl Head {
    /// Reads a header from the beginning of `bytes`; `None` when it is cut, but a breach that shows already is reported.
    /// `extensions` are the RSV bits that were negotiated.
    #[inline]
    pub(crate) fn parse(
        bytes: &[u8],
        role: Role,
        extensions: u8,
    ) -> Result<Option<Head>, Violation> {
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        let op = Op::from_bits(first & 0x0f).ok_or(Violation::ReservedOpcode(first & 0x0f))?;
        // An extension marks a message, and does so on its first frame.
        let explained = if matches!(op, Op::Text | Op::Binary) {
            extensions
        } else {
            0
        };
        if first & RSV & !explained != 0 {
            return Err(Violation::ReservedBits);
        }
        if op.is_control() && first & 0x80 == 0 {
            return Err(Violation::FragmentedControl);
        }
        let Some(&second) = bytes.get(1) else {
            return Ok(None);
        };
        match (role, second & 0x80 != 0) {
            (Role::Server, false) => return Err(Violation::Unmasked),
            (Role::Client, true) => return Err(Violation::Masked),
            _ => {}
        }
        if op.is_control() && second & 0x7f > 125 {
            return Err(Violation::LongControl);
        }
        let mut cursor = Cursor::new(bytes);
        let Ok(parsed) = FrameHeader::parse(&mut cursor) else {
            return Err(Violation::ReservedOpcode(first & 0x0f));
        };
        let Some((header, len)) = parsed else {
            return Ok(None);
        };
        match second & 0x7f {
            126 if len < 126 => return Err(Violation::WastefulLength),
            127 if len <= 0xffff => return Err(Violation::WastefulLength),
            127 if len >> 63 != 0 => return Err(Violation::LengthOverflow),
            _ => {}
        }
        Ok(Some(Head {
            op,
            fin: header.is_final,
            len,
            mask: header.mask,
            size: cursor.position() as usize,
        }))
    }
}
