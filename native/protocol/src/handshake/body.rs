//! The body of a request of HTTP/1, sans I/O: where it ends, and what of the bytes is content.

use std::ops::Range;

use super::head::{HeadLimits, is_token_byte, is_value_byte};
use super::request::Request;

/// How far into a body its reader is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyReader {
    state: BodyState,
    /// Bytes beside the content that may still come: extensions of chunks, and trailers.
    extra: usize,
    /// Trailers that may still come.
    trailers: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyState {
    /// So many bytes of a body whose length is known.
    Length(u64),
    /// The digits of a chunk's size: how many so far, and their value.
    Size(u8, u64),
    Extension(u64),
    SizeLf(u64),
    /// So many bytes of a chunk.
    Chunk(u64),
    ChunkCr,
    ChunkLf,
    /// The beginning of a line behind the last chunk.
    Line,
    Name,
    Value,
    ValueLf,
    LastLf,
    Done,
}

/// The body breaks the rules: its end cannot be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyError;

/// What was found in a piece of input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyPiece {
    /// Bytes that belong to the body, of which the caller is done with all beyond `content`.
    pub taken: usize,
    /// Those that are content, at the end of what was taken; empty if there are none.
    pub content: Range<usize>,
}

/// Digits of a chunk's size: more would not fit any body.
const SIZE_DIGITS: u8 = 15;

impl BodyReader {
    /// For the body that follows this head. Extensions and trailers are bounded as heads are.
    pub fn new(request: &Request, limits: &HeadLimits) -> Self {
        let state = match (request.is_chunked(), request.content_length()) {
            (true, _) => BodyState::Size(0, 0),
            (false, 0) => BodyState::Done,
            (false, length) => BodyState::Length(length),
        };
        BodyReader {
            state,
            extra: limits.max_head_size,
            trailers: limits.max_headers,
        }
    }

    /// Whether the body has ended.
    pub fn is_done(&self) -> bool {
        self.state == BodyState::Done
    }

    /// Whether what is expected is all that comes.
    pub fn is_exact(&self) -> bool {
        matches!(self.state, BodyState::Length(_) | BodyState::Done)
    }

    /// How many bytes of content are known to come. In chunks more may follow.
    pub fn expected(&self) -> u64 {
        match self.state {
            BodyState::Length(left)
            | BodyState::Chunk(left)
            | BodyState::SizeLf(left)
            | BodyState::Extension(left) => left,
            _ => 0,
        }
    }

    /// Looks at what has arrived behind what was taken so far. All of `input` is taken unless content was found, or the
    /// body ends in it.
    pub fn read(&mut self, input: &[u8]) -> Result<BodyPiece, BodyError> {
        let mut at = 0;
        loop {
            if let BodyState::Length(left) | BodyState::Chunk(left) = self.state {
                let here = input.len() - at;
                let length = usize::try_from(left).map_or(here, |left| left.min(here));
                let left = left - length as u64;
                self.state = match self.state {
                    BodyState::Length(_) if left == 0 => BodyState::Done,
                    BodyState::Length(_) => BodyState::Length(left),
                    _ if left == 0 => BodyState::ChunkCr,
                    _ => BodyState::Chunk(left),
                };
                return Ok(BodyPiece {
                    taken: at + length,
                    content: at..at + length,
                });
            }
            let (false, Some(&byte)) = (self.is_done(), input.get(at)) else {
                return Ok(BodyPiece {
                    taken: at,
                    content: at..at,
                });
            };
            self.state = self.step(byte)?;
            at += 1;
        }
    }

