//! A stream of HTTP/2 as a transport.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, Write};
use hyper::upgrade::Upgraded;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::h2::{OpenTunnel, Ticket};
use crate::net::transport::Stream;

/// Bytes that are handed over at once, a frame of HTTP/2 as large as each client takes it. They are copied, so what the queue
/// holds must not double.
const PIECE: usize = 16 * 1024;

thread_local! {
    /// Where a piece comes together.
    static TOGETHER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

pub(super) struct Tunnel {
    stream: Upgraded,
    open: OpenTunnel,
    ticket: Ticket,
}

impl Tunnel {
    pub(super) fn new(stream: Upgraded, open: OpenTunnel) -> Self {
        Tunnel {
            stream,
            open,
            ticket: Ticket::default(),
        }
    }
}

impl Tunnel {
    /// Hands over a piece, when it is its turn.
    fn poll_hand_over(&mut self, cx: &mut Context<'_>, piece: &[u8]) -> Poll<io::Result<usize>> {
        let carrier = self.open.carrier();
        let handover = &carrier.handover;
        if handover
            .poll_room(&mut self.ticket, piece.len(), cx)
            .is_pending()
        {
            carrier.run();
            return Poll::Pending;
        }
        let len = ready!(Pin::new(&mut self.stream).poll_write(cx, piece))?;
        handover.took(len);
        if handover.is_waited_for() {
            carrier.run();
        }
        Poll::Ready(Ok(len))
    }
}

/// Dropped, it resets the stream.
impl Stream for Tunnel {}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut read = hyper::rt::ReadBuf::new(buf.initialize_unfilled());
        ready!(Pin::new(&mut self.stream).poll_read(cx, read.unfilled()))?;
        let len = read.filled().len();
        buf.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let piece = bytes.get(..PIECE).unwrap_or(bytes);
        self.poll_hand_over(cx, piece)
    }

    /// Small frames go out together: each piece is a frame of HTTP/2, and a task has to run for
    /// it.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [one] = slices {
            return self.poll_write(cx, one);
        }
        // Not copied before there is room.
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        TOGETHER.with_borrow_mut(|piece| {
            piece.clear();
            for slice in slices {
                let room = PIECE - piece.len();
                piece.extend_from_slice(slice.get(..room).unwrap_or(slice));
                if piece.len() == PIECE {
                    break;
                }
            }
            self.poll_hand_over(cx, piece)
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
