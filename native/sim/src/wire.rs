//! What a client speaks over: a socket, or a stream of HTTP/2.

use std::io;

use crate::door::Socket;
use crate::http2::Stream;

pub(crate) enum Wire {
    Tcp(Socket),
    Http2(Stream),
}

impl Wire {
    pub(crate) async fn read_some(&self, most: usize) -> io::Result<Vec<u8>> {
        match self {
            Wire::Tcp(stream) => stream.read_some(most).await,
            Wire::Http2(stream) => stream.read_some(most).await,
        }
    }

    pub(crate) async fn write_whole(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Wire::Tcp(stream) => stream.write_whole(bytes).await,
            Wire::Http2(stream) => stream.write_whole(bytes).await,
        }
    }

    /// Writes below TLS, if there is some.
    pub(crate) async fn write_raw(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Wire::Tcp(stream) => stream.write_raw(bytes).await,
            Wire::Http2(stream) => stream.write_whole(bytes).await,
        }
    }

    pub(crate) async fn finish_writing(&self) {
        match self {
            Wire::Tcp(stream) => stream.finish_writing().await,
            Wire::Http2(stream) => stream.finish_writing(),
        }
    }

    /// Whoever drops it resets it. A stream has no other way to end before its time.
    pub(crate) fn reset_on_close(&self) {
        if let Wire::Tcp(stream) = self {
            stream.reset_on_close();
        }
    }
}
