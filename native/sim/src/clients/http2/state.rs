//! The state of a connection of HTTP/2: its streams, and the windows of both sides. What the server sends beyond them is an error.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sockeye_protocol::hpack::Decoder;

use super::frames::{self, *};
use crate::model::ledger::End;

/// Fields of a head that were read.
pub(super) type Fields = Vec<(String, Vec<u8>)>;

/// A stream.
#[derive(Default)]
pub(super) struct StreamState {
    /// What it may send.
    pub(super) window: i64,
    /// What the server may send.
    pub(super) credit: i64,
    /// The window that `credit` was counted from last, with its number.
    pub(super) basis: (u32, i64),
    /// Bytes that were read, and not granted again.
    pub(super) owed: i64,
    pub(super) head: Option<Fields>,
    pub(super) incoming: VecDeque<u8>,
    /// The server has ended it.
    pub(super) is_read: bool,
    pub(super) reset: Option<u32>,
    /// We have ended it.
    pub(super) is_ended: bool,
}

/// A connection.
pub(super) struct State {
    pub(super) next: u32,
    pub(super) out: VecDeque<Vec<u8>>,
    /// What the client may send in all, and to a new stream.
    pub(super) window: i64,
    pub(super) initial: i64,
    /// What the server may send in all.
    pub(super) credit: i64,
    pub(super) owed: i64,
    /// The window of a stream that is opened now, with its number: how many there were before.
    ours: (u32, i64),
    /// Those that are not acknowledged, in their order.
    unacknowledged: VecDeque<(u32, i64)>,
    /// The window was changed, and nothing was acknowledged since.
    pub(super) changing: bool,
    pub(super) streams: BTreeMap<u32, StreamState>,
    /// Streams that we have reset, or need no more.
    pub(super) closed: BTreeSet<u32>,
    pub(super) header_block: Vec<u8>,
    /// The server has sent settings that allow WebSockets.
    pub(super) has_settings: bool,
    pub(super) max_streams: usize,
    /// The last stream that the server processes, behind its GOAWAY.
    pub(super) goaway: Option<u32>,
    pub(super) end: Option<End>,
    pub(super) decoder: Decoder,
}

impl State {
    pub(super) fn new(window: u32) -> Self {
        State {
            next: 1,
            out: VecDeque::new(),
            window: WINDOW,
            initial: WINDOW,
            credit: WINDOW,
            owed: 0,
            ours: (0, window.into()),
            unacknowledged: [(0, window.into())].into(),
            changing: false,
            streams: BTreeMap::new(),
            closed: BTreeSet::new(),
            header_block: Vec::new(),
            has_settings: false,
            max_streams: 100,
            goaway: None,
            end: None,
            decoder: Decoder::default(),
        }
    }

    /// Opens a stream.
    pub(super) fn begin(&mut self, fields: &[(&str, &str)], ends: bool, is_cut: bool) -> u32 {
        let id = self.next;
        self.next += 2;
        let stream_state = StreamState {
            window: self.initial,
            credit: self.ours.1,
            basis: self.ours,
            is_ended: ends,
            ..StreamState::default()
        };
        self.streams.insert(id, stream_state);
        let block = head(fields);
        let flags = if ends { END_STREAM } else { 0 };
        if is_cut {
            let (first, rest) = block.split_at(block.len() / 2);
            self.out.push_back(frame(HEADERS, flags, id, first));
            self.out
                .push_back(frame(CONTINUATION, END_HEADERS, id, rest));
        } else {
            self.out
                .push_back(frame(HEADERS, flags | END_HEADERS, id, &block));
        }
        id
    }

