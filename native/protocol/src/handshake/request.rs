//! The head of a request.

use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::authority::{is_authority, names_a_host};
use super::head::{HeadError, HeadLimits, Headers, find_end};
use super::path::normal;
use super::refusal::{Refusal, RefusalReason};

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
    /// The path in its normal form, where it came in another.
    normal: Option<Box<str>>,
    query: Range<usize>,
    minor: u8,
    headers: Headers,
}

impl Request {
    /// Reads a request from the beginning of `bytes`: `None` while its head is incomplete, else the request and the
    /// length of the head. It is strict where readers of HTTP disagree, since that is where requests are smuggled. One
    /// empty line before it is passed over. A target with an authority in it has that in its header `host` as well,
    /// whatever the client put there.
    ///
    /// A refusal has status 400 (malformed), 414 (request line too long), 431 (head too large, too many headers), 501
    /// (`CONNECT`, or a body in an unknown coding) or 505 (HTTP version).
    pub fn parse(bytes: &[u8], limits: &HeadLimits) -> Result<Option<(Request, usize)>, Refusal> {
        let ahead = match bytes {
            [b'\r', b'\n', ..] => 2,
            _ => 0,
        };
        let bytes = bytes.get(ahead..).unwrap_or_default();
        match first(bytes, limits) {
            Ok(found) => Ok(found.map(|(request, end)| (request, ahead + end))),
            // As far as that can be told of what is malformed.
            Err(refusal) => {
                let seen = bytes.get(..limits.max_head_size).unwrap_or(bytes);
                Err(refusal.to(seen.split(|&byte| byte == b' ').next().unwrap_or_default()))
            }
        }
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
            normal: None,
            query: (path + 1).min(end)..end,
            minor: 1,
            headers,
        }
    }

    /// A request of HTTP/2 counts as one of 1.1.
    pub(super) fn of_http_2(
        method: &str,
        path: &str,
        headers: Headers,
    ) -> Result<Request, Refusal> {
        Request::checked(method, path, 1, headers)
    }

    /// The rules for all requests, however they came.
    fn checked(
        method: &str,
        target: &str,
        minor: u8,
        mut headers: Headers,
    ) -> Result<Request, Refusal> {
        check(&headers, minor)?;
        let parts = split(method, target)?;
        if let Some(authority) = parts.authority {
            headers.replace("host", target[authority].as_bytes());
        }
        // Over HTTP/2 a client may send each cookie by itself (RFC 9113, 8.2.3).
        headers.join("cookie", b"; ");
        let normal = match normal(&target[parts.path.clone()]) {
            Cow::Owned(normal) => Some(normal.into()),
            Cow::Borrowed(_) => None,
        };
        Ok(Request {
            method: method.into(),
            target: target.into(),
            path: parts.path,
            normal,
            query: parts.query,
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

    /// The path of the target, `/` if it is empty. Of its percent-encoding only that of letters, digits and `-._~` is taken
    /// off, and the digits of the others are in upper case (RFC 3986, 6.2.2): so there are no two spellings of one path.
    pub fn path(&self) -> &str {
        match (&self.normal, &self.target[self.path.clone()]) {
            (Some(normal), _) => normal,
            (None, "") => "/",
            (None, path) => path,
        }
    }

    /// The path as it came, `/` if it is empty.
    pub fn raw_path(&self) -> &str {
        match &self.target[self.path.clone()] {
            "" => "/",
            path => path,
        }
    }

    /// Path and query as they came, without an authority before them: what is asked of a server that stands behind this one.
    pub fn path_and_query(&self) -> Cow<'_, str> {
        match &self.target[self.path.start..] {
            rest if rest.starts_with(['/', '*']) => Cow::Borrowed(rest),
            rest => Cow::Owned(format!("/{rest}")),
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

    /// Whether it asks for a WebSocket, by the header `Upgrade`. In a request of HTTP/1.0 that means nothing (RFC 9110, 7.8).
    pub fn asks_for_websocket(&self) -> bool {
        self.is_http_11() && self.header_has_token("upgrade", "websocket")
    }

    /// The headers. Cookies are one field, whatever number of lines they came in.
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
        self.is_chunked() || self.content_length() > 0
    }

    /// Whether its body comes in chunks: no other coding is read.
    pub(super) fn is_chunked(&self) -> bool {
        self.header("transfer-encoding").is_some()
    }

    /// How long its body is if it does not come in chunks.
    pub(super) fn content_length(&self) -> u64 {
        self.header("content-length").and_then(number).unwrap_or(0)
    }

    /// Whether the connection may bring another request behind this one, as far as the client is concerned.
    pub fn keeps_alive(&self) -> bool {
        let named = |token| self.header_has_token("connection", token);
        !named("close") && (self.is_http_11() || named("keep-alive"))
    }

    /// Whether the client waits for a 100 before it sends the body.
    pub fn expects_continue(&self) -> bool {
        let expects = |value: &[u8]| value.eq_ignore_ascii_case(b"100-continue");
        self.is_http_11() && self.has_body() && self.header("expect").is_some_and(expects)
    }
}

fn first(bytes: &[u8], limits: &HeadLimits) -> Result<Option<(Request, usize)>, Refusal> {
    let Some(end) = find_end(bytes, limits)? else {
        return Ok(None);
    };
    let head = &bytes[..end];
    let request = match read(head, limits) {
        Err(httparse::Error::Version) if is_later_version(version(head)) => {
            read(&as_http_11(head), limits)
        }
        read => read,
    };
    let request = request.map_err(|error| refuse(error, head))??;
    Ok(Some((request, end)))
}

/// Outer: what httparse says; inner: what our rules say.
fn read(head: &[u8], limits: &HeadLimits) -> Result<Result<Request, Refusal>, httparse::Error> {
    // Not written before, and not from the allocator, but where more than usual are allowed.
    let mut usual = [const { MaybeUninit::uninit() }; HeadLimits::USUAL_HEADERS];
    let mut many = Vec::new();
    let fields = match usual.get_mut(..limits.max_headers) {
        Some(fields) => fields,
        None => {
            many.resize_with(limits.max_headers, MaybeUninit::uninit);
            &mut many[..]
        }
    };
    let mut parsed = httparse::Request::new(&mut []);
    parsed.parse_with_uninit_headers(head, fields)?;
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Ok(Err(malformed("The request line is incomplete.\n")));
    };
    if method == "CONNECT" {
        let refusal = Refusal::new(501, "This server is no proxy.\n");
        return Ok(Err(refusal.because(RefusalReason::Method)));
    }
    let headers = Headers::copy(parsed.headers);
    Ok(Request::checked(method, target, minor, headers))
}

/// Whether it is a version of HTTP/1 after 1.1, which is read as 1.1 (RFC 9110 2.5).
fn is_later_version(version: &[u8]) -> bool {
    matches!(
        version,
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'1',
            b'.',
            b'2'..=b'9',
            b'\r',
            b'\n',
            ..
        ]
    )
}

