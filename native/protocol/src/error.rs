//! What a peer can do wrong after the handshake.

use std::fmt;

/// A breach of the protocol or of a limit by the peer. The session answers it with a Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// An RSV bit that no negotiated extension explains.
    ReservedBits,
    /// An opcode that RFC 6455 does not define.
    ReservedOpcode(u8),
    /// A client sent a frame without a mask.
    Unmasked,
    /// A server sent a masked frame.
    Masked,
    /// A ping, pong or close without the FIN bit.
    FragmentedControl,
    /// A ping, pong or close of more than 125 bytes.
    LongControl,
    /// A payload length in more bytes than it needs.
    WastefulLength,
    /// A 64-bit payload length with its highest bit set.
    LengthOverflow,
    /// A continuation frame with no message to continue.
    StrayContinuation,
    /// A new message before the last fragment of the one before.
    InterruptedMessage,
    /// A Close frame with a payload of one byte.
    TruncatedClose,
    /// A close code that must not travel.
    CloseCode(u16),
    /// Text or a close reason that is not UTF-8.
    InvalidUtf8,
    /// A compressed message that is not what DEFLATE makes.
    InvalidDeflate,
    /// A frame beyond `max_frame_size`.
    FrameTooBig,
    /// A message beyond `max_message_size`.
    MessageTooBig,
    /// A message in more than `max_fragments` frames.
    TooManyFragments,
}

impl Violation {
    /// The close code that answers it: 1002 for the protocol, 1007 for bad text and bad compression, 1009 for sizes, 1008 for fragments.
    pub fn code(self) -> u16 {
        match self {
            Violation::InvalidUtf8 | Violation::InvalidDeflate => 1007,
            Violation::TooManyFragments => 1008,
            Violation::FrameTooBig | Violation::MessageTooBig => 1009,
            _ => 1002,
        }
    }

    /// The close reason that answers it: short English, the same for every occurrence.
    pub fn reason(self) -> &'static str {
        match self {
            Violation::ReservedBits => "reserved bit set",
            Violation::ReservedOpcode(_) => "reserved opcode",
            Violation::Unmasked => "frame not masked",
            Violation::Masked => "frame masked",
            Violation::FragmentedControl => "fragmented control frame",
            Violation::LongControl => "control frame too long",
            Violation::WastefulLength => "length not minimal",
            Violation::LengthOverflow => "length out of range",
            Violation::StrayContinuation => "nothing to continue",
            Violation::InterruptedMessage => "message interrupted",
            Violation::TruncatedClose => "truncated close code",
            Violation::CloseCode(_) => "invalid close code",
            Violation::InvalidUtf8 => "invalid UTF-8",
            Violation::InvalidDeflate => "invalid compressed data",
            Violation::FrameTooBig => "frame too big",
            Violation::MessageTooBig => "message too big",
            Violation::TooManyFragments => "too many fragments",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())?;
        match self {
            Violation::ReservedOpcode(op) => write!(f, " {op:#x}"),
            Violation::CloseCode(code) => write!(f, " {code}"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Violation {}

#[cfg(test)]
mod tests {
    use super::Violation;

    #[test]
    fn errors_are_named() {
        for (violation, words) in [
            (Violation::ReservedOpcode(11), "reserved opcode 0xb"),
            (Violation::CloseCode(1005), "invalid close code 1005"),
            (Violation::Unmasked, "frame not masked"),
        ] {
            assert_eq!(violation.to_string(), words);
        }
    }
}