    pub(super) fn data(&mut self, frame: &Frame<'_>, starves: bool) -> Result<(), &'static str> {
        let len = frame.payload.len() as i64;
        if len > self.credit {
            return Err("it sends more than the connection may get");
        }
        self.credit -= len;
        self.owed += len;
        if !starves && self.owed * 2 >= WINDOW {
            let owed = std::mem::take(&mut self.owed);
            self.credit += owed;
            let update = (owed as u32).to_be_bytes();
            self.out
                .push_back(frames::frame(WINDOW_UPDATE, 0, 0, &update));
        }
        let Some(stream_state) = self.streams.get_mut(&frame.stream) else {
            let was = self.closed.contains(&frame.stream);
            return if was {
                Ok(())
            } else {
                Err("data of a stream that is not open")
            };
        };
        if len > 0 && len > stream_state.credit {
            return Err("it sends more than the stream may get");
        }
        if stream_state.is_read || stream_state.head.is_none() {
            return Err("data before the head, or behind the end");
        }
        stream_state.credit -= len;
        stream_state.incoming.extend(frame.payload);
        stream_state.is_read = frame.has(END_STREAM);
        Ok(())
    }

    pub(super) fn headers(&mut self, frame: &Frame<'_>) -> Result<(), &'static str> {
        self.header_block.extend_from_slice(frame.payload);
        if !frame.has(END_HEADERS) {
            return Ok(());
        }
        let mut fields = Fields::new();
        let block = std::mem::take(&mut self.header_block);
        let read = self.decoder.decode(&block, 1 << 20, |name, value| {
            fields.push((String::from_utf8_lossy(name).into_owned(), value.to_vec()));
        });
        if read.is_err() {
            return Err("a head cannot be read");
        }
        if let Some(stream_state) = self.streams.get_mut(&frame.stream) {
            if stream_state.is_read || (stream_state.head.is_some() && !frame.has(END_STREAM)) {
                return Err("one more head");
            }
            stream_state.is_read = frame.has(END_STREAM);
            stream_state.head.get_or_insert(fields);
        }
        Ok(())
    }

    /// Gives the server another window for each of its streams.
    pub(super) fn change_window(&mut self, window: i64) {
        self.changing = true;
        self.ours = (self.ours.0 + 1, window);
        self.unacknowledged.push_back(self.ours);
        self.out
            .push_back(settings(&[(INITIAL_WINDOW, window as u32)]));
    }

    /// The server acknowledges the oldest window.
    pub(super) fn acknowledged(&mut self) -> Result<(), &'static str> {
        self.changing = false;
        let acknowledged = self.unacknowledged.pop_front();
        let (nth, window) = acknowledged.ok_or("it acknowledges settings that were not sent")?;
        for stream_state in self.streams.values_mut() {
            // A stream that was opened later has begun with it, or with a newer one.
            if stream_state.basis.0 < nth {
                stream_state.credit += window - stream_state.basis.1;
                stream_state.basis = (nth, window);
            }
        }
        // A smaller window may have taken more than there was.
        let all: Vec<_> = self.streams.keys().copied().collect();
        all.into_iter().for_each(|id| self.grant(id));
        Ok(())
    }

    /// Grants what was read of a stream, when that is half of its window.
    pub(super) fn grant(&mut self, id: u32) {
        let Some(stream_state) = self.streams.get_mut(&id) else {
            return;
        };
        if stream_state.is_read
            || stream_state.owed == 0
            || stream_state.owed * 2 < stream_state.basis.1
        {
            return;
        }
        let owed = std::mem::take(&mut stream_state.owed);
        stream_state.credit += owed;
        let update = (owed as u32).to_be_bytes();
        self.out.push_back(frame(WINDOW_UPDATE, 0, id, &update));
    }
}

/// Frames that the protocol forbids.
pub(super) fn nonsense(kind: u8) -> Vec<u8> {
    match kind {
        0 => frame(DATA, 0, 0, b"of no stream"),
        1 => frame(HEADERS, END_HEADERS, 2, &head(&[(":method", "GET")])),
        2 => frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
        3 => frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
        4 => frame(SETTINGS, 0, 0, b"seven.."),
        5 => frame(CONTINUATION, END_HEADERS, 1, b"\x82"),
        6 => frame(HEADERS, END_HEADERS, 9999, b"\xff\xff\xff\xff\xff"),
        _ => vec![0xff; 40],
    }
}
