//! The head of a request of HTTP/2, sans I/O: the same rules, behind those that RFC 9113 adds.

use super::head::{HeadError, HeadLimits, Headers, is_token, is_valid_value};
use super::refusal::{Refusal, RefusalReason};
use super::request::{Request, is_scheme};
use crate::hpack::{Decoder, HpackError, OVERHEAD};

/// How much more a head may expand to than one that is answered: it must be read to its end, since all heads of a
/// connection share a table.
const ABUSE: usize = 4;

/// What came of a block of fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestHead {
    /// A request.
    Request {
        /// With its authority as the header `host`.
        request: Request,
        /// It asks for a WebSocket on its stream (RFC 8441).
        connects: bool,
        /// What it says of the length of its body.
        content_length: Option<u64>,
    },
    /// No request of ours, and the client can be told why.
    Refused(Refusal),
    /// It breaks the rules of HTTP/2: an error of its stream (RFC 9113 8.1.1).
    Malformed,
}

/// Reads the head of a request.
///
/// An error is one of the connection. What is [`RequestHead::Refused`] has the same status as over HTTP/1.1: 400, 414, 431 or
/// 501.
pub fn head(
    decoder: &mut Decoder,
    block: &[u8],
    limits: &HeadLimits,
) -> Result<RequestHead, HpackError> {
    let mut fields = Fields::default();
    let most = limits.max_head_size.saturating_mul(ABUSE);
    decoder.decode(block, most, |name, value| fields.add(name, value, limits))?;
    Ok(fields.finish(limits))
}

/// Reads the trailers of a request, in which nobody is interested: whether they are well-formed.
pub fn trailers(
    decoder: &mut Decoder,
    block: &[u8],
    limits: &HeadLimits,
) -> Result<bool, HpackError> {
    let mut fields = Fields {
        regular: true,
        ..Fields::default()
    };
    let most = limits.max_head_size.saturating_mul(ABUSE);
    decoder.decode(block, most, |name, value| fields.add(name, value, limits))?;
    Ok(!fields.malformed && fields.size <= limits.max_head_size)
}

/// What has been read of a head.
#[derive(Default)]
struct Fields {
    method: Option<String>,
    scheme: Option<Box<[u8]>>,
    /// It came, and is the header `host`.
    authority: bool,
    path: Option<String>,
    protocol: Option<Box<[u8]>>,
    headers: Headers,
    lines: usize,
    size: usize,
    /// A field has come that is not a part of the request line.
    regular: bool,
    malformed: bool,
}

impl Fields {
    fn add(&mut self, name: &[u8], value: &[u8], limits: &HeadLimits) {
        self.size += name.len() + value.len() + OVERHEAD;
        let well = match name.strip_prefix(b":") {
            Some(name) => self.add_pseudo(name, value),
            None => self.add_regular(name, value, limits),
        };
        self.malformed |= well.is_none();
    }

    /// None if it is wrong.
    fn add_pseudo(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        let visible = || value.iter().all(|b| (0x21..=0x7e).contains(b));
        if self.regular {
            return None;
        }
        let text = || Some(str::from_utf8(value).ok()?.to_owned());
        match name {
            b"method" if self.method.is_none() && is_token(value) => self.method = text(),
            b"path" if self.path.is_none() && visible() => self.path = text(),
            b"scheme" if self.scheme.is_none() && is_scheme_name(value) => {
                self.scheme = Some(value.into());
            }
            b"authority" if !self.authority && visible() => {
                self.authority = true;
                self.headers.push("host", value);
            }
            b"protocol" if self.protocol.is_none() && is_token(value) => {
                self.protocol = Some(value.into());
            }
            _ => return None,
        }
        Some(())
    }

