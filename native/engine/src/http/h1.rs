//! HTTP/1: the requests of a connection, one after the other.
//!
//! One parser reads all heads, that of the first and those after it: `protocol::handshake`. It
//! also says where bodies end, so nothing that could be read in two ways gets any further.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use hyper::{Response, StatusCode, header};
use sockeye_protocol::handshake::{BodyReader, HeadLimits, Refusal, Request};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::body::Body;
use super::service::Service;
use super::{date, is_bodiless};
use crate::admission::lingering;
use crate::net::peer::PeerInfo;
use crate::net::transport::Transport;
use crate::server::{Server, bump};
use crate::shard::Shard;
use crate::shard::opened::Opened;
use crate::world::time;

/// Bytes of one read.
const READ: usize = 4 * 1024;

/// Bytes of a body that nobody wanted which are still read, so that the connection can go on.
const UNWANTED: u64 = 64 * 1024;

/// What a first piece of content may have to leave together with its head.
const TOGETHER: usize = 16 * 1024;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Serves the requests of a connection: the first, and those behind it, of which these bytes have
/// been read. Some if one of them opened a WebSocket.
pub(crate) async fn serve(
    shard: &Shard,
    server: &Arc<Server>,
    transport: Transport,
    peer_info: PeerInfo,
    first: Request,
    buffer: Vec<u8>,
) -> Option<Opened> {
    let config = &server.config;
    let service = Service::new(server.clone(), peer_info);
    let mut buffered = BufferedTransport {
        transport,
        buffer,
        had: 0,
        timeout: config.send_timeout,
    };
    let mut request = first;
    loop {
        let form = ResponseForm {
            is_head: request.method() == "HEAD",
            is_old: !request.is_http_11(),
            keeps: request.keeps_alive(),
        };
        let mut content = RequestBody::new(&mut buffered, &request, &config.head_limits);
        let response = service.respond(request, &mut content).await;
        let RequestBody {
            reader, interim, ..
        } = content;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let head = head(&response, &form, true);
            buffered.write(&head).await.ok()?;
            let accepted = service.opened()?;
            buffered.buffer.drain(..buffered.had);
            return Some(accepted.open(buffered.transport, buffered.buffer));
        }
        // Whoever was not told to go on need not send the body, and nobody knows.
        let readable = reader.is_done() || (interim.is_none() && reader.expected() <= UNWANTED);
        let goes_on = form.keeps && readable && !closes(&response);
        buffered.answer(response, &form, goes_on).await.ok()?;
        if !goes_on {
            break;
        }
        let next = async {
            buffered.skip(reader).await?;
            buffered.head(&config.head_limits).await
        };
        // Also how long a connection may be idle between two requests.
        match time::timeout(config.handshake_timeout, next).await {
            Ok(Some(Ok(next))) => request = next,
            Ok(Some(Err(refusal))) => {
                bump(&server.counters.rejected, 1);
                lingering::refuse(shard, buffered.transport, &refusal).await;
                return None;
            }
            Ok(None) | Err(_) => break,
        }
    }
    lingering::close(shard, buffered.transport).await;
    None
}

/// What of a request decides the form of the answer.
struct ResponseForm {
    is_head: bool,
    is_old: bool,
    keeps: bool,
}

/// A transport, and what was read ahead.
struct BufferedTransport {
    transport: Transport,
    buffer: Vec<u8>,
    /// How much of the buffer is done with.
    had: usize,
    timeout: Duration,
}

impl BufferedTransport {
    fn unread(&self) -> &[u8] {
        self.buffer.get(self.had..).unwrap_or_default()
    }

    fn take(&mut self, count: usize) {
        self.had = (self.had + count).min(self.buffer.len());
    }

    /// Waits for more bytes; none come any more if it gives 0.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.buffer.drain(..self.had);
        self.had = 0;
        self.buffer.reserve(READ);
        pin!(self.transport.read_buf(&mut self.buffer)).poll(cx)
    }

    /// The next request, or why it is none. `None` if the client has gone.
    async fn head(&mut self, limits: &HeadLimits) -> Option<Result<Request, Refusal>> {
        loop {
            match Request::parse(self.unread(), limits) {
                Ok(Some((request, len))) => {
                    self.take(len);
                    return Some(Ok(request));
                }
                Ok(None) if poll_fn(|cx| self.poll_fill(cx)).await.ok()? == 0 => return None,
                Ok(None) => {}
                Err(refusal) => return Some(Err(refusal)),
            }
        }
    }

    /// Reads what is left of a body. `None` if that is too much, or malformed.
    async fn skip(&mut self, mut reader: BodyReader) -> Option<()> {
        let mut skipped = 0;
        while !reader.is_done() {
            if self.unread().is_empty() && poll_fn(|cx| self.poll_fill(cx)).await.ok()? == 0 {
                return None;
            }
            let piece = reader.read(self.unread()).ok()?;
            self.take(piece.taken);
            skipped += piece.taken as u64;
            if skipped > UNWANTED {
                return None;
            }
        }
        Some(())
    }

    async fn answer(
        &mut self,
        response: Response<Body>,
        form: &ResponseForm,
        goes_on: bool,
    ) -> io::Result<()> {
        let mut head = head(&response, form, goes_on);
        let mut body = response.into_body();
        let mut is_first = true;
        if form.is_head {
            body = Body::empty();
        }
        if body.len() > TOGETHER as u64 {
            self.transport.follow_peer();
        }
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            if is_first && data.len() <= TOGETHER {
                head.extend_from_slice(&data);
                self.write(&head).await?;
            } else {
                if is_first {
                    self.write(&head).await?;
                }
                self.write(&data).await?;
            }
            is_first = false;
        }
        if is_first {
            self.write(&head).await?;
        }
        let flushed = time::timeout(self.timeout, self.transport.flush());
        flushed.await.map_err(io::Error::from)?
    }

    /// Writes all of it. A client that takes nothing for too long is given up.
    async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = time::timeout(self.timeout, self.transport.write(bytes));
            match written.await.map_err(io::Error::from)?? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => bytes = bytes.get(written..).unwrap_or_default(),
            }
        }
        Ok(())
    }
}

