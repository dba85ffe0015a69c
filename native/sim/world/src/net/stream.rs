//! An end of a link, with the calls of tokio's.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::link::{Faults, Shared};
use super::{listener, preempt};
use crate::{chance, draw, time, with};

/// The end of a link.
pub struct DetachedStream {
    link: Shared,
    end: usize,
    epoch: u64,
    reset: AtomicBool,
    closed: AtomicBool,
}

impl DetachedStream {
    fn hang_up(&self) {
        if self.epoch == crate::epoch() && !self.closed.swap(true, Ordering::Relaxed) {
            with(|world| world.network.open.set(world.network.open.get() - 1));
            self.link
                .close(self.end, self.reset.load(Ordering::Relaxed));
        }
    }

    fn read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = self
            .link
            .read(self.end, buf.remaining(), cx.waker(), |bytes| {
                buf.put_slice(bytes);
            });
        read.map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for DetachedStream {
    fn drop(&mut self) {
        self.hang_up();
    }
}

/// One half of the end of a link: what reads.
pub struct OwnedReadHalf(Arc<TcpStream>);

/// The other one: what writes. Nobody else does something meanwhile, since whoever uses it may hold a lock.
pub struct OwnedWriteHalf(Arc<TcpStream>);

impl OwnedReadHalf {
    /// Of an end that others hold as well.
    pub fn of(stream: Arc<TcpStream>) -> Self {
        OwnedReadHalf(stream)
    }
}

impl OwnedWriteHalf {
    /// Of an end that others hold as well.
    pub fn of(stream: Arc<TcpStream>) -> Self {
        OwnedWriteHalf(stream)
    }

    /// Writes what can be written now.
    ///
    /// # Errors
    /// `WouldBlock`, or what has ended the link.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.0.link.write(self.0.0.end, bytes)
    }

    /// Waits until something can be written.
    ///
    /// # Errors
    /// None.
    pub async fn writable(&self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.0.poll_write_ready(cx)).await
    }
}

impl AsyncRead for OwnedReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.0.read(cx, buf)
    }
}

/// The end of a link that a task uses.
pub struct TcpStream(DetachedStream);

impl std::fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TcpStream")
    }
}

impl TcpStream {
    pub(super) fn of(link: Shared, end: usize) -> Self {
        with(|world| world.network.open.set(world.network.open.get() + 1));
        TcpStream(DetachedStream {
            link,
            end,
            epoch: crate::epoch(),
            reset: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        })
    }

    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there, or the network does not like it.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::connect_from(([10, 0, 0, 1], super::next_port()).into(), address).await
    }

    /// Connects, from this address.
    ///
    /// # Errors
    /// As [`TcpStream::connect`].
    pub async fn connect_from(local: SocketAddr, address: SocketAddr) -> io::Result<Self> {
        let faults = with(|world| *world.network.faults.borrow());
        time::sleep(Duration::from_nanos(draw(2 * faults.delay + 1))).await;
        if chance(faults.refusals, 1000) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let link = Shared::new(faults, [local, address]);
        let peer = TcpStream::of(link.clone(), 1);
        let stream = TcpStream::of(link, 0);
        listener::deliver(address, peer)?;
        Ok(stream)
    }

    /// The two ends of a link of this kind, which no listener has been asked for.
    pub fn pair(faults: Faults) -> (Self, Self) {
        let local = ([127, 0, 0, 1], super::next_port()).into();
        let remote = ([127, 0, 0, 1], super::next_port()).into();
        let link = Shared::new(faults, [local, remote]);
        (TcpStream::of(link.clone(), 0), TcpStream::of(link, 1))
    }

    /// Closes it before it is dropped; with a reset, if that is what closing it is to do.
    pub fn hang_up(&self) {
        self.0.hang_up();
    }

    /// From a socket that no task watches.
    ///
    /// # Errors
    /// None.
    pub fn from_std(stream: DetachedStream) -> io::Result<Self> {
        Ok(TcpStream(stream))
    }

    /// To a socket that no task watches.
    ///
    /// # Errors
    /// None.
    pub fn into_std(self) -> io::Result<DetachedStream> {
        Ok(self.0)
    }

    /// Its own address.
    ///
    /// # Errors
    /// None.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.0.link.lock().addresses[self.0.end])
    }

    /// The other end's address.
    ///
    /// # Errors
    /// None.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.0.link.lock().addresses[1 - self.0.end])
    }

    /// Does nothing.
    ///
    /// # Errors
    /// None.
    pub fn set_nodelay(&self, _nodelay: bool) -> io::Result<()> {
        Ok(())
    }

    /// Writes what can be written now.
    ///
    /// # Errors
    /// `WouldBlock`, or what has ended the link.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        preempt();
        self.0.link.write(self.0.end, bytes)
    }

    /// The same.
    ///
    /// # Errors
    /// As [`TcpStream::try_write`].
    pub fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        preempt();
        let mut written = 0;
        for slice in slices.iter().filter(|slice| !slice.is_empty()) {
            match self.0.link.write(self.0.end, slice) {
                Ok(n) => {
                    written += n;
                    if n < slice.len() {
                        break;
                    }
                }
                Err(_) if written > 0 => {
                    break;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(written)
    }

    /// Reads what there is, for those who read and write in different tasks.
    ///
    /// # Errors
    /// What has ended the link.
    pub async fn read_some(&self, most: usize) -> io::Result<Vec<u8>> {
        std::future::poll_fn(|cx| {
            let mut bytes = Vec::new();
            let read = self.0.link.read(self.0.end, most, cx.waker(), |part| {
                bytes.extend_from_slice(part);
            });
            match read {
                None => Poll::Pending,
                Some(Ok(())) => Poll::Ready(Ok(std::mem::take(&mut bytes))),
                Some(Err(e)) => Poll::Ready(Err(e)),
            }
        })
        .await
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// What has ended the link.
    pub async fn write_whole(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.0.link.write(self.0.end, bytes) {
                Ok(len) => bytes = &bytes[len..],
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    std::future::poll_fn(|cx| self.poll_write_ready(cx)).await?;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Says that nothing more is written.
    pub fn finish_writing(&self) {
        let _ = self.0.link.shut(self.0.end);
    }

    /// Waits until something can be written.
    ///
    /// # Errors
    /// None.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0.link.writable(self.0.end, cx.waker()) {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        preempt();
        self.0.read(cx, buf)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.try_write_vectored(slices) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if self.poll_write_ready(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
                result => return Poll::Ready(result),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.link.shut(self.0.end))
    }
}

/// Numbers as the system gives them out, with no regard for which are free.
pub fn descriptor(_socket: &TcpStream) -> Option<usize> {
    Some(super::open_sockets() + 3)
}

/// Does nothing: a link keeps little.
pub fn keep_little_ahead(_socket: &TcpStream) {}

/// Makes closing this socket reset it.
pub fn reset_on_close(socket: &TcpStream) {
    socket.0.reset.store(true, Ordering::Relaxed);
}
