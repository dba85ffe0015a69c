//! The heads of a connection, before the library sees them.
//!
//! The library ends a connection, with all its streams, for a byte that may not stand in a field,
//! and counts errors of streams for as long as the connection lasts. So the frames of the client
//! pass through here first. Heads are read by our own rules, as those of HTTP/1 are; the library
//! gets a head in their place that it accepts, whose path is the number of the stream, under
//! which the real one is kept. What is malformed it gets as a head that it answers with an error
//! of that stream. Everything else passes as it came.

use std::cell::RefCell;
use std::rc::Rc;

use sockeye_protocol::handshake::HeadLimits;
use sockeye_protocol::handshake::http2::{self, RequestHead};
use sockeye_protocol::hpack::{Decoder, HpackError};

use super::STREAMS;
use super::allowance::Allowance;
use super::frames::*;
use super::streams::{StreamState, Streams};

use crate::world::time::Instant;

const PREFACE: usize = 24;
/// Frames that any head may be continued in, before its last one. Large limits allow more.
pub(super) const CONTINUATIONS: usize = 5;

/// How much longer a block may be than a head may be large: heads beyond that are read to their
/// end, too, and the Huffman code makes some bytes four times as long.
pub(super) const BLOCK: usize = 8;

/// What the client sends, on its way to the library.
pub(super) struct InboundFrames {
    streams: Rc<RefCell<Streams>>,
    decoder: Decoder,
    limits: HeadLimits,
    allowance: Allowance,
    state: FrameState,
    /// A head that has begun.
    block: Option<HeaderBlock>,
}

enum FrameState {
    /// So many bytes of the preface.
    Preface(usize),
    /// The header of a frame, as far as it has come.
    Header([u8; HEADER], usize),
    /// So many bytes of a frame that is passed on.
    Pass(usize),
    /// The payload of a frame that is looked at.
    Gather(FrameHeader, Vec<u8>),
    /// The connection is over, and the library knows.
    Over,
}

struct HeaderBlock {
    stream: u32,
    ends: bool,
    bytes: Vec<u8>,
    continuations: usize,
    /// It says that it depends on itself.
    odd: bool,
}

impl InboundFrames {
    pub(super) fn new(
        streams: Rc<RefCell<Streams>>,
        limits: HeadLimits,
        allowance: Allowance,
    ) -> Self {
        InboundFrames {
            streams,
            decoder: Decoder::default(),
            limits,
            allowance,
            state: FrameState::Preface(PREFACE),
            block: None,
        }
    }

    /// Takes what has arrived, and appends what the library gets of it.
    pub(super) fn read(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        while !input.is_empty() {
            let mut take = |most: usize| {
                let (now, later) = input.split_at(most.min(input.len()));
                input = later;
                now
            };
            match &mut self.state {
                FrameState::Preface(left) => {
                    let bytes = take(*left);
                    out.extend_from_slice(bytes);
                    *left -= bytes.len();
                    if *left == 0 {
                        self.state = FrameState::Header([0; HEADER], 0);
                    }
                }
                FrameState::Header(header, got) => {
                    let bytes = take(HEADER - *got);
                    if let Some(room) = header.get_mut(*got..*got + bytes.len()) {
                        room.copy_from_slice(bytes);
                    }
                    *got += bytes.len();
                    if *got == HEADER {
                        let header = *header;
                        self.begin(header, out);
                    }
                }
                FrameState::Pass(left) => {
                    let bytes = take(*left);
                    out.extend_from_slice(bytes);
                    *left -= bytes.len();
                    if *left == 0 {
                        self.state = FrameState::Header([0; HEADER], 0);
                    }
                }
                FrameState::Gather(frame, payload) => {
                    let frame = *frame;
                    payload.extend_from_slice(take(frame.len - payload.len()));
                    if payload.len() == frame.len {
                        let payload = std::mem::take(payload);
                        self.state = FrameState::Header([0; HEADER], 0);
                        self.end(frame, &payload, out);
                    }
                }
                FrameState::Over => return,
            }
        }
    }

    /// Streams that were given up look to the library as if the client had reset them. Nothing while it is in the middle of a
    /// frame.
    pub(super) fn give_up(&mut self, out: &mut Vec<u8>) {
        if matches!(self.state, FrameState::Header(..) | FrameState::Gather(..)) {
            let unheard = self.streams.borrow_mut().unheard();
            unheard.for_each(|stream| reset(out, stream));
        }
    }

