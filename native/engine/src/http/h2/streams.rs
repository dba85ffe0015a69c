//! The streams of a connection: their heads, and until when they are open.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use sockeye_protocol::handshake::{Refusal, Request};

use super::STREAMS;
use super::frames::{DATA, END_STREAM, FrameHeader, HEADER, HEADERS, RST_STREAM, reset};

use crate::settings::routes::Routes;
use crate::world::collections::HashMap;
use crate::world::time::Instant;

/// Streams that have ended lately: what the client had sent on them meanwhile is no error.
pub(super) const LATELY: usize = 2 * STREAMS as usize;

/// What became of the head of a request.
pub(super) type HeadResult = Result<(Request, bool), Refusal>;

/// The streams of a connection whose answer is not all sent.
#[derive(Default)]
pub(super) struct Streams {
    /// Those whose answer is not all sent.
    pub(super) open: HashMap<u32, StreamState>,
    ended: VecDeque<u32>,
    /// The last that the client has opened.
    pub(super) highest: u32,
    /// How many of those that are open have an answer with content on its way.
    answering: usize,
    /// When the client took some of any answer last.
    took: Option<Instant>,
    /// Streams that were given up, and when, until the library has heard of it.
    given_up: Vec<(u32, Instant)>,
    /// The same, until the client has.
    untold: Vec<u32>,
}

pub(super) struct StreamState {
    /// Until somebody takes it.
    head: Option<Box<HeadResult>>,
    /// The client has said all.
    pub(super) said: bool,
    /// Who has to go on with its content, once there is an answer that has one.
    waits_for: Option<WaitsFor>,
}

pub(super) enum WaitsFor {
    /// We, who read it.
    Server,
    /// A process of the VM, which gives it in pieces.
    Process,
    /// The client, who took some of it last at this time.
    Client(Instant),
}

impl StreamState {
    pub(super) fn new(head: Option<HeadResult>, said: bool) -> Self {
        StreamState {
            head: head.map(Box::new),
            said,
            waits_for: None,
        }
    }
}

/// The stream that the library has under this path.
pub(super) fn number(path: &str) -> Option<u32> {
    path.strip_prefix('/')?.parse().ok()
}

impl Streams {
    /// The head behind the path that the library knows.
    pub(super) fn take(&mut self, path: &str) -> Option<HeadResult> {
        let head = self.open.get_mut(&number(path)?)?.head.take();
        head.map(|head| *head)
    }

    /// Whether a server behind answers this request.
    pub(super) fn is_for_proxy(&self, stream: u32, routes: &Routes) -> bool {
        let head = self.open.get(&stream).and_then(|open| open.head.as_deref());
        matches!(head, Some(Ok((request, _))) if routes.proxy(request.path()).is_some())
    }

    pub(super) fn end(&mut self, stream: u32) {
        if let Some(ended) = self.open.remove(&stream) {
            let answered = usize::from(ended.waits_for.is_some());
            self.answering = self.answering.saturating_sub(answered);
            self.ended.truncate(LATELY - 1);
            self.ended.push_front(stream);
        }
    }

    /// There is an answer with content, for the client to take.
    pub(super) fn answer(&mut self, stream: u32) {
        if let Some(open) = self.open.get_mut(&stream) {
            let begun = open.waits_for.replace(WaitsFor::Client(Instant::now()));
            self.answering += usize::from(begun.is_none());
        }
    }

    /// Who has to go on now.
    pub(super) fn set_waits_for(&mut self, stream: u32, waits_for: WaitsFor) {
        if let Some(Some(turn)) = self
            .open
            .get_mut(&stream)
            .map(|open| open.waits_for.as_mut())
        {
            *turn = waits_for;
        }
    }

    /// Whether a process of the VM has to go on with an answer.
    pub(super) fn is_waiting_for_process(&self) -> bool {
        self.is_answering()
            && self
                .open
                .values()
                .any(|open| matches!(open.waits_for, Some(WaitsFor::Process)))
    }

