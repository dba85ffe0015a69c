//! Connections to upstream web servers, and the pool of idle ones.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use hyper::client::conn::http1::{Builder, Connection, Parts, SendRequest};
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, oneshot};

use crate::net::transport::Transport;
use crate::world::collections::HashMap;
use crate::world::time::{self, Instant};

/// Bytes of an answer that are read ahead, and of a request that wait to be written. A head that is larger is no answer.
const BUFFER: usize = 64 * 1024;

/// Header lines of an answer.
const HEADERS: usize = 256;

/// Bytes of one read.
const READ: usize = 16 * 1024;

/// A transport under hyper.
pub(crate) struct Io(pub(crate) Transport);

impl Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; READ];
        let room = buf.remaining().min(READ);
        let mut read = ReadBuf::new(bytes.get_mut(..room).unwrap_or_default());
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut read))?;
        buf.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl Write for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// The content of a request, as its client sends it.
pub(crate) struct Upload {
    body: Pin<Box<dyn HttpBody<Data = Bytes, Error = io::Error>>>,
    progress: Rc<Progress>,
}

/// How far an upload is.
pub(crate) struct Progress {
    /// When it went on last.
    last: Cell<Instant>,
    /// The client has more to say, and says nothing.
    waits: Cell<bool>,
    done: Cell<bool>,
    left: Cell<u64>,
    turned: Notify,
    fault: Cell<Option<UploadFault>>,
}

/// Why an upload has no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UploadFault {
    TooLarge,
    Broken,
}

impl Progress {
    pub(crate) fn last(&self) -> Instant {
        self.last.get()
    }

    /// Whether the client is waited for.
    pub(crate) fn waits(&self) -> bool {
        self.waits.get() && !self.done.get()
    }

    fn set_waits(&self, waits: bool) {
        if self.waits.replace(waits) != waits {
            self.last.set(Instant::now());
            self.turned.notify_one();
        }
    }

    /// Ready when the client is waited for, and was not, or the other way round.
    pub(crate) async fn turned(&self) {
        self.turned.notified().await;
    }

    /// Whether all of it has come.
    pub(crate) fn is_done(&self) -> bool {
        self.done.get()
    }

    pub(crate) fn fault(&self) -> Option<UploadFault> {
        self.fault.get()
    }
}

impl Upload {
    /// At most so many bytes of this body.
    pub(crate) fn new<B>(body: B, most: u64) -> (Self, Rc<Progress>)
    where
        B: HttpBody<Data = Bytes> + Unpin + 'static,
        B::Error: Error + Send + Sync + 'static,
    {
        let progress = Rc::new(Progress {
            last: Cell::new(Instant::now()),
            waits: Cell::new(false),
            done: Cell::new(body.is_end_stream()),
            left: Cell::new(most),
            turned: Notify::new(),
            fault: Cell::new(None),
        });
        let upload = Upload {
            body: Box::pin(WithIoError(body)),
            progress: progress.clone(),
        };
        (upload, progress)
    }

    fn fail(&self, fault: UploadFault) -> io::Error {
        self.progress.fault.set(Some(fault));
        io::ErrorKind::InvalidData.into()
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            let poll = self.body.as_mut().poll_frame(cx);
            let progress = &self.progress;
            progress.set_waits(poll.is_pending());
            let Some(frame) = ready!(poll) else {
                progress.done.set(true);
                progress.last.set(Instant::now());
                return Poll::Ready(None);
            };
            progress.last.set(Instant::now());
            let Ok(frame) = frame else {
                return Poll::Ready(Some(Err(self.fail(UploadFault::Broken))));
            };
            // Trailers end here: what they mean depends on fields that are not passed on.
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let Some(left) = progress.left.get().checked_sub(data.len() as u64) else {
                return Poll::Ready(Some(Err(self.fail(UploadFault::TooLarge))));
            };
            progress.left.set(left);
            progress.done.set(self.body.is_end_stream());
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

struct WithIoError<B>(B);

impl<B> HttpBody for WithIoError<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Error + Send + Sync + 'static,
{
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.0).poll_frame(cx));
        Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// A connection to a web server. Dropped, it closes.
pub(crate) struct Link {
    pub(crate) sender: SendRequest<Upload>,
    /// What is left when it has changed its protocol.
    upgraded: oneshot::Receiver<(Transport, Bytes)>,
    /// It has had a request before.
    pub(crate) is_used: bool,
    state: Rc<LinkState>,
}

#[derive(Default)]
struct LinkState {
    /// Until when it waits for a request.
    rests_until: Cell<Option<Instant>>,
    is_over: Cell<bool>,
    changed: Notify,
}

impl LinkState {
    fn change(&self, rests_until: Option<Instant>) {
        self.rests_until.set(rests_until);
        self.changed.notify_one();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.state.is_over.set(true);
        self.state.changed.notify_one();
    }
}

impl Link {
    /// What is left of it when it has changed its protocol.
    pub(crate) async fn upgraded(mut self) -> Option<(Transport, Bytes)> {
        (&mut self.upgraded).await.ok()
    }