fn as_http_11(head: &[u8]) -> Vec<u8> {
    let mut head = head.to_vec();
    if let Some(end) = head.windows(2).position(|pair| pair == b"\r\n")
        && let Some(minor) = end.checked_sub(1).and_then(|at| head.get_mut(at))
    {
        *minor = b'1';
    }
    head
}

fn refuse(error: httparse::Error, bytes: &[u8]) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => HeadError::TooMany.into(),
        // A target with a space in it is also reported as a version.
        httparse::Error::Version if version(bytes).starts_with(b"HTTP/") => {
            Refusal::new(505, "Only HTTP/1.1 is spoken here.\n").because(RefusalReason::HttpVersion)
        }
        _ => malformed("The request is malformed.\n"),
    }
}

fn malformed(text: impl Into<Vec<u8>>) -> Refusal {
    Refusal::new(400, text).because(RefusalReason::Malformed)
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
    if length.is_some_and(|digits| number(digits).is_none()) {
        return Err(malformed("The content-length is not a number.\n"));
    }
    if let Some(codings) = headers.first("transfer-encoding") {
        if length.is_some() || minor == 0 {
            return Err(malformed("The length of the body is ambiguous.\n"));
        }
        check_codings(codings)?;
    }
    match headers.first("host") {
        None if minor == 1 => Err(malformed("The header host is missing.\n")),
        // What reads the name of a server from it must not see two, or a user, or a path.
        Some(host) if !is_authority(host) => Err(malformed("The header host is malformed.\n")),
        _ => Ok(()),
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    let digits = digits.iter().all(u8::is_ascii_digit).then_some(digits)?;
    str::from_utf8(digits).ok()?.parse().ok()
}

/// Only `chunked` alone is read: of anything that does not end in it nobody knows where it ends, and another coding
/// below it is not spoken here.
fn check_codings(codings: &[u8]) -> Result<(), Refusal> {
    let mut chunked = codings
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|coding| !coding.is_empty())
        .map(|coding| coding.eq_ignore_ascii_case(b"chunked"))
        .rev();
    match (chunked.next(), chunked.next(), chunked.any(|again| again)) {
        (Some(true), None, _) => Ok(()),
        (Some(true), Some(false), false) => {
            let text = "Of the transfer codings only chunked is spoken here.\n";
            Err(Refusal::new(501, text).because(RefusalReason::Body))
        }
        _ => Err(malformed("The length of the body is ambiguous.\n")),
    }
}

/// Where the parts of a request target lie.
struct TargetParts {
    authority: Option<Range<usize>>,
    path: Range<usize>,
    query: Range<usize>,
}

fn split(method: &str, target: &str) -> Result<TargetParts, Refusal> {
    let wrong = || malformed("The request target is malformed.\n");
    let visible = |b: u8| (0x21..=0x7e).contains(&b) && b != b'#';
    if !target.bytes().all(visible) {
        return Err(wrong());
    }
    let mut authority = None;
    let mut start = 0;
    let is_path = target.starts_with('/') || (target == "*" && method == "OPTIONS");
    if !is_path {
        // The form that proxies are sent, which every server has to understand.
        let (scheme, rest) = target.split_once("://").ok_or_else(wrong)?;
        let from = scheme.len() + 3;
        start = from + rest.find(['/', '?']).unwrap_or(rest.len());
        if !is_scheme(scheme.as_bytes()) || !names_a_host(&target.as_bytes()[from..start]) {
            return Err(wrong());
        }
        authority = Some(from..start);
    }
    let (path, query) = match target[start..].find('?').map(|length| start + length) {
        None => (start..target.len(), target.len()..target.len()),
        Some(mark) => (start..mark, mark + 1..target.len()),
    };
    Ok(TargetParts {
        authority,
        path,
        query,
    })
}

/// Whether requests with this scheme can be meant for this server: a WebSocket is asked for with http, too.
pub(super) fn is_scheme(scheme: &[u8]) -> bool {
    let known = [&b"http"[..], b"https"];
    known.iter().any(|known| scheme.eq_ignore_ascii_case(known))
}
