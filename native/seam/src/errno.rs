//! Errors of the operating system, as `inet` names them.

use std::io;

use crate::atoms::Atom;

/// The name of an error, as `inet` has it.
pub fn errno(e: &io::Error) -> Atom {
    errno_of(e.kind(), e.raw_os_error())
}

/// The same, of its parts.
pub fn errno_of(kind: io::ErrorKind, code: Option<i32>) -> Atom {
    match kind {
        io::ErrorKind::ConnectionRefused => Atom::econnrefused,
        io::ErrorKind::ConnectionReset => Atom::econnreset,
        io::ErrorKind::HostUnreachable => Atom::ehostunreach,
        io::ErrorKind::NetworkUnreachable => Atom::enetunreach,
        io::ErrorKind::TimedOut => Atom::etimedout,
        io::ErrorKind::NotFound => Atom::enoent,
        io::ErrorKind::BrokenPipe => Atom::epipe,
        io::ErrorKind::AddrInUse => Atom::eaddrinuse,
        io::ErrorKind::AddrNotAvailable => Atom::eaddrnotavail,
        io::ErrorKind::PermissionDenied => Atom::eacces,
        io::ErrorKind::NotADirectory => Atom::enotdir,
        io::ErrorKind::ReadOnlyFilesystem => Atom::erofs,
        io::ErrorKind::NotConnected => Atom::not_running,
        io::ErrorKind::Unsupported => Atom::eafnosupport,
        _ if matches!(code, Some(23 | 24)) => Atom::emfile,
        _ if code == Some(19) => Atom::enodev,
        _ => Atom::einval,
    }
}
