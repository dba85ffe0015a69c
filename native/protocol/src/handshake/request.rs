//! The head of a request.

use std::ops::Range;

use super::head::{HeadLimits, Headers, find_end, is_token, is_valid_value};
use super::refusal::{Refusal, Why};

/// Fields that must not occur twice: two readers could take different ones.
const SINGLE: [&str; 6] = [
    "host",
    "content-length",
    "transfer-encoding",
    "origin",
    "sec-websocket-key",
    "sec-websocket-version",
];

/// An HTTP request without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    method: Box<str>,
    target: Box<str>,
    path: Range<usize>,
    query: Range<usize>,
    minor: u8,
    headers: Headers,
}

impl Request {
    /// Reads a request from the beginning of `bytes`: `None` while its head is incomplete, else the request and the
    /// length of the head. It is strict where readers of HTTP disagree, since that is where requests are smuggled.
    ///
    /// A refusal has status 400 (malformed), 414 (request line too long), 431 (head too large, too many headers) or 505
    /// (HTTP version).
    pub fn parse(bytes: &[u8], limits: &HeadLimits) -> Result<Option<(Request, usize)>, Refusal> {
        let Some(end) = find_end(bytes, limits)? else {
            return Ok(None);
        };
        let mut fields = vec![httparse::EMPTY_HEADER; limits.max_headers];
        let mut parsed = httparse::Request::new(&mut fields);
        parsed
            .parse(&bytes[..end])
            .map_err(|error| refuse(error, bytes))?;
        let (Some(method), Some(target), Some(minor)) =
            (parsed.method, parsed.path, parsed.version)
        else {
            return Err(malformed("The request line is incomplete.\n"));
        };
        let headers = Headers::copy(parsed.headers);
        check(&headers, minor)?;
        let (path, query) =
            split(method, target).ok_or_else(|| malformed("The request target is malformed.\n"))?;
        let request = Request {
            method: method.into(),
            target: target.into(),
            path,
            query,
            minor,
            headers,
        };
        Ok(Some((request, end)))
    }

    /// What a client asked for, and the headers of the answer: what there is to say of a connection that it opened.
    /// `target` is a path and, behind a question mark, a query.
    pub fn answered(target: &str, headers: Headers) -> Request {
        let end = target.len();
        let path = target.find('?').unwrap_or(end);
        Request {
            method: "GET".into(),
            target: target.into(),
            path: 0..path,
            query: (path + 1).min(end)..end,
            minor: 1,
            headers,
        }
    }

    /// A request that another parser has read, checked as by [`Request::parse`]. `minor` is that of HTTP/1; a request of
    /// HTTP/2 counts as 1.1, with its authority as the header `host`.
    pub fn from_parts<'a>(
        method: &str,
        target: &str,
        minor: u8,
        fields: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Request, Refusal> {
        let mut headers = Headers::default();
        for (name, value) in fields {
            if !is_token(name.as_bytes()) || !is_valid_value(value) {
                return Err(malformed("A header is malformed.\n"));
            }
            headers.push(name, value);
        }
        check(&headers, minor)?;
        let (path, query) =
            split(method, target).ok_or_else(|| malformed("The request target is malformed.\n"))?;
        if !is_token(method.as_bytes()) {
            return Err(malformed("The method is malformed.\n"));
        }
        Ok(Request {
            method: method.into(),
            target: target.into(),
            path,
            query,
            minor,
            headers,
        })
    }

    /// The method, as it came.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The request target, as it came: ASCII without spaces.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The path of the target, not percent-decoded, `/` if it is empty.
    pub fn path(&self) -> &str {
        match &self.target[self.path.clone()] {
            "" => "/",
            path => path,
        }
    }

    /// What follows the first `?` of the target, not decoded; empty if there is none.
    pub fn query(&self) -> &str {
        &self.target[self.query.clone()]
    }

    /// Whether it is HTTP/1.1, not 1.0.
    pub fn is_http_11(&self) -> bool {
        self.minor == 1
    }

    /// The headers.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The first value of a header, whose name is compared without regard to case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.first(name)
    }

    /// Whether a header that is a list holds a token, without regard to case.
    pub fn header_has_token(&self, name: &str, token: &str) -> bool {
        self.headers.has_token(name, token)
    }

    /// Whether a body follows the head.
    pub fn has_body(&self) -> bool {
        let length = self.header("content-length");
        self.header("transfer-encoding").is_some()
            || length.is_some_and(|digits| digits.iter().any(|&digit| digit != b'0'))
    }
}

fn refuse(error: httparse::Error, bytes: &[u8]) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => {
            Refusal::new(431, "There are too many headers.\n").because(Why::TooLarge)
        }
        // A target with a space in it is also reported as a version.
        httparse::Error::Version if version(bytes).starts_with(b"HTTP/") => {
            Refusal::new(505, "Only HTTP/1.1 is spoken here.\n").because(Why::HttpVersion)
        }
        _ => malformed("The request is malformed.\n"),
    }
}

fn malformed(text: impl Into<Vec<u8>>) -> Refusal {
    Refusal::new(400, text).because(Why::Malformed)
}

/// What stands after the second space.
fn version(line: &[u8]) -> &[u8] {
    line.splitn(3, |&byte| byte == b' ')
        .nth(2)
        .unwrap_or_default()
}

fn check(headers: &Headers, minor: u8) -> Result<(), Refusal> {
    for name in SINGLE {
        if headers.count(name) > 1 {
            return Err(malformed(format!("The header {name} occurs twice.\n")));
        }
    }
    let length = headers.first("content-length");
    if length.is_some_and(|digits| digits.is_empty() || !digits.iter().all(u8::is_ascii_digit)) {
        return Err(malformed("The content-length is not a number.\n"));
    }
    if length.is_some() && headers.first("transfer-encoding").is_some() {
        return Err(malformed("The length of the body is ambiguous.\n"));
    }
    match headers.first("host") {
        None if minor == 1 => Err(malformed("The header host is missing.\n")),
        // What reads the name of a server from it must not see two, or a user, or a path.
        Some(host) if !is_host(host) => Err(malformed("The header host is malformed.\n")),
        _ => Ok(()),
    }
}

/// Whether it may be a host with a port, or nothing: the characters that RFC 3986 has for those.
fn is_host(host: &[u8]) -> bool {
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(b);
    host.iter().all(allowed)
}

/// Where path and query lie in a request target.
fn split(method: &str, target: &str) -> Option<(Range<usize>, Range<usize>)> {
    let visible = |b: u8| (0x21..=0x7e).contains(&b) && b != b'#';
    if !target.bytes().all(visible) {
        return None;
    }
    let start = if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        0
    } else {
        // The form that proxies are sent, which every server has to understand.
        let authority = target.find("://").filter(|&scheme| scheme > 0)? + 3;
        let host = target[authority..].find(['/', '?']);
        host.map_or(target.len(), |length| authority + length)
    };
    let query = target[start..].find('?').map(|length| start + length);
    Some(match query {
        None => (start..target.len(), target.len()..target.len()),
        Some(mark) => (start..mark, mark + 1..target.len()),
    })
}
