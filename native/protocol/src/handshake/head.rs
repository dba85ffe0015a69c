//! What requests and responses share: where a head ends, and its headers.

/// Bounds on the head of a request or response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes up to and with the empty line. Default 16 KiB.
    pub max_head_size: usize,
    /// Header lines. Default 100.
    pub max_headers: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        HeadLimits {
            max_head_size: 16 * 1024,
            max_headers: Self::USUAL_HEADERS,
        }
    }
}

impl HeadLimits {
    pub(super) const USUAL_HEADERS: usize = 100;
}

/// Header fields in the order of their arrival. Names are in lower case; values are trimmed and may hold any byte but
/// control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    // One buffer for all, so that a request costs few allocations.
    text: Vec<u8>,
    fields: Vec<Field>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    name: usize,
    value: usize,
    end: usize,
}

impl Headers {
    pub(super) fn copy(fields: &[httparse::Header<'_>]) -> Self {
        let mut headers = Headers {
            text: Vec::with_capacity(fields.iter().map(|f| f.name.len() + f.value.len()).sum()),
            fields: Vec::with_capacity(fields.len()),
        };
        for field in fields {
            headers.push(field.name, field.value);
        }
        headers
    }

    pub(super) fn push(&mut self, name: &str, value: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(name.as_bytes());
        self.text[start..].make_ascii_lowercase();
        let middle = self.text.len();
        self.text.extend_from_slice(value.trim_ascii());
        let end = self.text.len();
        self.fields.push(Field {
            name: start,
            value: middle,
            end,
        });
    }

    /// Gives a field that is there another value.
    pub(super) fn replace(&mut self, name: &str, value: &[u8]) {
        let Some(at) = self.iter().position(|(other, _)| other == name) else {
            return self.push(name, value);
        };
        self.push(name, value);
        self.fields.swap_remove(at);
    }

    /// Makes one field of all lines of this name, in the place of the first, with `separator` between their values.
    pub(super) fn join(&mut self, name: &str, separator: &[u8]) {
        let is_one = |(at, (other, _)): (usize, (&str, _))| (other == name).then_some(at);
        let lines: Vec<usize> = self.iter().enumerate().filter_map(is_one).collect();
        let [first, _, ..] = lines[..] else {
            return;
        };
        let joined = self.all(name).collect::<Vec<_>>().join(separator);
        self.push(name, &joined);
        self.fields.swap_remove(first);
        let mut at = 0..;
        self.fields.retain(|_| {
            at.next()
                .is_none_or(|at| at == first || lines.binary_search(&at).is_err())
        });
    }

    /// All fields, names in lower case.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|field| {
            let name = &self.text[field.name..field.value];
            // A header name is ASCII, or it would not have been parsed.
            let name = str::from_utf8(name).unwrap_or_default();
            (name, &self.text[field.value..field.end])
        })
    }

    /// The values of a field, whose name is compared without regard to case.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        // As bytes: a request is asked for a dozen names.
        let named = |field: &&Field| {
            self.text[field.name..field.value].eq_ignore_ascii_case(name.as_bytes())
        };
        let fields = self.fields.iter().filter(named);
        fields.map(|field| &self.text[field.value..field.end])
    }

    /// The first value of a field.
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// How many times a field occurs.
    pub fn count(&self, name: &str) -> usize {
        self.all(name).count()
    }

    /// The elements of a field that is a comma-separated list, over all its lines.
    pub fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.all(name)
            .flat_map(|value| value.split(|&byte| byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|element| !element.is_empty())
    }

    /// Whether such a list holds a token, without regard to case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.list(name)
            .any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    }
}

/// Whether a header may be written: a token as the name, no control character in the value.
pub fn is_valid_header(name: &str, value: &str) -> bool {
    is_token(name.as_bytes()) && is_valid_value(value.as_bytes())
}

pub(super) fn is_valid_value(value: &[u8]) -> bool {
    value.iter().all(|&b| is_value_byte(b))
}

/// Whether a byte may stand in the value of a header.
pub(super) fn is_value_byte(byte: u8) -> bool {
    !is_control(byte)
}

pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| is_token_byte(b))
}

/// Whether a byte may stand in the name of a header.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Appends header lines, without those that could not be written safely.
pub(super) fn write_headers(out: &mut Vec<u8>, headers: &[(String, String)], reserved: &[&str]) {
    for (name, value) in headers {
        let taken = reserved.iter().any(|r| r.eq_ignore_ascii_case(name));
        if !taken && is_valid_header(name, value) {
            write_header(out, name, value);
        }
    }
}

pub(super) fn write_header(out: &mut Vec<u8>, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Why the bytes cannot be the head of an HTTP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadError {
    /// A line ending that is not CR LF, or a control character: what proxies and servers disagree about.
    Malformed,
    /// The first line alone goes beyond the limit.
    LongLine,
    /// All of it goes beyond the limit.
    TooLarge,
    /// It has too many header lines.
    TooMany,
}

/// The length of the head at the beginning of `bytes`, once its empty line has arrived.
pub(super) fn find_end(bytes: &[u8], limits: &HeadLimits) -> Result<Option<usize>, HeadError> {
    let seen = &bytes[..bytes.len().min(limits.max_head_size)];
    let mut line = 0;
    let mut first_line = true;
    while let Some(length) = seen[line..].iter().position(|&b| is_control(b)) {
        let at = line_end(&seen[line..], length)?;
        match at {
            None => break,
            Some(0) if first_line => return Err(HeadError::Malformed),
            Some(0) => return Ok(Some(line + 2)),
            Some(length) => line += length + 2,
        }
        first_line = false;
    }
    match (bytes.len() >= limits.max_head_size, first_line) {
        (false, _) => Ok(None),
        (true, true) => Err(HeadError::LongLine),
        (true, false) => Err(HeadError::TooLarge),
    }
}

/// Where a line ends, `None` if that has not arrived.
fn line_end(line: &[u8], control: usize) -> Result<Option<usize>, HeadError> {
    match (line.get(control), line.get(control + 1)) {
        (Some(b'\r'), None) => Ok(None),
        (Some(b'\r'), Some(b'\n')) => Ok(Some(control)),
        _ => Err(HeadError::Malformed),
    }
}

/// Control characters but the tab, which may stand in a value.
fn is_control(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(bytes: &[u8]) -> Result<Option<usize>, HeadError> {
        find_end(bytes, &HeadLimits::default())
    }

    #[test]
    fn finds_the_empty_line_and_nothing_before() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for cut in 0..head.len() {
            assert_eq!(end(&head[..cut]), Ok(None), "cut at {cut}");
        }
        assert_eq!(end(head), Ok(Some(head.len())));
        let mut more = head.to_vec();
        more.extend_from_slice(b"\x81\x00\n\n");
        assert_eq!(end(&more), Ok(Some(head.len())));
    }

    #[test]
    fn only_cr_lf_ends_a_line() {
        for bytes in [
            &b"GET / HTTP/1.1\nHost: a\n\n"[..],
            b"GET / HTTP/1.1\r\nHost: a\n\r\n",
            b"GET / HTTP/1.1\rHost: a",
            b"GET / HTTP/1.1\r\r\n",
            b"GET /\0 HTTP/1.1",
            b"\r\nGET / HTTP/1.1\r\n",
            b"\x16\x03\x01\x02\x00",
        ] {
            assert_eq!(end(bytes), Err(HeadError::Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn the_limit_counts_the_empty_line() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let limits = |max_head_size| HeadLimits {
            max_head_size,
            ..HeadLimits::default()
        };
        assert_eq!(find_end(head, &limits(head.len())), Ok(Some(head.len())));
        let short = limits(head.len() - 1);
        assert_eq!(find_end(head, &short), Err(HeadError::TooLarge));
        assert_eq!(find_end(&head[..20], &short), Ok(None));
        assert_eq!(find_end(head, &limits(10)), Err(HeadError::LongLine));
        assert_eq!(find_end(&head[..9], &limits(10)), Ok(None));
    }
}
