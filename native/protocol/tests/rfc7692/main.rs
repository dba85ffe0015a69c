//! permessage-deflate (RFC 7692) as its users see it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod messages;
mod negotiation;
mod properties;
mod sizes;
mod support;