    fn took(&mut self, stream: u32, now: Instant) {
        if let Some(Some(WaitsFor::Client(at))) =
            self.open.get_mut(&stream).map(|o| o.waits_for.as_mut())
        {
            *at = now;
            self.took = Some(now);
        }
    }

    /// Whether there are answers with content that the client has not had all of.
    pub(super) fn is_answering(&self) -> bool {
        self.answering > 0
    }

    /// When the client took some of an answer last.
    pub(super) fn last_taken(&self) -> Option<Instant> {
        self.took
    }

    /// When to look next for answers that nobody takes.
    pub(super) fn next_look(&self, timeout: Duration) -> Option<Instant> {
        let stalled = self.open.values().filter_map(|open| match open.waits_for {
            Some(WaitsFor::Client(at)) => Some(at),
            Some(WaitsFor::Server | WaitsFor::Process) => Some(Instant::now()),
            None => None,
        });
        let unheard = self.given_up.first().map(|(_, at)| *at);
        // Mostly there is none, and then they need not be walked through.
        let stalled = self.is_answering().then(|| stalled.min()).flatten();
        stalled
            .into_iter()
            .chain(unheard)
            .min()?
            .checked_add(timeout)
    }

    /// Gives up the answers of which the client has taken nothing for so long. False if the
    /// library has not heard of one for as long, since the client stops in the middle of a frame.
    pub(super) fn give_up(&mut self, timeout: Duration) -> bool {
        let now = Instant::now();
        let is_long = |at: Instant| now.saturating_duration_since(at) >= timeout;
        if self.given_up.first().is_some_and(|(_, at)| is_long(*at)) {
            return false;
        }
        let open = self.open.iter();
        let stalled = open.filter_map(|(stream, open)| match open.waits_for {
            Some(WaitsFor::Client(at)) if is_long(at) => Some(*stream),
            _ => None,
        });
        for stream in stalled.collect::<Vec<_>>() {
            self.end(stream);
            self.given_up.push((stream, now));
            self.untold.push(stream);
        }
        true
    }

    /// Streams that were given up, and the library has not heard of.
    pub(super) fn unheard(&mut self) -> impl Iterator<Item = u32> + use<> {
        std::mem::take(&mut self.given_up)
            .into_iter()
            .map(|(stream, _)| stream)
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
pub(super) struct OutboundFrames {
    streams: Rc<RefCell<Streams>>,
    header: [u8; HEADER],
    got: usize,
    /// Bytes of the payload that are still to come.
    left: usize,
    /// The stream of the payload, if it is content.
    content_of: Option<u32>,
}

impl OutboundFrames {
    pub(super) fn new(streams: Rc<RefCell<Streams>>) -> Self {
        OutboundFrames {
            streams,
            header: [0; HEADER],
            got: 0,
            left: 0,
            content_of: None,
        }
    }

    /// Whether a frame has just ended, or none has begun.
    pub(super) fn is_between(&self) -> bool {
        self.left == 0 && self.got == 0
    }

    /// Appends what the client has to hear of streams that were given up.
    pub(super) fn tell(&self, out: &mut Vec<u8>) {
        let mut streams = self.streams.borrow_mut();
        streams
            .untold
            .drain(..)
            .for_each(|stream| reset(out, stream));
    }

    /// Looks at what has been written.
    pub(super) fn wrote(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let skip = self.left.min(bytes.len());
                self.left -= skip;
                self.took();
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
                let frame = FrameHeader::parse(self.header);
                self.left = frame.len;
                self.content_of = (frame.kind == DATA).then_some(frame.stream);
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

    /// Only answers are watched: WebSockets have their own times.
    fn took(&self) {
        let mut streams = self.streams.borrow_mut();
        if let Some(stream) = self.content_of
            && streams.is_answering()
        {
            streams.took(stream, Instant::now());
        }
    }
}
