//! Close codes, close payloads, and how a connection ended.

use tungstenite::protocol::frame::coding::CloseCode;

use crate::error::Violation;

/// The peer's Close frame had no code. Never sent.
pub const NO_STATUS: u16 = 1005;
/// The transport ended without a Close frame. Never sent.
pub const ABNORMAL: u16 = 1006;
/// The most bytes of a close reason that fit into a Close frame.
pub const MAX_REASON: usize = 123;

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseReason {
    /// The code of the Close frame that the peer sent, or that we sent for its violation; 1005 for a Close frame without a
    /// code, 1006 for none at all.
    pub code: u16,
    /// The reason beside that code, often empty, 123 bytes at most.
    pub reason: Box<str>,
    /// Who began it.
    pub by: ClosedBy,
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClosedBy {
    /// We sent a Close frame first and the peer answered.
    Local,
    /// The peer sent a Close frame first.
    Peer,
    /// We closed because of something the peer did.
    Violation,
    /// The transport ended before a close handshake was complete.
    Transport,
}

/// Whether a code may stand in a Close frame: 1000-1003, 1007-1014 and 3000-4999.
///
/// ```
/// use sockeye_protocol::close::is_sendable;
/// assert!(is_sendable(1000) && is_sendable(4711));
/// assert!(!is_sendable(1005) && !is_sendable(1006) && !is_sendable(2999) && !is_sendable(5000));
/// ```
pub fn is_sendable(code: u16) -> bool {
    // 1014 was registered after the table of CloseCode was drawn up.
    code == 1014 || CloseCode::from(code).is_allowed()
}

/// Reads the payload of a Close frame: code (1005 if the payload is empty) and reason.
pub fn parse(payload: &[u8]) -> Result<(u16, &str), Violation> {
    match payload {
        [] => Ok((NO_STATUS, "")),
        [_] => Err(Violation::TruncatedClose),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !is_sendable(code) {
                return Err(Violation::CloseCode(code));
            }
            let reason = std::str::from_utf8(reason).map_err(|_| Violation::InvalidUtf8)?;
            Ok((code, reason))
        }
    }
}

/// A close payload of at most 125 bytes, without an allocation.
pub(crate) struct CloseBody {
    bytes: [u8; 125],
    len: usize,
}

impl CloseBody {
    /// Empty for a code that may not travel. A reason beyond 123 bytes is cut at a character boundary.
    pub(crate) fn new(code: u16, reason: &str) -> Self {
        let mut body = CloseBody {
            bytes: [0; 125],
            len: 0,
        };
        if is_sendable(code) {
            let reason = truncate(reason);
            body.len = 2 + reason.len();
            body.bytes[..2].copy_from_slice(&code.to_be_bytes());
            body.bytes[2..body.len].copy_from_slice(reason.as_bytes());
        }
        body
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// As much of a reason as fits into a Close frame.
pub(crate) fn truncate(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(MAX_REASON)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_may_travel() {
        for code in 0..=u16::MAX {
            let want = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            assert_eq!(is_sendable(code), want, "{code}");
        }
    }

    #[test]
    fn payloads() {
        assert_eq!(parse(b""), Ok((1005, "")));
        assert_eq!(parse(b"\x03"), Err(Violation::TruncatedClose));
        assert_eq!(parse(b"\x03\xe8"), Ok((1000, "")));
        assert_eq!(parse(b"\x03\xe8bye"), Ok((1000, "bye")));
        assert_eq!(parse(b"\x03\xed"), Err(Violation::CloseCode(1005)));
        assert_eq!(parse(b"\x03\xe8\xff"), Err(Violation::InvalidUtf8));
    }

    #[test]
    fn a_body_reads_back_and_fits() {
        for code in [1000, 1014, 4999] {
            let body = CloseBody::new(code, "why");
            assert_eq!(parse(body.as_bytes()), Ok((code, "why")));
        }
        assert!(CloseBody::new(1005, "unsent").as_bytes().is_empty());
        let exact = "x".repeat(123);
        assert_eq!(
            parse(CloseBody::new(1000, &exact).as_bytes()),
            Ok((1000, &*exact))
        );
        // 41 characters of three bytes make 123; after one byte more only 40 of them fit.
        let long = format!("x{}", "\u{20ac}".repeat(41));
        let body = CloseBody::new(1000, &long);
        assert_eq!(parse(body.as_bytes()), Ok((1000, &long[..121])));
    }
}
