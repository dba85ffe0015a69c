//! The TLS of one connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ProtocolVersion;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::front::visitor::TlsFacts;
use crate::tls::Tls;
use crate::transport::{Stream, Transport};

/// A transport of which some bytes have been read already.
pub(crate) struct Ahead {
    bytes: Vec<u8>,
    transport: Transport,
}

impl AsyncRead for Ahead {
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

impl AsyncWrite for Ahead {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(cx, bufs)
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

impl Stream for TlsStream<Ahead> {
    fn abort(&mut self) {
        self.get_mut().0.transport.abort();
    }

    fn follow_peer(&self) {
        self.get_ref().0.transport.follow_peer();
    }
}

/// Whether these first bytes are HTTP, and not a TLS handshake. No record begins with a letter.
pub(crate) fn is_plain_http(first: &[u8]) -> bool {
    first.first().is_some_and(u8::is_ascii_alphabetic)
}

/// Shakes hands with a client of which `bytes` were read already. If that fails, the client has
/// been told why, and is to be left gently so that it can read that.
pub(crate) async fn accept(
    tls: &Tls,
    transport: Transport,
    bytes: Vec<u8>,
) -> Result<(Transport, Arc<TlsFacts>), Transport> {
    let acceptor = TlsAcceptor::from(tls.config());
    let accept = acceptor.accept(Ahead { bytes, transport }).into_fallible();
    let stream = match accept.await {
        Ok(stream) => stream,
        Err((_, ahead)) => return Err(ahead.transport),
    };
    let session = stream.get_ref().1;
    let version = match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => (1, 2),
        _ => (1, 3),
    };
    let suite = session.negotiated_cipher_suite();
    let facts = TlsFacts {
        version,
        cipher: suite
            .and_then(|suite| suite.suite().as_str())
            .unwrap_or_default()
            .into(),
        sni: session.server_name().map(Into::into),
        alpn: session.alpn_protocol().map(Into::into),
        peer_cert: session
            .peer_certificates()
            .and_then(|chain| chain.first())
            .map(|certificate| certificate.as_ref().into()),
    };
    Ok((Transport::boxed(stream), Arc::new(facts)))
}
