//! The streams of a connection: their heads, and until when they are open.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use sockeye_protocol::handshake::{Refusal, Request};

use super::STREAMS;
use super::frames::{DATA, END_STREAM, Frame, HEADER, HEADERS, RST_STREAM};

/// Streams that have ended lately: what the client had sent on them meanwhile is no error.
pub(super) const LATELY: usize = 2 * STREAMS as usize;

/// What became of the head of a request.
pub(super) type Found = Result<(Request, bool), Refusal>;

/// The streams of a connection whose answer is not all sent.
#[derive(Default)]
pub(super) struct Streams {
    /// Those whose answer is not all sent.
    pub(super) open: HashMap<u32, Stream>,
    ended: VecDeque<u32>,
    /// The last that the client has opened.
    pub(super) highest: u32,
}

pub(super) struct Stream {
    /// Until somebody takes it.
    pub(super) head: Option<Box<Found>>,
    /// The client has said all.
    pub(super) said: bool,
}

impl Streams {
    /// The head behind the path that the library knows.
    pub(super) fn take(&mut self, path: &str) -> Option<Found> {
        let stream: u32 = path.strip_prefix('/')?.parse().ok()?;
        let head = self.open.get_mut(&stream)?.head.take();
        head.map(|head| *head)
    }

    pub(super) fn end(&mut self, stream: u32) {
        if self.open.remove(&stream).is_some() {
            self.ended.truncate(LATELY - 1);
            self.ended.push_front(stream);
        }
    }

    /// More may come from the client on this stream.
    pub(super) fn listens(&self, stream: u32) -> bool {
        self.open.get(&stream).is_some_and(|stream| !stream.said)
    }

    pub(super) fn knows(&self, stream: u32) -> bool {
        self.open.contains_key(&stream) || self.ended.contains(&stream)
    }
}

/// What we send: which streams have had all of their answer.
pub(super) struct Outgoing {
    streams: Rc<RefCell<Streams>>,
    header: [u8; HEADER],
    got: usize,
    /// Bytes of the payload that are still to come.
    left: usize,
}

impl Outgoing {
    pub(super) fn new(streams: Rc<RefCell<Streams>>) -> Self {
        Outgoing {
            streams,
            header: [0; HEADER],
            got: 0,
            left: 0,
        }
    }

    /// Looks at what has been written.
    pub(super) fn wrote(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let skip = self.left.min(bytes.len());
                self.left -= skip;
                bytes = bytes.get(skip..).unwrap_or_default();
                continue;
            }
            let (now, later) = bytes.split_at((HEADER - self.got).min(bytes.len()));
            bytes = later;
            if let Some(room) = self.header.get_mut(self.got..self.got + now.len()) {
                room.copy_from_slice(now);
            }
            self.got += now.len();
            if self.got == HEADER {
                self.got = 0;
                let frame = Frame::parse(self.header);
                self.left = frame.len;
                let is_last = match frame.kind {
                    DATA | HEADERS => frame.flags & END_STREAM != 0,
                    kind => kind == RST_STREAM,
                };
                if is_last {
                    self.streams.borrow_mut().end(frame.stream);
                }
            }
        }
    }
}
