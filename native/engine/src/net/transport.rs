//! The byte stream of a connection: a socket, or a layer above one.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
#[cfg(unix)]
use tokio::net::UnixStream;

use crate::net::peer::PeerInfo;
use crate::world::net::{self, TcpStream};

/// A byte stream that is not a plain socket: TLS, or a stream of HTTP/2.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin {
    /// What is not sent yet need not be sent.
    fn abort(&mut self) {}

    /// See [`Transport::follow_peer`].
    fn follow_peer(&self) {}
}

/// The way to a peer.
pub(crate) enum Transport {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    Boxed(Box<dyn Stream>),
}

/// A socket that no runtime watches: between two shards, or on its way to the first. It does not block.
pub enum Detached {
    /// Of TCP.
    Tcp(net::DetachedStream),
    /// A Unix socket.
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixStream),
}

impl Detached {
    /// No socket of the system is in the simulation.
    #[cfg(all(unix, sim))]
    pub fn new(_: std::os::fd::OwnedFd) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// A connected socket.
    #[cfg(all(unix, not(sim)))]
    pub fn new(descriptor: std::os::fd::OwnedFd) -> io::Result<Self> {
        let socket = socket2::Socket::from(descriptor);
        if socket.r#type()? != socket2::Type::STREAM {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        socket.set_nonblocking(true)?;
        match socket.peer_addr()? {
            peer if peer.is_unix() => Ok(Detached::Unix(socket.into())),
            _ => Ok(Detached::Tcp(socket.into())),
        }
    }

    /// Takes it to the shard whose thread calls.
    pub(crate) fn attach(self) -> io::Result<Transport> {
        Ok(match self {
            Detached::Tcp(socket) => Transport::Tcp(TcpStream::from_std(socket)?),
            #[cfg(unix)]
            Detached::Unix(socket) => Transport::Unix(UnixStream::from_std(socket)?),
        })
    }
}

impl Transport {
    /// Takes a socket from its shard. What stands on one stays where it is.
    pub(crate) fn detach(self) -> io::Result<Detached> {
        match self {
            Transport::Tcp(socket) => Ok(Detached::Tcp(socket.into_std()?)),
            #[cfg(unix)]
            Transport::Unix(socket) => Ok(Detached::Unix(socket.into_std()?)),
            Transport::Boxed(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The two ends of a socket.
    pub(crate) fn ends(&self) -> io::Result<PeerInfo> {
        let (peer, local) = match self {
            Transport::Tcp(socket) => (socket.peer_addr()?.into(), socket.local_addr()?.into()),
            #[cfg(unix)]
            Transport::Unix(socket) => (socket.peer_addr()?.into(), socket.local_addr()?.into()),
            Transport::Boxed(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(PeerInfo::new(peer, local))
    }

    /// The number of the socket's descriptor, where there is such a number.
    pub(crate) fn descriptor(&self) -> Option<usize> {
        match self {
            Transport::Tcp(socket) => net::descriptor(socket),
            #[cfg(unix)]
            Transport::Unix(socket) => {
                usize::try_from(std::os::fd::AsRawFd::as_raw_fd(socket)).ok()
            }
            Transport::Boxed(_) => None,
        }
    }

    /// A small packet leaves at once: waiting for more to send would only delay a reply.
    pub(crate) fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Transport::Tcp(socket) => socket.set_nodelay(true),
            _ => Ok(()),
        }
    }

    /// From now on what can be written follows what the peer takes: the kernel keeps little ahead of
    /// it. Otherwise it may keep megabytes, and let nothing more in until it has sent a third of them,
    /// which looks as if a slow peer took nothing. Where there is no such setting, it does.
    pub(crate) fn follow_peer(&self) {
        match self {
            Transport::Tcp(socket) => net::keep_little_ahead(socket),
            Transport::Boxed(stream) => stream.follow_peer(),
            _ => {}
        }
    }

    pub(crate) fn boxed(stream: impl Stream + 'static) -> Self {
        Transport::Boxed(Box::new(stream))
    }

    /// Writes what can be written now, else `WouldBlock`. `waker` is then woken if
    /// [`Transport::poll_write_ready`] cannot tell when to try again.
    pub(crate) fn try_write(&mut self, slices: &[IoSlice<'_>], waker: &Waker) -> io::Result<usize> {
        match self {
            Transport::Tcp(socket) => match slices {
                [one] => socket.try_write(one),
                many => socket.try_write_vectored(many),
            },
            #[cfg(unix)]
            Transport::Unix(socket) => match slices {
                [one] => socket.try_write(one),
                many => socket.try_write_vectored(many),
            },
            Transport::Boxed(stream) => {
                let mut cx = Context::from_waker(waker);
                now(Pin::new(stream).poll_write_vectored(&mut cx, slices))
            }
        }
    }

    /// Passes on what a layer below has kept back; `WouldBlock` as in [`Transport::try_write`].
    pub(crate) fn try_flush(&mut self, waker: &Waker) -> io::Result<()> {
        match self {
            Transport::Tcp(_) => Ok(()),
            #[cfg(unix)]
            Transport::Unix(_) => Ok(()),
            Transport::Boxed(stream) => {
                now(Pin::new(stream).poll_flush(&mut Context::from_waker(waker)))
            }
        }
    }

    /// Waits for a full socket. A boxed stream is always ready: only trying tells.
    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Transport::Tcp(socket) => socket.poll_write_ready(cx),
            #[cfg(unix)]
            Transport::Unix(socket) => socket.poll_write_ready(cx),
            Transport::Boxed(_) => Poll::Ready(Ok(())),
        }
    }

    /// Whether a write that would block has registered the waker it was given.
    pub(crate) fn wakes(&self) -> bool {
        matches!(self, Transport::Boxed(_))
    }

    /// Closing drops what the peer has not taken: unsent data would keep the kernel busy with
    /// one that does not read.
    pub(crate) fn abort(&mut self) {
        match self {
            Transport::Tcp(socket) => net::reset_on_close(socket),
            // Its peer is on this machine, and nothing is sent again.
            #[cfg(unix)]
            Transport::Unix(_) => {}
            Transport::Boxed(stream) => stream.abort(),
        }
    }
}

fn now<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(socket) => Pin::new(socket).poll_read(cx, buf),
            #[cfg(unix)]
            Transport::Unix(socket) => Pin::new(socket).poll_read(cx, buf),
            Transport::Boxed(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Tcp(socket) => Pin::new(socket).poll_write(cx, buf),
            #[cfg(unix)]
            Transport::Unix(socket) => Pin::new(socket).poll_write(cx, buf),
            Transport::Boxed(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            #[cfg(unix)]
            Transport::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Transport::Boxed(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Transport::Tcp(socket) => socket.is_write_vectored(),
            #[cfg(unix)]
            Transport::Unix(socket) => socket.is_write_vectored(),
            Transport::Boxed(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            #[cfg(unix)]
            Transport::Unix(socket) => Pin::new(socket).poll_flush(cx),
            Transport::Boxed(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            #[cfg(unix)]
            Transport::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
            Transport::Boxed(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_pays_eight_bytes_for_the_choice() {
        assert_eq!(size_of::<Option<Transport>>(), size_of::<TcpStream>() + 8);
    }
}
