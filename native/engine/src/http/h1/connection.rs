//! The connection of a client: its bytes, which two may use at once. One reads the content of a request while the other writes the
//! answer, where a server behind begins to answer before it has read all.

use std::cell::{Ref, RefCell, RefMut};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use sockeye_protocol::handshake::{BodyReader, HeadLimits, Refusal, Request};
use tokio::io::{AsyncReadExt, AsyncWrite};

use crate::http::proxy::Client;
use crate::net::transport::Transport;
use crate::world::time;

/// Bytes of one read.
const READ: usize = 4 * 1024;

/// Bytes that are read ahead of their turn while an answer is waited for, to see whether the client is still there.
const AHEAD: usize = 16 * 1024;

/// Bytes of a body that nobody wanted which are still read, so that the connection can go on.
pub(super) const UNWANTED: u64 = 64 * 1024;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A transport, what was read ahead, and the content of the request that is being answered.
struct State {
    /// None when the connection has ended, or is no longer one of HTTP.
    transport: Option<Transport>,
    buffer: Vec<u8>,
    /// How much of the buffer is done with.
    had: usize,
    reader: BodyReader,
    /// What is still to be written before the client sends the content.
    interim: Option<&'static [u8]>,
    /// The client understands answers before the answer.
    is_http_11: bool,
}

impl State {
    fn unread(&self) -> &[u8] {
        self.buffer.get(self.had..).unwrap_or_default()
    }

    fn take(&mut self, count: usize) {
        self.had = (self.had + count).min(self.buffer.len());
    }

