//! The opening handshake, sans I/O: HTTP heads in, bytes to send out.
//!
//! A server reads until [`Request::parse`] gives a request, then [`server::upgrade`] decides; either outcome has a
//! `response` to write. A client writes [`client::request`] and reads until [`client::verify`] gives a verdict. Both tell
//! how many bytes the head took: what follows them belongs to the [`crate::Session`].
//!
//! ```
//! use sockeye_protocol::handshake::{HeadLimits, Request, ServerPolicy, server};
//!
//! let head = b"GET /chat?room=1 HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
//!     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
//! let (request, consumed) = Request::parse(head, &HeadLimits::default())?.unwrap();
//! assert_eq!((request.path(), request.query(), consumed), ("/chat", "room=1", head.len()));
//! let upgrade = server::upgrade(&request, &ServerPolicy::default())?;
//! assert_eq!(upgrade.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
//! assert!(upgrade.response(&[]).starts_with(b"HTTP/1.1 101 "));
//! # Ok::<(), sockeye_protocol::handshake::Refusal>(())
//! ```

pub mod authority;
pub mod body;
pub mod client;
pub mod head;
pub mod http2;
pub mod origins;
#[cfg(test)]
mod origins_tests;
pub mod path;
pub mod policy;
pub mod refusal;
pub mod request;
pub mod server;

pub use authority::{is_authority, names_a_host};
pub use body::{BodyError, BodyReader};
pub use client::accept_key;
pub use client::{AcceptedHandshake, Breach, ClientOptions, HandshakeError};
pub use head::{HeadLimits, Headers, is_valid_header};
pub use origins::{Origins, Site};
pub use path::{comparable, comparable_pattern};
pub use policy::Paths;
pub use refusal::{Refusal, RefusalReason};
pub use request::Request;
pub use server::{ServerPolicy, Upgrade};
