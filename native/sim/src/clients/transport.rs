//! What carries the bytes of a client: a socket, or a stream of HTTP/2.

use std::io;

use super::http2::stream::Stream;
use super::socket::Socket;

/// A transport.
pub(super) enum Transport {
    Tcp(Socket),
    Http2(Stream),
}

impl Transport {
    pub(super) async fn read_some(&self, most: usize) -> io::Result<Vec<u8>> {
        match self {
            Transport::Tcp(stream) => stream.read_some(most).await,
            Transport::Http2(stream) => stream.read_some(most).await,
        }
    }

    pub(super) async fn write_whole(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Transport::Tcp(stream) => stream.write_whole(bytes).await,
            Transport::Http2(stream) => stream.write_whole(bytes).await,
        }
    }

    /// Writes below TLS, if there is some.
    pub(super) async fn write_raw(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Transport::Tcp(stream) => stream.write_raw(bytes).await,
            Transport::Http2(stream) => stream.write_whole(bytes).await,
        }
    }

    pub(super) async fn finish_writing(&self) {
        match self {
            Transport::Tcp(stream) => stream.finish_writing().await,
            Transport::Http2(stream) => stream.finish_writing(),
        }
    }

    /// Dropping it resets it. A stream that is dropped before its end is reset anyhow.
    pub(super) fn reset_on_close(&self) {
        if let Transport::Tcp(stream) = self {
            stream.reset_on_close();
        }
    }
}
