//! TLS on a transport, whichever side has asked for it.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use rustls::{CommonState, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

use crate::net::peer::TlsFacts;
use crate::net::transport::{Stream, Transport};

/// A transport of which some bytes have been read already.
pub(crate) struct PrefixedTransport {
    bytes: Vec<u8>,
    transport: Transport,
}

impl PrefixedTransport {
    pub(crate) fn new(bytes: Vec<u8>, transport: Transport) -> Self {
        PrefixedTransport { bytes, transport }
    }

    /// The transport, without what was read.
    pub(crate) fn into_transport(self) -> Transport {
        self.transport
    }
}

impl AsyncRead for PrefixedTransport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.bytes.is_empty() {
            return Pin::new(&mut self.transport).poll_read(cx, buf);
        }
        let len = self.bytes.len().min(buf.remaining());
        buf.put_slice(self.bytes.get(..len).unwrap_or_default());
        self.bytes.drain(..len);
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for PrefixedTransport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

/// TLS whose handshake is done.
///
/// Whoever lets go of it without having shut it down, for whatever reason, still says `close_notify`
/// (RFC 8446, 6.1), as far as that goes without waiting: the peer is to know that nothing was cut off
/// on the way.
pub(crate) struct TlsTransport {
    stream: TlsStream<PrefixedTransport>,
    /// All is said, or there is no point in it.
    silent: bool,
}

impl TlsTransport {
    pub(crate) fn new(stream: impl Into<TlsStream<PrefixedTransport>>) -> Self {
        TlsTransport {
            stream: stream.into(),
            silent: false,
        }
    }

    /// What was agreed on, beside the name that the client asked for.
    pub(crate) fn facts(&self, sni: Option<Box<str>>) -> TlsFacts {
        let session: &CommonState = self.stream.get_ref().1;
        let suite = session.negotiated_cipher_suite();
        TlsFacts {
            version: match session.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => (1, 2),
                _ => (1, 3),
            },
            cipher: suite
                .and_then(|suite| suite.suite().as_str())
                .unwrap_or_default()
                .into(),
            sni,
            alpn: session.alpn_protocol().map(Into::into),
            peer_cert: session
                .peer_certificates()
                .and_then(|chain| chain.first())
                .map(|certificate| certificate.as_ref().into()),
        }
    }
}

impl Stream for TlsTransport {
    fn abort(&mut self) {
        self.silent = true;
        self.stream.get_mut().0.transport.abort();
    }

    fn follow_peer(&self) {
        self.stream.get_ref().0.transport.follow_peer();
    }
}

impl Drop for TlsTransport {
    fn drop(&mut self) {
        if !self.silent {
            // Not held back because a task has had its turn: there is no other time.
            let close = std::future::poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx));
            let close = pin!(tokio::task::unconstrained(close));
            let _ = close.poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}

impl AsyncRead for TlsTransport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsTransport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.silent |= poll.is_ready();
        poll
    }
}
