//! Reasons why a client could not connect.

use std::io;

use sockeye_protocol::handshake::{HandshakeError, Headers};

/// What a server, or a proxy, answered instead of what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The HTTP status.
    pub status: u16,
    /// The headers of the answer.
    pub headers: Headers,
    /// The beginning of its body, 64 KiB bytes at most.
    pub body: Vec<u8>,
}

/// Why a client is not connected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DialError {
    /// It took longer than `connect_timeout`.
    Timeout,
    /// The host has no address.
    NoHost,
    /// The operating system could not connect.
    Io(io::ErrorKind, Option<i32>),
    /// The other end hung up before the handshake was complete.
    Closed,
    /// TLS was not agreed on; the text says more.
    Tls(TlsFault, String),
    /// The proxy did not let us through.
    Proxy(ProxyError),
    /// The proxy answered with a status.
    ProxyRefused(Box<Rejection>),
    /// The server answered something else than 101.
    Refused(Box<Rejection>),
    /// The server answered what a server must not, or the request cannot be written.
    Handshake(HandshakeError),
    /// A redirect that must not be followed.
    Redirect(RedirectError),
    /// The client is stopped.
    Stopped,
}

impl From<io::Error> for DialError {
    fn from(e: io::Error) -> Self {
        let tls = e.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
        if let Some(tls) = tls {
            return fault(tls);
        }
        match e.kind() {
            io::ErrorKind::UnexpectedEof => DialError::Closed,
            kind => DialError::Io(kind, e.raw_os_error()),
        }
    }
}

/// What a proxy has done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyError {
    /// It does not speak what it should.
    Malformed,
    /// It wants credentials, or others.
    Denied,
    /// SOCKS: a general failure.
    Failure,
    /// SOCKS: its rules do not allow it.
    NotAllowed,
    /// SOCKS: it finds no way to the host.
    Unreachable,
    /// SOCKS: the host has refused.
    Refused,
}

/// Why a redirect is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedirectError {
    /// More than allowed.
    TooMany,
    /// From TLS to none, from a Unix socket to the network, or with a client certificate to
    /// another host.
    Insecure,
    /// No `Location`, or none that leads anywhere.
    BadLocation,
}

/// Why TLS was not agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsFault {
    /// Nobody whom we trust has signed the certificate.
    UnknownCa,
    /// The certificate is for other hosts.
    BadHost,
    /// The certificate is not valid any more.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
    /// The certificate was taken back.
    Revoked,
    /// The certificate is none of those that were named.
    Pin,
    /// Something else is wrong with the certificate.
    Certificate,
    /// The server said no.
    Alert,
    /// The server does not speak TLS.
    NotTls,
    /// Something else.
    Other,
}

/// What the layer below reports, also later: a server may refuse our certificate when our side of
/// the handshake is done.
pub(super) fn fault(tls: &rustls::Error) -> DialError {
    use rustls::{CertificateError as C, Error as E};
    let fault = match tls {
        E::InvalidCertificate(why) => match why {
            C::UnknownIssuer => TlsFault::UnknownCa,
            C::NotValidForName | C::NotValidForNameContext { .. } => TlsFault::BadHost,
            C::Expired | C::ExpiredContext { .. } => TlsFault::Expired,
            C::NotValidYet | C::NotValidYetContext { .. } => TlsFault::NotYetValid,
            C::Revoked => TlsFault::Revoked,
            C::ApplicationVerificationFailure => TlsFault::Pin,
            _ => TlsFault::Certificate,
        },
        E::NoCertificatesPresented | E::UnsupportedNameType => TlsFault::Certificate,
        E::AlertReceived(_) => TlsFault::Alert,
        E::InvalidMessage(_) | E::InappropriateMessage { .. } => TlsFault::NotTls,
        _ => TlsFault::Other,
    };
    DialError::Tls(fault, sentence(tls))
}

/// As plain `openssl req -x509` makes them.
const OF_AN_AUTHORITY: &str = "it is the certificate of an authority, not of a server: make one with \
    basicConstraints=CA:FALSE, or take it by the option pin with verify_none";

fn sentence(tls: &rustls::Error) -> String {
    use rustls::{CertificateError, Error};
    match tls {
        // What checks certificates is not public where its error is.
        Error::InvalidCertificate(CertificateError::Other(why))
            if format!("{why:?}").contains("CaUsedAsEndEntity") =>
        {
            OF_AN_AUTHORITY.to_owned()
        }
        _ => tls.to_string(),
    }
}
