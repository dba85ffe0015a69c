//! UTF-8 checked piece by piece.

use std::str::from_utf8;

/// Whether the whole is UTF-8.
pub fn is_utf8(bytes: &[u8]) -> bool {
    simdutf8::basic::from_utf8(bytes).is_ok()
}

/// A check of UTF-8 text that arrives in pieces cut anywhere, also inside a character. It fails at the first byte after
/// which no continuation can make the text valid.
#[derive(Clone, Copy, Debug, Default)]
pub struct Utf8 {
    cut: [u8; 3],
    len: u8,
}

/// The text is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUtf8;

impl Utf8 {
    /// Takes the next piece.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), InvalidUtf8> {
        let rest = self.complete(piece)?;
        match simdutf8::compat::from_utf8(rest) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(InvalidUtf8),
            Err(error) => {
                // What is left is the beginning of one character, so it has three bytes at most.
                for &byte in rest.iter().skip(error.valid_up_to()) {
                    self.push(byte)?;
                }
                Ok(())
            }
        }
    }

    /// The text ends here: an error if it ends inside a character.
    pub fn finish(self) -> Result<(), InvalidUtf8> {
        if self.len == 0 {
            Ok(())
        } else {
            Err(InvalidUtf8)
        }
    }

    /// Completes a character that the last piece cut, and gives what follows it.
    fn complete<'a>(&mut self, piece: &'a [u8]) -> Result<&'a [u8], InvalidUtf8> {
        let mut rest = piece;
        while self.len > 0 {
            let Some((&byte, after)) = rest.split_first() else {
                break;
            };
            rest = after;
            let have = usize::from(self.len);
            let mut character = [0; 4];
            character[..have].copy_from_slice(&self.cut[..have]);
            character[have] = byte;
            match from_utf8(&character[..=have]) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_some() => return Err(InvalidUtf8),
                Err(_) => self.push(byte)?,
            }
        }
        Ok(rest)
    }

    fn push(&mut self, byte: u8) -> Result<(), InvalidUtf8> {
        let slot = self.cut.get_mut(usize::from(self.len)).ok_or(InvalidUtf8)?;
        *slot = byte;
        self.len += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{InvalidUtf8, Utf8, from_utf8};

    fn check(pieces: &[&[u8]]) -> Result<(), InvalidUtf8> {
        let mut utf8 = Utf8::default();
        for piece in pieces {
            utf8.feed(piece)?;
        }
        utf8.finish()
    }

    #[test]
    fn any_cut_of_valid_text_is_valid() {
        let text = "a\u{e9}\u{4e2d}\u{1f41f}\u{10ffff}\u{7ff}\u{800}\u{d7ff}\u{e000}z".as_bytes();
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                assert_eq!(check(&pieces), Ok(()), "cut at {first} and {second}");
            }
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(check(&bytes), Ok(()));
    }

    #[test]
    fn fails_at_the_first_hopeless_byte() {
        let hopeless: [&[u8]; 7] = [
            b"\x80",
            b"\xc0",
            b"\xe0\x80",
            b"\xed\xa0",
            b"\xf4\x90",
            b"\xf5",
            b"ok\xe4\xb8\x41",
        ];
        for bytes in hopeless {
            let (last, before) = bytes.split_last().unwrap();
            let mut utf8 = Utf8::default();
            for byte in before {
                assert_eq!(utf8.feed(&[*byte]), Ok(()), "{bytes:x?}");
            }
            assert_eq!(utf8.feed(&[*last]), Err(InvalidUtf8), "{bytes:x?}");
            assert_eq!(Utf8::default().feed(bytes), Err(InvalidUtf8), "{bytes:x?}");
        }
    }

    /// Pieces that are long enough for vector instructions: whatever stands where, the first piece fails if no continuation helps it.
    #[test]
    fn long_pieces_fail_where_they_are_hopeless() {
        let text = "\u{4e2d}a\u{1f41f}\u{e9}bc".repeat(30).into_bytes();
        for place in (150..text.len()).step_by(if cfg!(miri) { 7 } else { 1 }) {
            for byte in [b'x', 0x80, 0xc3, 0xe4, 0xed, 0xf0, 0xff] {
                let mut bytes = text.clone();
                bytes[place] = byte;
                for cut in [place, place + 1, place + 2, bytes.len()] {
                    let Some((piece, after)) = bytes.split_at_checked(cut) else {
                        continue;
                    };
                    let mut utf8 = Utf8::default();
                    let error = from_utf8(piece).err();
                    let is_hopeless = error.is_some_and(|e| e.error_len().is_some());
                    assert_eq!(
                        utf8.feed(piece).is_err(),
                        is_hopeless,
                        "{place} {byte:x} {cut}"
                    );
                    if !is_hopeless {
                        let whole = utf8.feed(after).and_then(|()| utf8.finish());
                        assert_eq!(
                            whole.is_ok(),
                            from_utf8(&bytes).is_ok(),
                            "{place} {byte:x} {cut}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn must_not_end_inside_a_character() {
        for bytes in [&b"\xc3"[..], b"\xe4\xb8", b"\xf0\x9f\x90"] {
            assert_eq!(check(&[bytes]), Err(InvalidUtf8));
        }
    }
}
