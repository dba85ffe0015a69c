//! Somewhere to connect to.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use super::{TcpStream, next_port};
use crate::{chance, with};

/// Connections that were not accepted yet.
#[derive(Default)]
pub(crate) struct Backlog {
    streams: VecDeque<TcpStream>,
    most: usize,
    waker: Option<Waker>,
}

/// A listening socket.
pub struct DetachedListener {
    address: SocketAddr,
    backlog: Arc<Mutex<Backlog>>,
    epoch: u64,
}

/// A listening socket that a task uses.
pub struct TcpListener(DetachedListener);

fn lock(backlog: &Mutex<Backlog>) -> MutexGuard<'_, Backlog> {
    backlog.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Listens.
///
/// # Errors
/// The address is taken.
pub fn listen(
    mut address: SocketAddr,
    size: i32,
    _reuse_port: bool,
) -> io::Result<DetachedListener> {
    if address.port() == 0 {
        address.set_port(next_port());
    }
    let backlog = Arc::new(Mutex::new(Backlog {
        most: size.max(1) as usize,
        ..Backlog::default()
    }));
    with(|world| {
        let mut listeners = world.network.listeners.borrow_mut();
        if listeners.contains_key(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        listeners.insert(address, backlog.clone());
        Ok(DetachedListener {
            address,
            backlog,
            epoch: crate::epoch(),
        })
    })
}

/// Hands a new connection to the listener of an address.
pub(super) fn deliver(address: SocketAddr, stream: TcpStream) -> io::Result<()> {
    let listener = with(|world| world.network.listeners.borrow().get(&address).cloned());
    let listener = listener.ok_or(io::ErrorKind::ConnectionRefused)?;
    let mut backlog = lock(&listener);
    if backlog.streams.len() >= backlog.most {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    backlog.streams.push_back(stream);
    let waker = backlog.waker.take();
    drop(backlog);
    waker.inspect(Waker::wake_by_ref);
    Ok(())
}

impl Drop for DetachedListener {
    fn drop(&mut self) {
        if self.epoch == crate::epoch() {
            with(|world| world.network.listeners.borrow_mut().remove(&self.address));
            let left = std::mem::take(&mut lock(&self.backlog).streams);
            // Connections that were not accepted are reset.
            left.iter().for_each(super::reset_on_close);
        }
    }
}

impl DetachedListener {
    /// Where it listens.
    ///
    /// # Errors
    /// None.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl TcpListener {
    /// From a socket that no task watches.
    ///
    /// # Errors
    /// None.
    pub fn from_std(listener: DetachedListener) -> io::Result<Self> {
        Ok(TcpListener(listener))
    }

    /// The next one that connects.
    ///
    /// # Errors
    /// The system has no more to give.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let stream = poll_fn(|cx| {
            let mut backlog = lock(&self.0.backlog);
            match backlog.streams.pop_front() {
                Some(stream) => Poll::Ready(stream),
                None => {
                    backlog.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await;
        let faults = with(|world| *world.network.faults.borrow());
        if chance(faults.accept_errors, 1000) {
            let error = match chance(1, 2) {
                true => io::ErrorKind::ConnectionAborted,
                false => io::ErrorKind::OutOfMemory,
            };
            return Err(error.into());
        }
        let peer = stream.peer_addr()?;
        Ok((stream, peer))
    }
}