    fn transport(&mut self) -> io::Result<Pin<&mut Transport>> {
        let transport = self.transport.as_mut().map(Pin::new);
        transport.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Waits for more bytes; none come any more if it gives 0.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.buffer.drain(..self.had);
        self.had = 0;
        self.buffer.reserve(READ);
        match &mut self.transport {
            Some(transport) => pin!(transport.read_buf(&mut self.buffer)).poll(cx),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Tells the client to go on, if it waits for that.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.interim {
            let transport = self.transport()?;
            let written = match rest {
                [] => ready!(transport.poll_flush(cx)).map(|()| 0),
                rest => ready!(transport.poll_write(cx, rest)),
            };
            let done = rest.is_empty();
            let rest = rest.get(written?..).unwrap_or_default();
            self.interim = (!done).then_some(rest);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let broken = |kind: io::ErrorKind| Poll::Ready(Some(Err(kind.into())));
        if self.reader.is_done() {
            return Poll::Ready(None);
        }
        ready!(self.poll_interim(cx))?;
        loop {
            let unread = self.buffer.get(self.had..).unwrap_or_default();
            let Ok(piece) = self.reader.read(unread) else {
                return broken(io::ErrorKind::InvalidData);
            };
            let found = Bytes::copy_from_slice(unread.get(piece.content).unwrap_or_default());
            self.take(piece.taken);
            if !found.is_empty() {
                return Poll::Ready(Some(Ok(found)));
            }
            if self.reader.is_done() {
                return Poll::Ready(None);
            }
            if ready!(self.poll_fill(cx))? == 0 {
                return broken(io::ErrorKind::UnexpectedEof);
            }
        }
    }
}

/// The connection of a client.
pub(super) struct Connection {
    state: Rc<RefCell<State>>,
    timeout: Duration,
}

impl Connection {
    /// One of which these bytes have been read, behind its first request.
    pub(super) fn new(
        transport: Transport,
        buffer: Vec<u8>,
        first: &Request,
        limits: &HeadLimits,
        timeout: Duration,
    ) -> Self {
        let state = State {
            transport: Some(transport),
            buffer,
            had: 0,
            reader: BodyReader::new(first, limits),
            interim: None,
            is_http_11: first.is_http_11(),
        };
        Connection {
            state: Rc::new(RefCell::new(state)),
            timeout,
        }
    }

    fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    /// The content of this request, as it arrives.
    pub(super) fn content(&self, request: &Request, limits: &HeadLimits) -> Content {
        let mut state = self.state();
        let expected = request.expects_continue() && state.unread().is_empty();
        state.reader = BodyReader::new(request, limits);
        state.interim = expected.then_some(CONTINUE);
        state.is_http_11 = request.is_http_11();
        Content(self.state.clone())
    }

    /// Whether all of the content has been read.
    pub(super) fn is_read(&self) -> bool {
        self.state.borrow().reader.is_done()
    }

    /// Whether what is left of the content can be read, so that another request may follow.
    pub(super) fn is_readable(&self) -> bool {
        let state = self.state.borrow();
        // Whoever was not told to go on need not send the body, and nobody knows.
        let is_short = state.interim.is_none() && state.reader.expected() <= UNWANTED;
        state.reader.is_done() || is_short
    }

    /// Ends it: the transport, and what has been read from it.
    pub(super) fn into_parts(self) -> Option<(Transport, Vec<u8>)> {
        let mut state = self.state();
        let had = std::mem::take(&mut state.had);
        let mut buffer = std::mem::take(&mut state.buffer);
        buffer.drain(..had);
        Some((state.transport.take()?, buffer))
    }

    /// The next request, or why it is none. `None` if the client has gone.
    pub(super) async fn head(&self, limits: &HeadLimits) -> Option<Result<Request, Refusal>> {
        loop {
            let parsed = Request::parse(self.state().unread(), limits);
            match parsed {
                Ok(Some((request, len))) => {
                    self.state().take(len);
                    return Some(Ok(request));
                }
                Ok(None) if poll_fn(|cx| self.state().poll_fill(cx)).await.ok()? == 0 => {
                    return None;
                }
                Ok(None) => {}
                Err(refusal) => return Some(Err(refusal)),
            }
        }
    }

    /// Reads what is left of a body. `None` if that is too much, or malformed.
    pub(super) async fn skip(&self) -> Option<()> {
        let mut skipped = 0;
        while let Some(piece) = poll_fn(|cx| self.state().poll_content(cx)).await {
            skipped += piece.ok()?.len() as u64;
            if skipped > UNWANTED {
                return None;
            }
        }
        Some(())
    }

    /// Writes all of it. A client that takes nothing for too long is given up.
    pub(super) async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let writing = poll_fn(|cx| match self.state().transport() {
                Ok(transport) => transport.poll_write(cx, bytes),
                Err(e) => Poll::Ready(Err(e)),
            });
            match time::timeout(self.timeout, writing).await?? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => bytes = bytes.get(written..).unwrap_or_default(),
            }
        }
        Ok(())
    }

    pub(super) async fn flush(&self) -> io::Result<()> {
        let flushing = poll_fn(|cx| match self.state().transport() {
            Ok(transport) => transport.poll_flush(cx),
            Err(e) => Poll::Ready(Err(e)),
        });
        time::timeout(self.timeout, flushing).await?
    }

    /// See [`Transport::follow_peer`].
    pub(super) fn follow_peer(&self) {
        if let Some(transport) = &self.state().transport {
            transport.follow_peer();
        }
    }
}

impl Client for Connection {
    fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        // Who reads the content sees the end by itself.
        while state.reader.is_done() && state.unread().len() < AHEAD {
            match ready!(state.poll_fill(cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    fn takes_early_answers(&self) -> bool {
        self.state.borrow().is_http_11
    }

    fn poll_write(&self, cx: &mut Context<'_>, bytes: &mut &[u8]) -> Poll<io::Result<()>> {
        let mut state = self.state();
        while !bytes.is_empty() {
            let written = ready!(state.transport()?.poll_write(cx, bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *bytes = bytes.get(written..).unwrap_or_default();
        }
        state.transport()?.poll_flush(cx)
    }
}

/// The content of a request, as it arrives.
pub(super) struct Content(Rc<RefCell<State>>);

impl Content {
    fn state(&self) -> Ref<'_, State> {
        self.0.borrow()
    }
}

impl HttpBody for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let poll = self.0.borrow_mut().poll_content(cx);
        poll.map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.state().reader.is_done()
    }

    fn size_hint(&self) -> SizeHint {
        let state = self.state();
        match state.reader.is_exact() {
            true => SizeHint::with_exact(state.reader.expected()),
            false => {
                let mut hint = SizeHint::new();
                hint.set_lower(state.reader.expected());
                hint
            }
        }
    }
}