    /// A connection, and what has to be run for it.
    pub(crate) async fn open(transport: Transport) -> hyper::Result<(Self, Driver)> {
        let mut builder = Builder::new();
        builder.max_buf_size(BUFFER).max_headers(HEADERS);
        let (sender, connection) = builder.handshake(Io(transport)).await?;
        let (upgrade, upgraded) = oneshot::channel();
        let state = Rc::new(LinkState::default());
        let link = Link {
            sender,
            upgraded,
            is_used: false,
            state: state.clone(),
        };
        let driver = Driver {
            connection,
            upgrade,
            state,
        };
        Ok((link, driver))
    }
}

/// Moves the bytes of a connection.
pub(crate) struct Driver {
    connection: Connection<Io, Upload>,
    upgrade: oneshot::Sender<(Transport, Bytes)>,
    state: Rc<LinkState>,
}

impl Driver {
    /// Runs until the connection ends. If it waits for a request then, it is taken out of this pool.
    pub(crate) async fn run(self, pool: Rc<Pool>, key: PoolKey) {
        let Driver {
            mut connection,
            upgrade,
            state,
        } = self;
        let _leaves = Leaves(pool, key, state.clone());
        let ended = loop {
            let sleep = state.rests_until.get().map(time::sleep_until);
            let mut sleep = pin!(sleep);
            let mut changed = pin!(state.changed.notified());
            let woken = poll_fn(|cx| {
                if state.is_over.get() {
                    return Poll::Ready(Some(false));
                }
                if let Poll::Ready(ended) = connection.poll_without_shutdown(cx) {
                    return Poll::Ready(Some(ended.is_ok()));
                }
                if changed.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                match sleep.as_mut().as_pin_mut().map(|sleep| sleep.poll(cx)) {
                    Some(Poll::Ready(())) => Poll::Ready(Some(false)),
                    _ => Poll::Pending,
                }
            });
            if let Some(ended) = woken.await {
                break ended;
            }
        };
        if ended {
            let Parts { io, read_buf, .. } = connection.into_parts();
            let _ = upgrade.send((io.0, read_buf));
        }
    }
}

/// A server, and which of its routes.
pub(crate) type PoolKey = (u64, usize);

/// Connections that wait for a request.
#[derive(Default)]
pub(crate) struct Pool(RefCell<HashMap<PoolKey, Vec<Link>>>);

impl Pool {
    /// The one that had something to do last.
    pub(crate) fn take(&self, key: PoolKey) -> Option<Link> {
        let link = self.0.borrow_mut().get_mut(&key)?.pop()?;
        link.state.change(None);
        Some(link)
    }

    /// Keeps a connection until this time, if no more than so many are kept.
    pub(crate) fn put(&self, key: PoolKey, mut link: Link, until: Instant, most: usize) {
        if link.sender.is_closed() {
            return;
        }
        link.is_used = true;
        link.state.change(Some(until));
        let surplus = {
            let mut pool = self.0.borrow_mut();
            let kept = pool.entry(key).or_default();
            kept.push(link);
            (kept.len() > most).then(|| kept.remove(0))
        };
        drop(surplus);
    }
}

/// A connection that has ended waits for no request.
struct Leaves(Rc<Pool>, PoolKey, Rc<LinkState>);

impl Drop for Leaves {
    fn drop(&mut self) {
        let Leaves(pool, key, state) = self;
        let mut left = Vec::new();
        let mut pool = pool.0.borrow_mut();
        if let Some(kept) = pool.get_mut(key) {
            while let Some(at) = kept.iter().position(|link| Rc::ptr_eq(&link.state, state)) {
                left.push(kept.remove(at));
            }
            if kept.is_empty() {
                pool.remove(key);
            }
        }
        drop(pool);
    }
}
