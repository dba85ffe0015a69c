//! Reasons why a client was refused.

use std::io;

use sockeye_protocol::handshake::Refusal;

use crate::world::time::Elapsed;

macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident),* $(,)?) => {
        /// Why a client got no connection, as it is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum RefusedFor { $($(#[$doc])* $reason),* }

        impl RefusedFor {
            /// All of them, each at its number.
            pub const ALL: &'static [RefusedFor] = &[$(RefusedFor::$reason),*];
        }
    };
}

reasons! {
    /// The server has as many connections as it may have.
    MaxConnections,
    /// The last descriptors are for others.
    NoDescriptor,
    /// The address has as many connections as it may have.
    PerAddress,
    /// The address opens connections too fast.
    Rate,
    /// The handshake took too long.
    Timeout,
    /// The client has gone, or its socket failed.
    Left,
    /// There was no handshake of TLS.
    Tls,
    /// No HTTP, no handshake of a WebSocket, or what a proxy has to say was missing.
    BadRequest,
    /// The server has no such path.
    Path,
    /// Pages of this origin may not connect.
    Origin,
    /// The function that decides said no, or failed, or gave no answer in time.
    Accept,
    /// Too much waited for it, or nobody was there.
    Unavailable,
    /// The server ends.
    Draining,
    /// A web server behind gave no connection.
    Upstream,
}

impl RefusedFor {
    /// With this answer.
    pub(crate) fn with(self, answer: Refusal) -> Refused {
        Refused {
            reason: self,
            answer,
        }
    }
}

impl From<Elapsed> for RefusedFor {
    fn from(_: Elapsed) -> Self {
        RefusedFor::Timeout
    }
}

impl From<io::Error> for RefusedFor {
    fn from(_: io::Error) -> Self {
        RefusedFor::Left
    }
}

/// A refusal, and what it counts as.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) reason: RefusedFor,
    pub(crate) answer: Refusal,
}

impl Refused {
    /// Answers a request with this method.
    pub(crate) fn to(self, method: &str) -> Self {
        Refused {
            answer: self.answer.to(method),
            ..self
        }
    }
}

/// What the protocol itself has to say.
impl From<Refusal> for Refused {
    fn from(answer: Refusal) -> Self {
        RefusedFor::BadRequest.with(answer)
    }
}