    /// A frame begins.
    fn begin(&mut self, header: [u8; HEADER], out: &mut Vec<u8>) {
        let frame = FrameHeader::parse(header);
        self.state = match frame.len {
            0 => FrameState::Header([0; HEADER], 0),
            len => FrameState::Pass(len),
        };
        let continues = self.block.as_ref().map(|block| {
            frame.kind == CONTINUATION && frame.stream == block.stream && frame.len <= FRAME
        });
        let gathers = match (continues, frame.kind) {
            (Some(true), _) => true,
            // The library says what is wrong with it.
            (Some(false), _) => return self.interrupt(out),
            (None, HEADERS | PRIORITY) => frame.stream != 0 && frame.len <= FRAME,
            (None, RST_STREAM) => {
                self.streams.borrow_mut().end(frame.stream);
                false
            }
            // The library answers each such frame with an error of its stream.
            (None, DATA) => {
                let known = self.streams.borrow().knows(frame.stream);
                let is_last = frame.flags & END_STREAM != 0;
                // The library counts empty ones, too, and never forgets them.
                let is_nothing = frame.len == 0 && !is_last;
                if (!known || is_nothing) && !self.spend(out) {
                    return;
                }
                if known && is_nothing {
                    return;
                }
                if is_last && let Some(open) = self.streams.borrow_mut().open.get_mut(&frame.stream)
                {
                    open.said = true;
                }
                false
            }
            (None, _) => false,
        };
        match (gathers, frame.len) {
            (false, _) => out.extend_from_slice(&header),
            (true, 0) => self.end(frame, &[], out),
            (true, len) => self.state = FrameState::Gather(frame, Vec::with_capacity(len)),
        }
    }

    /// A frame that is looked at has come to its end.
    fn end(&mut self, frame: FrameHeader, payload: &[u8], out: &mut Vec<u8>) {
        if frame.kind == PRIORITY {
            let odd = payload
                .first_chunk()
                .is_some_and(|&on| depends_on(on) == frame.stream);
            if !odd || self.spend(out) {
                FrameHeader::write(out, PRIORITY, frame.flags, frame.stream, payload);
            }
            return;
        }
        let (fragment, odd) = match frame.kind {
            CONTINUATION => (Some(payload), false),
            _ => fragment(frame, payload),
        };
        let Some(fragment) = fragment else {
            // The library says what is wrong with it.
            FrameHeader::write(out, frame.kind, frame.flags, frame.stream, payload);
            return self.over();
        };
        let block = self.block.get_or_insert_with(|| HeaderBlock {
            stream: frame.stream,
            ends: frame.flags & END_STREAM != 0,
            bytes: Vec::new(),
            continuations: 0,
            odd,
        });
        block.continuations += usize::from(frame.kind == CONTINUATION);
        let ends = frame.flags & END_HEADERS != 0;
        let most = self.limits.max_head_size;
        let continuations = (most / FRAME * 5 / 4).max(CONTINUATIONS);
        let too_many = block.continuations > continuations + usize::from(ends);
        let too_long = block.bytes.len() + fragment.len() > most.saturating_mul(BLOCK);
        if too_many || too_long {
            return self.enhance_your_calm(out);
        }
        block.bytes.extend_from_slice(fragment);
        if ends && let Some(block) = self.block.take() {
            self.head(block, out);
        }
    }

