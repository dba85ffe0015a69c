//! The calls that take over sockets of the VM.

use std::io;

use rustler::{Binary, Encoder, Env, Error, NifResult, Term};
use sockeye_engine::{Address, Detached};
use sockeye_seam::events;
use sockeye_seam::settings::ends;

use crate::atoms;
use crate::settings::tree::{bad_arg, tree};
use crate::terms::errno;
use crate::vm::reply::{PendingReply, ReplyTo};
use crate::vm::running;

/// Serves the socket behind this descriptor, which is duplicated.
#[rustler::nif]
fn adopt<'a>(
    env: Env<'a>,
    server: u64,
    ticket: u64,
    descriptor: i32,
    read: Binary<'a>,
) -> NifResult<Term<'a>> {
    let (engine, server) = running::server(server).ok_or(Error::BadArg)?;
    let socket = match connected(descriptor) {
        Ok(socket) => socket,
        Err(e) => return Ok(errno(env, &e)),
    };
    let read = read.as_slice().to_vec();
    if ticket == 0 {
        engine.adopt(&server, socket, read);
    } else if !engine.settle(&server, ticket, socket, read) {
        return Ok((atoms::error(), atoms::closed()).encode(env));
    }
    Ok(atoms::ok().encode(env))
}

/// `{Reference, Verdict}` comes when the server has decided about this request.
#[rustler::nif]
fn admit<'a>(
    env: Env<'a>,
    server: u64,
    head: Binary<'a>,
    ends_of: Term<'a>,
    asked: PendingReply<'a>,
) -> NifResult<Term<'a>> {
    let (engine, server) = running::server(server).ok_or(Error::BadArg)?;
    let ends = ends(&tree(ends_of)).map_err(bad_arg)?;
    let to = ReplyTo::new(env, asked);
    let reply = move |verdict| to.answer(|b| events::verdict(&mut { b }, &verdict));
    engine.admit(&server, head.as_slice().to_vec(), ends, Box::new(reply));
    Ok(atoms::ok().encode(env))
}

/// A connected socket of the VM, which it stays.
#[cfg(unix)]
fn connected(descriptor: i32) -> io::Result<Detached> {
    Detached::new(duplicate(descriptor)?)
}

/// A socket of the VM that listens, which it stays.
#[cfg(unix)]
pub(crate) fn listening(descriptor: u64) -> io::Result<Address> {
    let own = duplicate(descriptor.try_into().unwrap_or(-1))?;
    Ok(Address::Given(std::sync::Arc::new(own)))
}

#[cfg(unix)]
fn duplicate(descriptor: i32) -> io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::BorrowedFd;

    if descriptor < 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: it is not -1, and borrowed for this call only, in which the port or socket of the calling process keeps it open. Were it closed
    // all the same, the system says so, or another file is duplicated, which is no matter of memory.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    borrowed.try_clone_to_owned()
}

#[cfg(not(unix))]
fn connected(_descriptor: i32) -> io::Result<Detached> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(unix))]
pub(crate) fn listening(_descriptor: u64) -> io::Result<Address> {
    Err(io::ErrorKind::Unsupported.into())
}