    fn add_regular(&mut self, name: &[u8], value: &[u8], limits: &HeadLimits) -> Option<()> {
        self.regular = true;
        self.lines += 1;
        let is_lower = is_token(name) && !name.iter().any(u8::is_ascii_uppercase);
        if !is_lower || !is_valid_value(value) || value.trim_ascii().len() != value.len() {
            return None;
        }
        match name {
            // What speaks of the connection, which here belongs to many requests.
            b"connection" | b"proxy-connection" | b"keep-alive" | b"transfer-encoding"
            | b"upgrade" => return None,
            b"te" if value != b"trailers" => return None,
            b"content-length" => {
                let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
                if !digits || self.headers.first("content-length").is_some() {
                    return None;
                }
            }
            _ => {}
        }
        // What is too large is refused, and need not be kept.
        if self.size > limits.max_head_size || self.lines > limits.max_headers {
            return Some(());
        }
        // A host that differs is one too many.
        let is_authority = name == b"host" && self.authority;
        if !is_authority || self.headers.first("host") != Some(value) {
            self.headers.push(str::from_utf8(name).ok()?, value);
        }
        Some(())
    }

    fn finish(mut self, limits: &HeadLimits) -> RequestHead {
        let (Some(method), false) = (self.method.take(), self.malformed) else {
            return RequestHead::Malformed;
        };
        match self.judge(&method, limits) {
            RequestHead::Refused(refusal) => RequestHead::Refused(refusal.to(&method)),
            head => head,
        }
    }

    fn judge(self, method: &str, limits: &HeadLimits) -> RequestHead {
        // What has a protocol and is no CONNECT is malformed.
        let connects = self.protocol.is_some();
        let path = match (method, connects) {
            // For a proxy: it has neither scheme nor path.
            ("CONNECT", false) if self.scheme.is_none() && self.path.is_none() => {
                let refusal = Refusal::new(501, "Only WebSockets are connected to here.\n");
                return RequestHead::Refused(refusal.because(RefusalReason::Method));
            }
            ("CONNECT", false) => return RequestHead::Malformed,
            (method, true) if method != "CONNECT" => return RequestHead::Malformed,
            (method, _) => match self.path {
                Some(path) if path.starts_with('/') || (path == "*" && method == "OPTIONS") => path,
                _ => return RequestHead::Malformed,
            },
        };
        let Some(scheme) = self.scheme else {
            return RequestHead::Malformed;
        };
        if path.len() > limits.max_head_size {
            return RequestHead::Refused(HeadError::LongLine.into());
        }
        if self.size > limits.max_head_size {
            return RequestHead::Refused(HeadError::TooLarge.into());
        }
        if self.lines > limits.max_headers {
            return RequestHead::Refused(HeadError::TooMany.into());
        }
        if !is_scheme(&scheme) {
            let refusal = Refusal::new(400, "The scheme is neither http nor https.\n");
            return RequestHead::Refused(refusal.because(RefusalReason::Malformed));
        }
        let is_websocket = |protocol: &[u8]| protocol.eq_ignore_ascii_case(b"websocket");
        if !self.protocol.as_deref().is_none_or(is_websocket) {
            let refusal = Refusal::new(501, "Only WebSockets are connected to here.\n");
            return RequestHead::Refused(refusal.because(RefusalReason::NotWebSocket));
        }
        match Request::of_http_2(method, &path, self.headers) {
            Ok(request) if connects && request.has_body() => {
                let refusal = Refusal::new(400, "A WebSocket request has no body.\n");
                RequestHead::Refused(refusal.because(RefusalReason::Body))
            }
            Ok(request) => RequestHead::Request {
                content_length: request
                    .header("content-length")
                    .map(|_| request.content_length()),
                connects,
                request,
            },
            Err(refusal) => RequestHead::Refused(refusal),
        }
    }
}

/// Whether it has the form of a scheme, known or not.
fn is_scheme_name(bytes: &[u8]) -> bool {
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"+-.".contains(b);
    bytes.first().is_some_and(u8::is_ascii_alphabetic) && bytes.iter().all(allowed)
}
