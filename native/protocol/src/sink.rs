//! What comes out of a session.

use std::ops::Deref;

use crate::close::CloseReason;
use crate::config::Kind;

/// The payload of a complete message. Text is valid UTF-8.
#[derive(Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// It lay in the input as one whole frame: unmasked there, not copied.
    Borrowed(&'a [u8]),
    /// It arrived in pieces.
    Owned(Vec<u8>),
}

impl Payload<'_> {
    /// The bytes, copied only if they are borrowed.
    pub fn into_vec(self) -> Vec<u8> {
        match self {
            Payload::Borrowed(bytes) => bytes.to_vec(),
            Payload::Owned(bytes) => bytes,
        }
    }
}

impl Deref for Payload<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Payload::Borrowed(bytes) => bytes,
            Payload::Owned(bytes) => bytes,
        }
    }
}

/// Where a session puts what it receives.
pub trait Sink {
    /// A complete message.
    fn message(&mut self, kind: Kind, payload: Payload<'_>);

    /// A ping, which the session has answered already.
    fn ping(&mut self, _payload: &[u8]) {}

    /// A pong, asked for or not.
    fn pong(&mut self, _payload: &[u8]) {}

    /// Whether what follows should wait. Only [`crate::Session::receive_some`] asks, behind a message that was inflated.
    fn is_full(&self) -> bool {
        false
    }
}

/// Where a session stands after a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Messages go both ways.
    Open,
    /// The peer has closed, broken the rules or ended the transport: nothing of it is taken any more. What answers its messages
    /// may still be sent, then [`crate::Session::answer`] sends the Close frame that is owed. The caller bounds the time. Only
    /// [`crate::Session::receive_some`], [`crate::Session::end`] and [`crate::Session::end_of_input`] lead here.
    Ended(CloseReason),
    /// Our Close frame is out and the peer's has not come: keep reading, send nothing. Data of the peer is discarded.
    /// The caller bounds the time.
    Closing,
    /// Over: write out what is in `out`, then close the transport.
    Finished(CloseReason),
}

#[cfg(test)]
mod tests {
    use super::Payload;

    #[test]
    fn borrowed_or_owned_it_is_its_bytes() {
        for payload in [Payload::Borrowed(b"ab"), Payload::Owned(b"ab".to_vec())] {
            assert_eq!(*payload, *b"ab");
            assert_eq!(payload.into_vec(), b"ab");
        }
    }
}
