//! permessage-deflate (RFC 7692): compressed messages.
//!
//! - [`Policy`] is what one side wants; [`accept`] answers a client's offers with it, [`offer`] and [`verify`] are the
//!   client's side. What both sides agreed on is [`Params`].
//! - [`crate::Session::with_deflate`] makes a session that speaks it. Messages that come in are inflated within the bound
//!   on messages; [`crate::Session::encode`] compresses those that go out.
//! - [`Codecs`] are the contexts, to be shared by all the sessions of a thread. A direction *without context takeover*
//!   needs nothing else; one with it has a window of its own in the session.
//!
//! ```
//! use sockeye_protocol::deflate::{Codecs, Policy, accept, offer, verify};
//! use sockeye_protocol::{Kind, Limits, Payload, Role, Session, Sink};
//!
//! // The client offers, the server accepts, the client looks at the answer.
//! let policy = Policy::default();
//! let (agreed, answer) = accept([offer(&policy).as_bytes()], &policy).unwrap();
//! assert_eq!(verify([answer.as_bytes()], &policy), Ok(Some(agreed)));
//!
//! struct Echo(Vec<u8>);
//! impl Sink for Echo {
//!     fn message(&mut self, _: Kind, payload: Payload<'_>) {
//!         self.0.extend_from_slice(&payload);
//!     }
//! }
//! let text = "to be or not to be, that is the question: ".repeat(4);
//! let (mut codecs, mut wire, mut out) = (Codecs::default(), Vec::new(), Vec::new());
//! let mut client = Session::with_deflate(Role::Client, Some(agreed));
//! client.encode(Kind::Text, text.as_bytes(), &policy.tuning, &mut codecs, &mut wire);
//! assert!(wire.len() < text.len() / 2);
//! let (mut server, mut seen) = (Session::with_deflate(Role::Server, Some(agreed)), Echo(Vec::new()));
//! server.receive_with(&mut wire, &Limits::default(), &mut codecs, &mut out, &mut seen);
//! assert_eq!(seen.0, text.as_bytes());
//! ```

mod codecs;
mod compress;
mod inflate;
mod negotiate;
mod params;
mod session;
mod short;

pub use codecs::Codecs;
pub use negotiate::{accept, offer, verify};
pub use params::{Params, Policy, Tuning};

pub(crate) use codecs::Windows;

pub(crate) use session::while_compressed;

/// The most bytes that so many become: nine bits for each, and what surrounds blocks.
fn bound(len: usize) -> usize {
    len.saturating_add(len / 8)
        .saturating_add(len / 64)
        .saturating_add(64)
}
