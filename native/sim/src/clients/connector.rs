//! How a client connects.

use std::rc::Rc;

use super::endpoint::Endpoint;
use super::http2::pool::Pool;

/// What a client connects with.
#[derive(Clone)]
pub(crate) enum Connector {
    /// A socket of its own.
    Tcp(Endpoint),
    /// A stream of one of these connections of HTTP/2.
    Http2(Rc<Pool>),
}