    /// A head is whole.
    fn head(&mut self, block: HeaderBlock, out: &mut Vec<u8>) {
        let (stream, is_new) = {
            let streams = self.streams.borrow();
            (block.stream, block.stream > streams.highest)
        };
        let flags = END_HEADERS | if block.ends { END_STREAM } else { 0 };
        if !is_new {
            let read = http2::trailers(&mut self.decoder, &block.bytes, &self.limits);
            return match read {
                Ok(well) if (well && !block.odd) || !self.streams.borrow().listens(stream) => {
                    FrameHeader::write(out, HEADERS, flags, stream, &[]);
                    let mut streams = self.streams.borrow_mut();
                    if let Some(open) = streams.open.get_mut(&stream) {
                        open.said |= block.ends;
                    }
                }
                Ok(_) if self.spend(out) => {
                    FrameHeader::write(out, HEADERS, flags, stream, BAD_TRAILERS)
                }
                Ok(_) => {}
                Err(error) => self.undecodable(error, stream, out),
            };
        }
        let read = match http2::head(&mut self.decoder, &block.bytes, &self.limits) {
            Ok(_) if block.odd => RequestHead::Malformed,
            Ok(read) => read,
            Err(error) => return self.undecodable(error, stream, out),
        };
        let too_many = self.streams.borrow().open.len() >= STREAMS as usize;
        let malformed = matches!(read, RequestHead::Malformed);
        // A stream beyond those that may be open is refused.
        if (too_many || malformed) && !self.spend(out) {
            return;
        }
        let mut stand_in = Vec::new();
        let found = match read {
            RequestHead::Malformed => {
                stand_in.extend_from_slice(BAD_HEAD);
                None
            }
            RequestHead::Refused(refusal) => {
                write_head(&mut stand_in, stream, false, None);
                Some(Err(refusal))
            }
            RequestHead::Request {
                request,
                connects,
                content_length,
            } => {
                write_head(&mut stand_in, stream, connects, content_length);
                Some(Ok((request, connects)))
            }
        };
        let mut streams = self.streams.borrow_mut();
        // Even numbers are not a client's to use, and the library says so.
        if stream % 2 == 1 {
            streams.highest = stream;
            let opened = StreamState::new(found, block.ends);
            streams.open.insert(stream, opened);
        }
        FrameHeader::write(out, HEADERS, flags, stream, &stand_in);
    }

    fn undecodable(&mut self, error: HpackError, stream: u32, out: &mut Vec<u8>) {
        match error {
            HpackError::TooLarge => self.enhance_your_calm(out),
            HpackError::Malformed => {
                FrameHeader::write(out, HEADERS, END_HEADERS, stream, NO_INDEX);
                self.over();
            }
        }
    }

    /// Counts an error. False if the connection ends for it.
    fn spend(&mut self, out: &mut Vec<u8>) -> bool {
        let allowed = self.allowance.spend(Instant::now());
        if !allowed {
            self.enhance_your_calm(out);
        }
        allowed
    }

    /// Ends the connection with `ENHANCE_YOUR_CALM`: that is what the library says of a head that
    /// does not end.
    fn enhance_your_calm(&mut self, out: &mut Vec<u8>) {
        // It begins where a head may begin.
        let stream = self.streams.borrow().highest | 1;
        FrameHeader::write(out, HEADERS, 0, stream, &[]);
        for _ in 0..self.limits.max_head_size / FRAME * 2 + 2 * CONTINUATIONS {
            FrameHeader::write(out, CONTINUATION, 0, stream, &[]);
        }
        self.over();
    }

    /// Ends the connection with `PROTOCOL_ERROR`: something else came where a head goes on.
    fn interrupt(&mut self, out: &mut Vec<u8>) {
        FrameHeader::write(out, HEADERS, 0, self.streams.borrow().highest | 1, &[]);
        FrameHeader::write(out, PING, 0, 0, &[0; 8]);
        self.over();
    }

    /// Whether the connection ends here.
    #[cfg(test)]
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, FrameState::Over)
    }

    fn over(&mut self) {
        self.state = FrameState::Over;
        self.block = None;
    }
}

/// A head without a scheme and a path.
const BAD_HEAD: &[u8] = &[0x83];

/// A field that HTTP/2 does not have.
const BAD_TRAILERS: &[u8] = b"\x00\x02te\x01x";

/// An index that does not exist.
const NO_INDEX: &[u8] = &[0x80];

/// The head that the library gets: POST or CONNECT, http, and the number of the stream as path.
fn write_head(out: &mut Vec<u8>, stream: u32, connects: bool, content_length: Option<u64>) {
    let mut literal = |name: &[u8], value: &str| {
        out.extend_from_slice(name);
        out.push(value.len() as u8);
        out.extend_from_slice(value.as_bytes());
    };
    match connects {
        true => {
            literal(&[0x02], "CONNECT");
            literal(b"\x00\x09:protocol", "websocket");
        }
        false => literal(&[0x02], "POST"),
    }
    literal(&[0x06], "http");
    literal(&[0x04], &format!("/{stream}"));
    // The library compares it with what comes.
    if let Some(length) = content_length
        && !connects
    {
        literal(&[0x0f, 0x0d], &length.to_string());
    }
}
