//! No answer from the server behind: what the client gets, and what the log says of it.

use std::error::Error;
use std::io;

use hyper::Response;
use sockeye_protocol::handshake::Refusal;

use super::Upstream;
use crate::http::body::Body;
use crate::http::service::Service;
use crate::http::{last, response};
use crate::net::fault::DialError;
use crate::server::{Server, bump};
use crate::vm::host::Notice;

/// Why there is no answer to pass on.
pub(super) struct Failure {
    refusal: Refusal,
    /// What the server behind has done, if it is its fault.
    said: Option<String>,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure {
            refusal,
            said: None,
        }
    }
}

pub(super) fn bad_gateway(what: &str) -> Failure {
    failure(502, what)
}

pub(super) fn gateway_timeout(what: &str) -> Failure {
    failure(504, what)
}

/// The client is not told of the system's words: it need not know where the server behind is.
pub(super) fn unreachable(error: &DialError) -> Failure {
    let mut failure = bad_gateway("cannot be reached");
    let why = match error {
        DialError::NoHost => "its host has no address".into(),
        DialError::Io(_, Some(code)) => io::Error::from_raw_os_error(*code).to_string(),
        DialError::Io(kind, None) => kind.to_string(),
        _ => return failure,
    };
    failure.said = failure.said.map(|said| format!("{said}: {why}"));
    failure
}

fn failure(status: u16, what: &str) -> Failure {
    Failure {
        refusal: Refusal::new(status, format!("The server behind this one {what}.\n")),
        said: Some(what.into()),
    }
}

impl Failure {
    pub(super) fn answer(self, service: &Service, upstream: &Upstream) -> Response<Body> {
        let is_ours = self.refusal.status >= 500;
        if is_ours {
            bump(&service.server.counters.proxy_errors, 1);
        }
        if let Some(said) = self.said {
            log(&service.server, upstream, || said);
        }
        let answer = response(self.refusal);
        // What is left of the request is not read.
        if is_ours { answer } else { last(answer) }
    }
}

/// An answer that has begun will not be whole.
pub(super) fn broke_off(server: &Server, upstream: &Upstream, error: &io::Error) {
    bump(&server.counters.proxy_errors, 1);
    log(server, upstream, || match error.kind() {
        io::ErrorKind::TimedOut => "sent nothing more of an answer for idle_timeout".into(),
        _ => {
            let cause = error.get_ref().and_then(Error::source);
            let why = cause.map_or_else(String::new, |cause| format!(": {cause}"));
            format!("broke off an answer{why}")
        }
    });
}

fn log(server: &Server, upstream: &Upstream, reason: impl FnOnce() -> String) {
    if upstream.trouble.begins() {
        server.host.event(Notice::UpstreamFailed {
            upstream: upstream.place(),
            reason: reason(),
        });
    }
}

/// It has answered.
pub(super) fn answered(server: &Server, upstream: &Upstream) {
    if upstream.trouble.ends() {
        let upstream = upstream.place();
        server.host.event(Notice::UpstreamAnswers(upstream));
    }
}
