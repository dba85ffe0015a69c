//! The WebSocket protocol (RFC 6455), sans I/O, for both roles.
//!
//! Nothing here opens a socket, starts a timer or blocks. The caller owns the transport: it hands the bytes it read to a
//! [`Session`], gets complete messages through its [`Sink`], and writes out what the session appended to a buffer.
//!
//! - [`handshake`] turns HTTP heads into an [`handshake::Upgrade`], an answer or a refusal, for servers and clients.
//! - [`Session`] is everything after the handshake: frames, fragments, masks, UTF-8, limits, ping and close.
//! - [`frame`] writes frames, also around a payload that is encoded in place.
//! - [`deflate`] is permessage-deflate (RFC 7692).
//! - [`proxy`] is the PROXY protocol, [`networks`] tells who is trusted to speak it.
//! - [`close`] knows which close codes may travel.
//!
//! ```
//! use sockeye_protocol::{Kind, Limits, Payload, Progress, Role, Session, Sink, frame};
//!
//! struct Print;
//! impl Sink for Print {
//!     fn message(&mut self, kind: Kind, payload: Payload<'_>) {
//!         assert_eq!((kind, &*payload), (Kind::Text, &b"hello"[..]));
//!     }
//! }
//!
//! let mut wire = Vec::new();
//! frame::write(&mut wire, frame::Opcode::Text, b"hello", Some([1, 2, 3, 4]));
//!
//! let mut session = Session::new(Role::Server);
//! let mut out = Vec::new();
//! let progress = session.receive(&mut wire, &Limits::default(), &mut out, &mut Print);
//! assert!(matches!(progress, Progress::Open));
//! ```

pub mod close;
mod config;
mod decode;
pub mod deflate;
mod ending;
mod error;
pub mod frame;
pub mod handshake;
pub mod hpack;
pub mod mask;
pub mod networks;
mod opcode;
mod partial;
pub mod proxy;
mod session;
mod sink;
pub mod utf8;

pub use close::{CloseReason, ClosedBy};
pub use config::{Kind, Limits, Role};
pub use error::Violation;
pub use session::Session;
pub use sink::{Payload, Progress, Sink};