fn closes(response: &Response<Body>) -> bool {
    let named = response.headers().get_all(header::CONNECTION).iter();
    named
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"))
}

/// The head of an answer. What says where it ends, and what follows it, is decided here.
fn head(response: &Response<Body>, form: &ResponseForm, goes_on: bool) -> Vec<u8> {
    let status = response.status();
    let headers = response.headers();
    let mut out = Vec::with_capacity(256 + TOGETHER.min(response.body().len() as usize));
    let mut write = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
    let version: &[u8] = if form.is_old {
        b"HTTP/1.0 "
    } else {
        b"HTTP/1.1 "
    };
    let reason = status.canonical_reason().unwrap_or_default();
    let reason = [status.as_str().as_bytes(), b" ", reason.as_bytes(), b"\r\n"].concat();
    write(&[version, &reason]);
    let upgrades = headers.contains_key(header::UPGRADE);
    let connection: &[u8] = match (goes_on, upgrades) {
        (false, true) => b"upgrade, close",
        (false, false) => b"close",
        (true, true) => b"upgrade",
        (true, false) if form.is_old => b"keep-alive",
        (true, false) => b"",
    };
    if !connection.is_empty() {
        write(&[b"connection: ", connection, b"\r\n"]);
    }
    // A length of 0 tells where an answer without content ends that has no rule for itself.
    let bodiless = is_bodiless(status) && status != StatusCode::RESET_CONTENT;
    let told = headers.get(header::CONTENT_LENGTH);
    if let Some(length) = told.filter(|_| form.is_head || status == StatusCode::NOT_MODIFIED) {
        write(&[b"content-length: ", length.as_bytes(), b"\r\n"]);
    } else if !bodiless {
        let length = response.body().len().to_string();
        write(&[b"content-length: ", length.as_bytes(), b"\r\n"]);
    }
    let now = date(time::system_now()).filter(|_| !status.is_informational());
    if let Some(now) = now.filter(|_| !headers.contains_key(header::DATE)) {
        write(&[b"date: ", now.as_bytes(), b"\r\n"]);
    }
    let framing = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
    ];
    for (name, value) in headers {
        if !framing.contains(name) {
            write(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
        }
    }
    write(&[b"\r\n"]);
    out
}

/// The body of a request, as it arrives.
struct RequestBody<'a> {
    buffered: &'a mut BufferedTransport,
    reader: BodyReader,
    /// What is still to be written before the client sends it.
    interim: Option<&'static [u8]>,
}

impl<'a> RequestBody<'a> {
    fn new(buffered: &'a mut BufferedTransport, request: &Request, limits: &HeadLimits) -> Self {
        let expected = request.expects_continue() && buffered.unread().is_empty();
        RequestBody {
            reader: BodyReader::new(request, limits),
            interim: expected.then_some(CONTINUE),
            buffered,
        }
    }

    /// Tells the client to go on, if it waits for that.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.interim {
            let transport = Pin::new(&mut self.buffered.transport);
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
}

impl HttpBody for RequestBody<'_> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let content = self.get_mut();
        let broken = |kind: io::ErrorKind| Poll::Ready(Some(Err(kind.into())));
        if content.reader.is_done() {
            return Poll::Ready(None);
        }
        ready!(content.poll_interim(cx))?;
        loop {
            let Ok(piece) = content.reader.read(content.buffered.unread()) else {
                return broken(io::ErrorKind::InvalidData);
            };
            let found = content.buffered.unread().get(piece.content);
            let found = Bytes::copy_from_slice(found.unwrap_or_default());
            content.buffered.take(piece.taken);
            if !found.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(found))));
            }
            if content.reader.is_done() {
                return Poll::Ready(None);
            }
            if ready!(content.buffered.poll_fill(cx))? == 0 {
                return broken(io::ErrorKind::UnexpectedEof);
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.reader.is_done()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.reader.expected());
        hint
    }
}