    /// One byte that is no content. Only CR LF ends a line: what proxies and servers disagree about ends the connection.
    fn step(&mut self, byte: u8) -> Result<BodyState, BodyError> {
        Ok(match (self.state, byte) {
            (BodyState::Size(digits, size), _)
                if byte.is_ascii_hexdigit() && digits < SIZE_DIGITS =>
            {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                BodyState::Size(digits + 1, size * 16 + u64::from(digit))
            }
            (BodyState::Size(1.., size) | BodyState::Extension(size), b'\r') => {
                BodyState::SizeLf(size)
            }
            (BodyState::Size(1.., size), b';' | b' ' | b'\t') => BodyState::Extension(size),
            (BodyState::Extension(size), _) if is_value_byte(byte) => {
                self.spend()?;
                BodyState::Extension(size)
            }
            (BodyState::SizeLf(0), b'\n') => BodyState::Line,
            (BodyState::SizeLf(size), b'\n') => BodyState::Chunk(size),
            (BodyState::ChunkCr, b'\r') => BodyState::ChunkLf,
            (BodyState::ChunkLf, b'\n') => BodyState::Size(0, 0),
            (BodyState::Line, b'\r') => BodyState::LastLf,
            (BodyState::Line, _) if is_token_byte(byte) => {
                self.trailers = self.trailers.checked_sub(1).ok_or(BodyError)?;
                BodyState::Name
            }
            (BodyState::Name, b':') => BodyState::Value,
            (BodyState::Name, _) if is_token_byte(byte) => {
                self.spend()?;
                BodyState::Name
            }
            (BodyState::Value, b'\r') => BodyState::ValueLf,
            (BodyState::Value, _) if is_value_byte(byte) => {
                self.spend()?;
                BodyState::Value
            }
            (BodyState::ValueLf, b'\n') => BodyState::Line,
            (BodyState::LastLf, b'\n') => BodyState::Done,
            _ => return Err(BodyError),
        })
    }

    fn spend(&mut self) -> Result<(), BodyError> {
        self.extra = self.extra.checked_sub(1).ok_or(BodyError)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reader(lines: &str) -> BodyReader {
        limited(lines, &HeadLimits::default())
    }

    fn limited(lines: &str, limits: &HeadLimits) -> BodyReader {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
        let parsed = Request::parse(head.as_bytes(), &HeadLimits::default());
        BodyReader::new(&parsed.unwrap().unwrap().0, limits)
    }

    fn chunked() -> BodyReader {
        reader("Transfer-Encoding: chunked")
    }

    /// The content of all pieces, and how much was taken.
    fn read(mut reader: BodyReader, pieces: &[&[u8]]) -> Result<(Vec<u8>, usize, bool), BodyError> {
        let (mut content, mut taken) = (Vec::new(), 0);
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() && !reader.is_done() {
                let found = reader.read(rest)?;
                assert!(found.taken > 0, "no progress");
                content.extend_from_slice(&rest[found.content]);
                taken += found.taken;
                rest = &rest[found.taken..];
            }
        }
        Ok((content, taken, reader.is_done()))
    }

    #[test]
    fn bodies_end_where_they_should() {
        let next = b"GET / HTTP/1.1\r\n";
        for (lines, body, content) in [
            ("X: y", &b""[..], &b""[..]),
            ("Content-Length: 0", b"", b""),
            ("Content-Length: 5", b"hello", b"hello"),
            ("Transfer-Encoding: chunked", b"0\r\n\r\n", b""),
            (
                "Transfer-Encoding: CHUNKED",
                b"5\r\nhello\r\n00001\r\n!\r\n000\r\n\r\n",
                b"hello!",
            ),
            (
                "Transfer-Encoding: ,chunked,",
                b"a;x=\"\xe4;\"\r\n0123456789\r\n0 ;y\r\nX:\r\nY: z\r\nExpires: never\r\n\r\n",
                b"0123456789",
            ),
        ] {
            let all = [body, next].concat();
            let whole = Ok((content.to_vec(), body.len(), true));
            assert_eq!(read(reader(lines), &[&all]), whole, "{lines}");
            let bytes: Vec<&[u8]> = all.chunks(1).collect();
            assert_eq!(read(reader(lines), &bytes), whole, "{lines}, byte by byte");
            for cut in 0..body.len() {
                let got = read(reader(lines), &[&body[..cut]]).unwrap();
                assert!(!got.2, "{lines}: done at {cut}");
            }
        }
    }

