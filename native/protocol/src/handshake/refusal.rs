//! An answer that is not an upgrade.

use super::head::{HeadError, is_valid_header, write_header, write_headers};

/// Why a request is refused, for programs; the status and the text are for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalReason {
    /// Not a reason of the protocol: the caller's own.
    Other,
    /// Not HTTP, or HTTP that two readers could understand differently.
    Malformed,
    /// The request line goes beyond the limit.
    LongLine,
    /// The head goes beyond the limit, or has too many headers.
    TooLarge,
    /// Not HTTP/1.1.
    HttpVersion,
    /// Not GET.
    Method,
    /// The draft 76 of the protocol.
    Draft76,
    /// An ordinary request, not for a WebSocket.
    NotWebSocket,
    /// A version of the protocol other than 13, or none.
    Version,
    /// `Connection` does not name `Upgrade`.
    Connection,
    /// The request has a body.
    Body,
    /// `Sec-WebSocket-Key` is missing, or not 16 bytes in base64.
    Key,
    /// An offered subprotocol is not a token.
    Subprotocol,
}

/// An HTTP answer after which the server closes the transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why, for programs.
    pub why: RefusalReason,
    /// The HTTP status.
    pub status: u16,
    /// Headers beside those that [`Refusal::response`] writes itself.
    pub headers: Vec<(String, String)>,
    /// Plain text, unless a `Content-Type` header says otherwise.
    pub body: Vec<u8>,
    /// The request is a `HEAD`: the answer says how long its content would be, and has none.
    pub to_head: bool,
}

impl Refusal {
    /// An answer with a plain text body.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Refusal {
            why: RefusalReason::Other,
            status,
            headers: Vec::new(),
            body: body.into(),
            to_head: false,
        }
    }

    /// Answers a request with this method.
    pub fn to(mut self, method: impl AsRef<[u8]>) -> Self {
        self.to_head = method.as_ref() == b"HEAD";
        self
    }

    /// Says why.
    pub fn because(mut self, why: RefusalReason) -> Self {
        self.why = why;
        self
    }

    /// Adds a header.
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The bytes to send. A header that is not [`is_valid_header`], and one that would change how the answer is framed
    /// (`Connection`, `Content-Length`, `Transfer-Encoding`), is left out.
    pub fn response(&self) -> Vec<u8> {
        let has = |wanted: &str| {
            let found = |(name, value): &(String, String)| {
                name.eq_ignore_ascii_case(wanted) && is_valid_header(name, value)
            };
            self.headers.iter().any(found)
        };
        let mut out = Vec::with_capacity(256 + self.body.len());
        let line = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        out.extend_from_slice(line.as_bytes());
        // An Upgrade header is meant for this connection, and has to be named there.
        let connection = if has("upgrade") {
            "upgrade, close"
        } else {
            "close"
        };
        write_header(&mut out, "Connection", connection);
        // These have no body; the first two no header that speaks of one either.
        let is_told = !matches!(self.status, 204 | 304);
        let bodiless = !is_told || self.status == 205;
        if is_told {
            let length = if bodiless { 0 } else { self.body.len() };
            write_header(&mut out, "Content-Length", &length.to_string());
        }
        if !bodiless && !has("content-type") {
            write_header(&mut out, "Content-Type", "text/plain; charset=utf-8");
        }
        let reserved = ["connection", "content-length", "transfer-encoding"];
        write_headers(&mut out, &self.headers, &reserved);
        out.extend_from_slice(b"\r\n");
        if !bodiless && !self.to_head {
            out.extend_from_slice(&self.body);
        }
        out
    }
}

impl From<HeadError> for Refusal {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Malformed => Refusal::new(400, "This is not an HTTP request.\n")
                .because(RefusalReason::Malformed),
            HeadError::LongLine => Refusal::new(414, "The request line is too long.\n")
                .because(RefusalReason::LongLine),
            HeadError::TooLarge => Refusal::new(431, "The request head is too large.\n")
                .because(RefusalReason::TooLarge),
            HeadError::TooMany => {
                Refusal::new(431, "There are too many headers.\n").because(RefusalReason::TooLarge)
            }
        }
    }
}

/// The phrase of a status line.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        205 => "Reset Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What speaks of content stands where there may be some, and what the caller says of it stands once.
    #[test]
    fn answers_with_and_without_content() {
        let none = "content-length: 0\r\n";
        let plain = "content-length: 2\r\ncontent-type: text/plain; charset=utf-8\r\n";
        let own = "content-length: 2\r\ncontent-type: text/html\r\n";
        for (status, header, told, content) in [
            (204, None, "", ""),
            (304, None, "", ""),
            (304, Some("text/html"), "content-type: text/html\r\n", ""),
            (205, None, none, ""),
            (200, None, plain, "ok"),
            (404, Some("text/html"), own, "ok"),
        ] {
            let mut refusal = Refusal::new(status, "ok");
            if let Some(value) = header {
                refusal = refusal.with_header("Content-Type", value);
            }
            let answer = String::from_utf8(refusal.response()).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let (_, fields) = head.split_once("\r\n").unwrap();
            let want = format!("connection: close\r\n{told}");
            let fields = format!("{fields}\r\n").to_lowercase();
            assert_eq!((fields, body), (want, content), "{status} {header:?}");
        }
    }

    #[test]
    fn statuses_have_phrases_of_their_own() {
        let known = [
            200..=202,
            204..=205,
            301..=304,
            307..=308,
            400..=401,
            403..=406,
            408..=410,
            413..=414,
            426..=426,
            429..=429,
            431..=431,
            451..=451,
            500..=505,
        ];
        let known = known.into_iter().flatten();
        let mut phrases: Vec<_> = known.map(|status: u16| (reason(status), status)).collect();
        assert!(
            phrases.iter().all(|(phrase, _)| *phrase != "Unknown"),
            "{phrases:?}"
        );
        let count = phrases.len();
        phrases.sort();
        phrases.dedup_by_key(|(phrase, _)| *phrase);
        assert_eq!(phrases.len(), count);
        let of = |status| Refusal::new(status, "").response();
        assert!(of(404).starts_with(b"HTTP/1.1 404 Not Found\r\n"));
        assert!(of(299).starts_with(b"HTTP/1.1 299 Unknown\r\n"));
    }
}
