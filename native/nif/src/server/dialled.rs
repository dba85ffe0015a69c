//! What the process of a client is told: connected or not and why, and how a connection has ended.

use std::io;

use rustler::sys::ErlNifTerm;
use rustler::types::atom::Atom;
use sockeye_engine::{
    ConnId, DialError, Disconnected, ProxyError, RedirectError, Rejection, TlsFault,
};
use sockeye_protocol::handshake::HandshakeError;
use sockeye_protocol::handshake::client::Breach;

use crate::atoms;
use crate::server::vm_server::VmServer;
use crate::terms::errno::errno_of;
use crate::terms::{Builder, map};
use crate::vm::process;

pub(crate) fn dialled(host: &VmServer, id: u64, result: Result<ConnId, DialError>) {
    process::send(&host.pid, |b| {
        let result = match result {
            Ok(conn) => b.tuple([b.atom(atoms::ok()), b.conn(conn)]),
            Err(e) => b.tuple([b.atom(atoms::error()), reason(b, &e)]),
        };
        let tag = b.atom(atoms::sockeye_dialled());
        b.tuple([tag, b.integer(id), result])
    });
}

pub(crate) fn disconnected(host: &VmServer, id: u64, conn: ConnId, end: &Disconnected) {
    process::send(&host.pid, |b| {
        let asked = if end.asked {
            atoms::true_()
        } else {
            atoms::false_()
        };
        let code = b.integer(end.code.into());
        let end = b.tuple([code, b.binary(end.reason.as_bytes()), b.atom(asked)]);
        let tag = b.atom(atoms::sockeye_disconnected());
        b.tuple([tag, b.integer(id), b.conn(conn), end])
    });
}

/// The reason, as the table of errors in the manual has it.
fn reason(b: Builder, error: &DialError) -> ErlNifTerm {
    let told = |tag, text: &str| b.tuple([b.atom(tag), b.binary(text.as_bytes())]);
    match error {
        DialError::Timeout => b.atom(atoms::timeout()),
        DialError::NoHost => b.atom(atoms::nxdomain()),
        DialError::Io(kind, code) => b.atom(errno_of(*kind, *code)),
        DialError::Closed | DialError::Stopped => b.atom(atoms::closed()),
        DialError::Tls(fault, why) => {
            let why = b.tuple([b.atom(tls_fault(*fault)), b.binary(why.as_bytes())]);
            b.tuple([b.atom(atoms::tls()), why])
        }
        DialError::Proxy(why) => b.tuple([b.atom(atoms::proxy()), b.atom(proxy_error(*why))]),
        DialError::ProxyRefused(answer) => {
            let answer = b.tuple([b.atom(atoms::refused()), refused(b, answer)]);
            b.tuple([b.atom(atoms::proxy()), answer])
        }
        DialError::Refused(answer) => b.tuple([b.atom(atoms::refused()), refused(b, answer)]),
        DialError::Handshake(HandshakeError::BadOption(what)) => told(atoms::bad_request(), what),
        DialError::Handshake(why) => {
            let why = b.atom(breach(why));
            b.tuple([b.atom(atoms::bad_handshake()), why])
        }
        DialError::Redirect(why) => {
            let why = match why {
                RedirectError::TooMany => atoms::too_many(),
                RedirectError::Insecure => atoms::insecure(),
                _ => atoms::bad_location(),
            };
            b.tuple([b.atom(atoms::redirect()), b.atom(why)])
        }
        _ => b.atom(io_unknown()),
    }
}

/// What is wrong with an answer.
fn breach(error: &HandshakeError) -> Atom {
    match error {
        HandshakeError::TooLarge => atoms::too_large(),
        HandshakeError::Invalid(Breach::Upgrade) => atoms::upgrade(),
        HandshakeError::Invalid(Breach::Connection) => atoms::connection(),
        HandshakeError::Invalid(Breach::Accept) => atoms::accept(),
        HandshakeError::Invalid(Breach::Subprotocol) => atoms::subprotocol(),
        HandshakeError::Invalid(Breach::Extension(_)) => atoms::extension(),
        _ => atoms::malformed(),
    }
}

fn tls_fault(fault: TlsFault) -> Atom {
    match fault {
        TlsFault::UnknownCa => atoms::unknown_ca(),
        TlsFault::BadHost => atoms::bad_host(),
        TlsFault::Expired => atoms::expired(),
        TlsFault::NotYetValid => atoms::not_yet_valid(),
        TlsFault::Revoked => atoms::revoked(),
        TlsFault::Pin => atoms::pin(),
        TlsFault::Certificate => atoms::bad_certificate(),
        TlsFault::Alert => atoms::alert(),
        TlsFault::NotTls => atoms::not_tls(),
        _ => atoms::failure(),
    }
}

fn proxy_error(error: ProxyError) -> Atom {
    match error {
        ProxyError::Denied => atoms::denied(),
        ProxyError::Failure => atoms::failure(),
        ProxyError::NotAllowed => atoms::not_allowed(),
        ProxyError::Unreachable => atoms::ehostunreach(),
        ProxyError::Refused => atoms::econnrefused(),
        _ => atoms::malformed(),
    }
}

fn io_unknown() -> Atom {
    errno_of(io::ErrorKind::Other, None)
}

fn refused(b: Builder, answer: &Rejection) -> ErlNifTerm {
    let headers = answer.headers.iter();
    let headers: Vec<_> = headers
        .map(|(name, value)| b.tuple([b.binary(name.as_bytes()), b.binary(value)]))
        .collect();
    map(
        b,
        &[
            (b.atom(atoms::status()), b.integer(answer.status.into())),
            (b.atom(atoms::headers()), b.list(&headers)),
            (b.atom(atoms::body()), b.binary(&answer.body)),
        ],
    )
}
