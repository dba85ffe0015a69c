//! The body of a response: bytes, a part of a file that is read as it is sent, or a stream of pieces.

use std::fs::File;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};

use super::proxy::Download;
use crate::vm::stream::StreamBody;
use crate::world::task::{self, JoinHandle};

/// Bytes that are read and handed on at once.
const CHUNK: u64 = 64 * 1024;

/// The body of an answer.
pub(crate) enum Body {
    Bytes(Bytes),
    File(FilePart),
    /// What a server behind sends.
    Passed(Box<Download>),
    /// What a process of the VM gives.
    Stream(StreamBody),
}

impl Body {
    pub(super) fn empty() -> Self {
        Body::Bytes(Bytes::new())
    }

    /// How much is left, if that is known.
    pub(super) fn len(&self) -> Option<u64> {
        match self {
            Body::Bytes(bytes) => Some(bytes.len() as u64),
            Body::File(part) => Some(part.left),
            Body::Passed(download) => download.len(),
            Body::Stream(_) => None,
        }
    }

    /// Whether its pieces come when somebody has them, and are wanted at once.
    pub(super) fn is_live(&self) -> bool {
        matches!(self, Body::Passed(_) | Body::Stream(_))
    }
}

/// So many bytes of a file, from where it stands. Read on a thread that may wait for the disk.
pub(crate) struct FilePart {
    file: Option<File>,
    left: u64,
    reading: Option<JoinHandle<io::Result<Chunk>>>,
}

/// What was read, and the file to read on from.
type Chunk = (File, Vec<u8>);

impl FilePart {
    pub(super) fn new(file: File, len: u64) -> Self {
        FilePart {
            file: Some(file),
            left: len,
            reading: None,
        }
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if let Some(file) = self.file.take() {
            let len = self.left.min(CHUNK);
            self.reading = Some(task::spawn_blocking(move || {
                let mut bytes = Vec::with_capacity(len as usize);
                (&file).take(len).read_to_end(&mut bytes)?;
                Ok((file, bytes))
            }));
        }
        let Some(reading) = &mut self.reading else {
            return Poll::Ready(None);
        };
        let read = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        let (file, bytes) = match read {
            Ok(Ok(read)) => read,
            Ok(Err(e)) => return Poll::Ready(Some(Err(e))),
            Err(_) => return Poll::Ready(Some(Err(io::ErrorKind::Interrupted.into()))),
        };
        if bytes.is_empty() {
            // It has become shorter than was promised.
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        self.left = self.left.saturating_sub(bytes.len() as u64);
        self.file = Some(file);
        Poll::Ready(Some(Ok(bytes.into())))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Body::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            // In pieces: hyper copies what it gets, and many may ask for the same bytes.
            Body::Bytes(bytes) => {
                let piece = bytes.split_to(bytes.len().min(CHUNK as usize));
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Body::File(part) => {
                let chunk = ready!(part.poll_chunk(cx));
                Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
            }
            Body::Passed(download) => Pin::new(download).poll_frame(cx),
            Body::Stream(stream) => {
                let piece = ready!(stream.poll_piece(cx));
                Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Passed(download) => download.is_end_stream(),
            _ => self.len() == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Passed(download) => download.size_hint(),
            Body::Stream(_) => SizeHint::new(),
            _ => SizeHint::with_exact(self.len().unwrap_or_default()),
        }
    }
}
