//! The body of a request: where it ends, and what of it is content, beside a reading of chunks in a few lines.

use sockeye_protocol::handshake::{BodyError, BodyReader, HeadLimits, Request};

use crate::Choices;
use crate::request::limits;

/// Bytes 0 and 1: limits, as for a request. Byte 2: bit 0 set for chunks; else a length, and byte 3 is which. Byte 4: the size
/// of a cut. The rest is the body, and what follows it.
pub fn check(data: &[u8]) {
    let mut choices = Choices(data);
    let limits = limits(&mut choices);
    let (form, length, cut) = (choices.byte(), choices.byte(), choices.byte());
    let bytes = choices.0;
    let chunked = form & 1 == 1;
    let framing = match chunked {
        true => "Transfer-Encoding: chunked".to_owned(),
        false => format!("Content-Length: {}", length_of(bytes, length)),
    };
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
    let parsed = Request::parse(head.as_bytes(), &HeadLimits::default());
    let (request, end) = parsed.expect("a request").expect("all of it");
    assert_eq!(end, head.len());
    let whole = read(&request, &limits, bytes, bytes.len().max(1));
    for size in [1, usize::from(cut) + 1] {
        assert_eq!(read(&request, &limits, bytes, size), whole, "{size}");
    }
    match (whole, chunked) {
        (Ok((content, taken, done)), true) => {
            let expected = chunks(bytes);
            let (there, rest) = expected.expect("chunks for us, and for nobody else");
            assert_eq!(content, there);
            assert_eq!(rest.map(|rest| bytes.len() - rest), done.then_some(taken));
            assert!(done || taken == bytes.len());
        }
        (Err(BodyError), true) => {
            // Within any limits, both refuse the same.
            let wide = HeadLimits {
                max_head_size: usize::MAX,
                max_headers: usize::MAX,
            };
            let wide = read(&request, &wide, bytes, bytes.len().max(1));
            assert_eq!(wide.is_err(), chunks(bytes).is_none());
        }
        (Ok((content, taken, done)), false) => {
            let length = length_of(bytes, length);
            assert_eq!(content, &bytes[..length.min(bytes.len())]);
            assert_eq!((taken, done), (content.len(), length <= bytes.len()));
        }
        (Err(BodyError), false) => panic!("a length cannot be wrong"),
    }
}

/// Around what there is.
fn length_of(bytes: &[u8], choice: u8) -> usize {
    (bytes.len() + usize::from(choice)).saturating_sub(128)
}

type Read = Result<(Vec<u8>, usize, bool), BodyError>;

/// The content, how much of the bytes is the body, and whether it has ended.
fn read(request: &Request, limits: &HeadLimits, bytes: &[u8], size: usize) -> Read {
    let mut reader = BodyReader::new(request, limits);
    let (mut content, mut taken) = (Vec::new(), 0);
    for piece in bytes.chunks(size) {
        let mut rest = piece;
        while !rest.is_empty() && !reader.is_done() {
            let expected = reader.expected();
            let found = reader.read(rest)?;
            assert!(0 < found.taken && found.taken <= rest.len(), "no progress");
            assert!(found.content.end <= found.taken);
            assert!(found.content.is_empty() || found.content.end == found.taken);
            assert!(expected == 0 || found.content.len() as u64 <= expected);
            content.extend_from_slice(&rest[found.content]);
            taken += found.taken;
            rest = &rest[found.taken..];
        }
    }
    Ok((content, taken, reader.is_done()))
}

/// RFC 9112, 7.1 as it reads, but for spaces before an extension, which are let pass: the content, and how many bytes are
/// behind the body if it has ended. None if it is malformed.
fn chunks(bytes: &[u8]) -> Option<(Vec<u8>, Option<usize>)> {
    let mut content = Vec::new();
    let mut rest = bytes;
    loop {
        let (line, behind) = match line(rest)? {
            Some(found) => found,
            None => {
                let digits = rest.iter().take_while(|b| b.is_ascii_hexdigit()).count();
                let extends = rest.get(digits).is_none_or(|b| b";\t \r".contains(b));
                let well = rest.is_empty() || (1..=15).contains(&digits) && extends;
                return well.then_some((content, None));
            }
        };
        let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let extends = line.get(digits).is_none_or(|b| b";\t ".contains(b));
        if !(1..=15).contains(&digits) || !extends {
            return None;
        }
        let size = str::from_utf8(&line[..digits]).ok()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        rest = behind;
        if size == 0 {
            break;
        }
        let here = size.min(rest.len());
        content.extend_from_slice(&rest[..here]);
        rest = match &rest[here..] {
            [] | [b'\r'] => return Some((content, None)),
            [b'\r', b'\n', behind @ ..] => behind,
            _ => return None,
        };
    }
    loop {
        let Some((trailer, behind)) = line(rest)? else {
            let name = rest.split(|b| *b == b':').next().unwrap_or_default();
            let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
            let well = match rest {
                [] | [b'\r'] => true,
                _ if name.len() == rest.len() => name.iter().all(token),
                _ => !name.is_empty() && name.iter().all(token),
            };
            return well.then_some((content, None));
        };
        rest = behind;
        if trailer.is_empty() {
            return Some((content, Some(rest.len())));
        }
        let name = &trailer[..trailer.iter().position(|b| *b == b':')?];
        let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
        if name.is_empty() || !name.iter().all(token) {
            return None;
        }
    }
}

/// A line and what is behind it; `Some(None)` if its end is not there yet, None if it has a byte that must not be in one.
#[allow(clippy::option_option)]
fn line(bytes: &[u8]) -> Option<Option<(&[u8], &[u8])>> {
    let end = bytes
        .iter()
        .position(|&b| b != b'\t' && (b < b' ' || b == 0x7f));
    match end.map(|end| (end, &bytes[end..])) {
        None | Some((_, [b'\r'])) => Some(None),
        Some((end, [b'\r', b'\n', behind @ ..])) => Some(Some((&bytes[..end], behind))),
        Some(_) => None,
    }
}