    /// What is told of a body before it has come.
    #[test]
    fn how_much_is_expected() {
        let told = |reader: &BodyReader| (reader.is_exact(), reader.expected());
        assert_eq!(told(&reader("X: y")), (true, 0));
        let mut five = reader("Content-Length: 5");
        for left in (0..5).rev() {
            assert_eq!(told(&five), (true, left + 1));
            assert_eq!(five.read(b"x").map(|found| found.taken), Ok(1));
        }
        assert_eq!(told(&five), (true, 0));
        let mut chunks = chunked();
        for (bytes, expected) in [
            (&b"1"[..], 0),
            (b"2;", 18),
            (b"x\r", 18),
            (b"\n", 18),
            (b"y", 17),
        ] {
            assert_eq!(chunks.read(bytes).map(|found| found.taken), Ok(bytes.len()));
            assert_eq!(told(&chunks), (false, expected), "behind {bytes:?}");
        }
        assert_eq!(chunks.read(&[b'y'; 17]).map(|found| found.taken), Ok(17));
        assert_eq!(told(&chunks), (false, 0));
        assert!(chunks.read(b"\r\n0\r\n\r\n").is_ok());
        assert_eq!(told(&chunks), (true, 0));
    }

    #[test]
    fn ambiguous_requests_are_refused() {
        for body in [
            &b"\r\n"[..],
            b"5\nhello",
            b"5\r\nhello\n",
            b"5\r\nhelloX",
            b"0\r\n\n",
            b"0\n\r\n",
            b"0\r\nX: y\n\r\n",
            b"0\r\nX: y\r\n\n",
            b"0\r\nX\r\n",
            b"0\r\n: y\r\n",
            b"0\r\nX : y\r\n",
            b"0\r\n Y: z\r\n",
            b"0\r\nX: \0\r\n",
            b"-1\r\n",
            b"+1\r\n",
            b"0x1\r\n",
            b" 1\r\n",
            b"g\r\n",
            b";\r\n",
            b"1;a\n",
            b"1;\x7f",
            b"1\r\r\n",
            b"1000000000000000\r\n",
        ] {
            assert_eq!(read(chunked(), &[body]), Err(BodyError), "{body:?}");
        }
    }

    #[test]
    fn chunk_extensions_and_trailers_are_bounded() {
        let limits = HeadLimits {
            max_head_size: 10,
            max_headers: 3,
        };
        let chunked = || limited("Transfer-Encoding: chunked", &limits);
        for (count, allowed) in [(9, true), (10, true), (11, false)] {
            let extension = format!("1;{}\r\n", "x".repeat(count));
            let got = read(chunked(), &[extension.as_bytes()]);
            assert_eq!(got.is_ok(), allowed, "extension of {count}");
            let trailer = format!("0\r\nx:{}\r\n", "y".repeat(count));
            let got = read(chunked(), &[trailer.as_bytes()]);
            assert_eq!(got.is_ok(), allowed, "trailer of {count}");
            // The first byte of a name is not counted, since trailers are.
            let trailer = format!("0\r\nx{}:\r\n", "y".repeat(count));
            let got = read(chunked(), &[trailer.as_bytes()]);
            assert_eq!(got.is_ok(), allowed, "name of {count} more");
        }
        for (count, allowed) in [(2, true), (3, true), (4, false)] {
            let trailers = format!("0\r\n{}", "x:\r\n".repeat(count));
            let got = read(chunked(), &[trailers.as_bytes()]);
            assert_eq!(got.is_ok(), allowed, "{count} trailers");
        }
    }

    proptest! {
        /// Content comes back, however it was cut into chunks and however they arrive.
        #[test]
        fn chunks_come_back(parts in prop::collection::vec("[ -~]{1,20}", 0..6), cut in 1usize..9) {
            let mut body: Vec<u8> = parts.iter()
                .flat_map(|part| format!("{:x}\r\n{part}\r\n", part.len()).into_bytes())
                .collect();
            body.extend_from_slice(b"0\r\n\r\n");
            let pieces: Vec<&[u8]> = body.chunks(cut).collect();
            let (content, taken, done) = read(chunked(), &pieces).unwrap();
            prop_assert_eq!((content, taken, done), (parts.concat().into_bytes(), body.len(), true));
        }

        /// Whatever arrives is refused, or taken to the last byte.
        #[test]
        fn nothing_is_left_over(body in "([0-9a-f]{1,2}|\r\n|\n|;|x:|y| ){0,20}") {
            let mut reader = chunked();
            let mut rest = body.as_bytes();
            while !rest.is_empty() && !reader.is_done() {
                match reader.read(rest) {
                    Ok(found) => {
                        prop_assert!(found.taken > 0 && found.content.end <= found.taken);
                        rest = &rest[found.taken..];
                    }
                    Err(BodyError) => break,
                }
            }
        }
    }
}
