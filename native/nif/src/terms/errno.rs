//! Errors of the operating system, as `inet` names them.

use std::io;

use rustler::types::atom::Atom;

use crate::atoms;

/// The name of an error, as `inet` has it.
pub(crate) fn errno(e: &io::Error) -> Atom {
    errno_of(e.kind(), e.raw_os_error())
}

pub(crate) fn errno_of(kind: io::ErrorKind, code: Option<i32>) -> Atom {
    match kind {
        io::ErrorKind::ConnectionRefused => atoms::econnrefused(),
        io::ErrorKind::ConnectionReset => atoms::econnreset(),
        io::ErrorKind::HostUnreachable => atoms::ehostunreach(),
        io::ErrorKind::NetworkUnreachable => atoms::enetunreach(),
        io::ErrorKind::TimedOut => atoms::etimedout(),
        io::ErrorKind::NotFound => atoms::enoent(),
        io::ErrorKind::BrokenPipe => atoms::epipe(),
        io::ErrorKind::AddrInUse => atoms::eaddrinuse(),
        io::ErrorKind::AddrNotAvailable => atoms::eaddrnotavail(),
        io::ErrorKind::PermissionDenied => atoms::eacces(),
        io::ErrorKind::NotADirectory => atoms::enotdir(),
        io::ErrorKind::ReadOnlyFilesystem => atoms::erofs(),
        io::ErrorKind::NotConnected => atoms::not_running(),
        io::ErrorKind::Unsupported => atoms::eafnosupport(),
        _ if matches!(code, Some(23 | 24)) => atoms::emfile(),
        _ if code == Some(19) => atoms::enodev(),
        _ => atoms::einval(),
    }
}
