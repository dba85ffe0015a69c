//! Messages to the process of a client: connected, failed with a reason, or disconnected.

use std::io;

use sockeye_engine::{
    ConnId, DialError, Disconnected, ProxyError, RedirectError, Rejection, TlsFault,
};
use sockeye_protocol::handshake::HandshakeError;
use sockeye_protocol::handshake::client::Breach;

use crate::atoms::Atom;
use crate::errno::errno_of;
use crate::events::headers;
use crate::write::Writer;

/// `{sockeye_dialled, Client, {ok, Conn} | {error, Reason}}`
pub fn dialled<W: Writer>(w: &mut W, client: u64, result: &Result<ConnId, DialError>) -> W::Term {
    w.tuple(3);
    let tag = w.atom(Atom::sockeye_dialled);
    let client = w.integer(client);
    w.tuple(2);
    let result = match result {
        Ok(conn) => [w.atom(Atom::ok), w.conn(*conn)],
        Err(error) => [w.atom(Atom::error), dial_reason(w, error)],
    };
    let result = w.end_tuple(&result);
    w.end_tuple(&[tag, client, result])
}

/// `{sockeye_disconnected, Client, Conn, {Code, Reason, Asked}}`
pub fn disconnected<W: Writer>(
    w: &mut W,
    client: u64,
    conn: ConnId,
    end: &Disconnected,
) -> W::Term {
    w.tuple(4);
    let tag = w.atom(Atom::sockeye_disconnected);
    let client = w.integer(client);
    let conn = w.conn(conn);
    w.tuple(3);
    let end = [
        w.integer(end.code.into()),
        w.binary(end.reason.as_bytes()),
        w.boolean(end.asked),
    ];
    let end = w.end_tuple(&end);
    w.end_tuple(&[tag, client, conn, end])
}

/// `{Tag, Value}`
fn tagged<W: Writer>(w: &mut W, tag: Atom, value: impl FnOnce(&mut W) -> W::Term) -> W::Term {
    w.tuple(2);
    let parts = [w.atom(tag), value(w)];
    w.end_tuple(&parts)
}

/// The reason, as the table of errors in the manual has it.
fn dial_reason<W: Writer>(w: &mut W, error: &DialError) -> W::Term {
    match error {
        DialError::Timeout => w.atom(Atom::timeout),
        DialError::NoHost => w.atom(Atom::nxdomain),
        DialError::Io(kind, code) => w.atom(errno_of(*kind, *code)),
        DialError::Closed | DialError::Stopped => w.atom(Atom::closed),
        DialError::Tls(fault, why) => tagged(w, Atom::tls, |w| {
            tagged(w, tls_fault(*fault), |w| w.binary(why.as_bytes()))
        }),
        DialError::Proxy(why) => tagged(w, Atom::proxy, |w| w.atom(proxy_error(*why))),
        DialError::ProxyRefused(answer) => tagged(w, Atom::proxy, |w| {
            tagged(w, Atom::refused, |w| refused(w, answer))
        }),
        DialError::Refused(answer) => tagged(w, Atom::refused, |w| refused(w, answer)),
        DialError::Handshake(HandshakeError::BadOption(what)) => {
            tagged(w, Atom::bad_request, |w| w.binary(what.as_bytes()))
        }
        DialError::Handshake(why) => tagged(w, Atom::bad_handshake, |w| w.atom(breach(why))),
        DialError::Redirect(why) => {
            let why = match why {
                RedirectError::TooMany => Atom::too_many,
                RedirectError::Insecure => Atom::insecure,
                _ => Atom::bad_location,
            };
            tagged(w, Atom::redirect, |w| w.atom(why))
        }
        _ => w.atom(errno_of(io::ErrorKind::Other, None)),
    }
}

/// What is wrong with an answer.
fn breach(error: &HandshakeError) -> Atom {
    match error {
        HandshakeError::TooLarge => Atom::too_large,
        HandshakeError::Invalid(Breach::Upgrade) => Atom::upgrade,
        HandshakeError::Invalid(Breach::Connection) => Atom::connection,
        HandshakeError::Invalid(Breach::Accept) => Atom::accept,
        HandshakeError::Invalid(Breach::Subprotocol) => Atom::subprotocol,
        HandshakeError::Invalid(Breach::Extension(_)) => Atom::extension,
        _ => Atom::malformed,
    }
}

fn tls_fault(fault: TlsFault) -> Atom {
    match fault {
        TlsFault::UnknownCa => Atom::unknown_ca,
        TlsFault::BadHost => Atom::bad_host,
        TlsFault::Expired => Atom::expired,
        TlsFault::NotYetValid => Atom::not_yet_valid,
        TlsFault::Revoked => Atom::revoked,
        TlsFault::Pin => Atom::pin,
        TlsFault::Certificate => Atom::bad_certificate,
        TlsFault::Alert => Atom::alert,
        TlsFault::NotTls => Atom::not_tls,
        _ => Atom::failure,
    }
}

fn proxy_error(error: ProxyError) -> Atom {
    match error {
        ProxyError::Denied => Atom::denied,
        ProxyError::Failure => Atom::failure,
        ProxyError::NotAllowed => Atom::not_allowed,
        ProxyError::Unreachable => Atom::ehostunreach,
        ProxyError::Refused => Atom::econnrefused,
        _ => Atom::malformed,
    }
}

fn refused<W: Writer>(w: &mut W, answer: &Rejection) -> W::Term {
    w.map(3);
    let pairs = [
        (w.atom(Atom::status), w.integer(answer.status.into())),
        (w.atom(Atom::headers), headers(w, &answer.headers)),
        (w.atom(Atom::body), w.binary(&answer.body)),
    ];
    w.end_map(&pairs)
}
