//! The call that takes over a socket of the VM.

use std::io;

use rustler::{Binary, Encoder, Env, Error, NifResult, Term};

use sockeye_engine::Detached;

use crate::atoms;
use crate::terms::errno;
use crate::vm::running;

/// Serves the socket behind this descriptor, which is duplicated.
#[rustler::nif]
fn adopt<'a>(env: Env<'a>, server: u64, descriptor: i32, read: Binary<'a>) -> NifResult<Term<'a>> {
    let (engine, server) = running::server(server).ok_or(Error::BadArg)?;
    match duplicate(descriptor) {
        Ok(socket) => {
            engine.adopt(&server, socket, read.as_slice().to_vec());
            Ok(atoms::ok().encode(env))
        }
        Err(e) => Ok(errno(env, &e)),
    }
}

#[cfg(unix)]
fn duplicate(descriptor: i32) -> io::Result<Detached> {
    use std::os::fd::BorrowedFd;

    if descriptor < 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: it is not -1, and borrowed for this call only, in which the port or socket of the calling process keeps it open. Were it closed
    // all the same, the system says so, or another file is duplicated, which is no matter of memory.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    Detached::new(borrowed.try_clone_to_owned()?)
}

#[cfg(not(unix))]
fn duplicate(_descriptor: i32) -> io::Result<Detached> {
    Err(io::ErrorKind::Unsupported.into())
}
