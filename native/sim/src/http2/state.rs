//! What a client knows of a connection of HTTP/2: its streams, and what both sides may send.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sockeye_protocol::hpack::Decoder;

use super::frames::{self, *};
use crate::book::End;

/// Fields of a head that were read.
pub(crate) type Fields = Vec<(String, Vec<u8>)>;

/// What the client knows of a stream.
#[derive(Default)]
pub(super) struct Half {
    /// What it may send.
    pub(super) window: i64,
    /// What the server may send.
    pub(super) credit: i64,
    /// The first window that this counts from, with its number.
    pub(super) basis: (u32, i64),
    /// Bytes that were taken, and not granted again.
    pub(super) owed: i64,
    pub(super) head: Option<Fields>,
    pub(super) incoming: VecDeque<u8>,
    /// The server sends no more.
    pub(super) eof: bool,
    pub(super) reset: Option<u32>,
    /// We send no more.
    pub(super) ended: bool,
}

pub(super) struct State {
    pub(super) next: u32,
    pub(super) out: VecDeque<Vec<u8>>,
    /// What the client may send in all, and to a new stream.
    pub(super) window: i64,
    pub(super) initial: i64,
    /// What the server may send in all.
    pub(super) credit: i64,
    pub(super) owed: i64,
    /// The window that a stream has which we open now, with its number: how many we have said before.
    ours: (u32, i64),
    /// Those that are not acknowledged, in their order.
    said: VecDeque<(u32, i64)>,
    /// Another one was said than the first, and since then nothing was acknowledged.
    pub(super) changing: bool,
    pub(super) streams: BTreeMap<u32, Half>,
    /// Streams that we have reset, or are done with.
    pub(super) gone: BTreeSet<u32>,
    pub(super) block: Vec<u8>,
    /// The server has said that it takes WebSockets.
    pub(super) settled: bool,
    /// So many streams at once.
    pub(super) most: usize,
    /// The last stream that the server looks at.
    pub(super) last: Option<u32>,
    pub(super) over: Option<End>,
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
            said: [(0, window.into())].into(),
            changing: false,
            streams: BTreeMap::new(),
            gone: BTreeSet::new(),
            block: Vec::new(),
            settled: false,
            most: 100,
            last: None,
            over: None,
            decoder: Decoder::default(),
        }
    }

    /// Opens a stream.
    pub(super) fn begin(&mut self, fields: &[(&str, &str)], ends: bool, is_cut: bool) -> u32 {
        let id = self.next;
        self.next += 2;
        let half = Half {
            window: self.initial,
            credit: self.ours.1,
            basis: self.ours,
            ended: ends,
            ..Half::default()
        };
        self.streams.insert(id, half);
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
        let Some(half) = self.streams.get_mut(&frame.stream) else {
            let was = self.gone.contains(&frame.stream);
            return if was {
                Ok(())
            } else {
                Err("data of a stream that is not open")
            };
        };
        if len > 0 && len > half.credit {
            return Err("it sends more than the stream may get");
        }
        if half.eof || half.head.is_none() {
            return Err("data before the head, or behind the end");
        }
        half.credit -= len;
        half.incoming.extend(frame.payload);
        half.eof = frame.has(END_STREAM);
        Ok(())
    }

    pub(super) fn headers(&mut self, frame: &Frame<'_>) -> Result<(), &'static str> {
        self.block.extend_from_slice(frame.payload);
        if !frame.has(END_HEADERS) {
            return Ok(());
        }
        let mut fields = Fields::new();
        let block = std::mem::take(&mut self.block);
        let read = self.decoder.decode(&block, 1 << 20, |name, value| {
            fields.push((String::from_utf8_lossy(name).into_owned(), value.to_vec()));
        });
        if read.is_err() {
            return Err("a head cannot be read");
        }
        if let Some(half) = self.streams.get_mut(&frame.stream) {
            if half.eof || (half.head.is_some() && !frame.has(END_STREAM)) {
                return Err("one more head");
            }
            half.eof = frame.has(END_STREAM);
            half.head.get_or_insert(fields);
        }
        Ok(())
    }

    /// Gives the server another window for each of its streams.
    pub(super) fn say(&mut self, window: i64) {
        self.changing = true;
        self.ours = (self.ours.0 + 1, window);
        self.said.push_back(self.ours);
        self.out
            .push_back(settings(&[(INITIAL_WINDOW, window as u32)]));
    }

    /// The server has heard of the first of the windows that it has not acknowledged.
    pub(super) fn acknowledged(&mut self) -> Result<(), &'static str> {
        self.changing = false;
        let heard = self.said.pop_front();
        let (nth, window) = heard.ok_or("it acknowledges what was not said")?;
        for half in self.streams.values_mut() {
            // A stream that was opened after it has begun with it, or with a later one.
            if half.basis.0 < nth {
                half.credit += window - half.basis.1;
                half.basis = (nth, window);
            }
        }
        // A smaller window may have taken more than there was.
        let all: Vec<_> = self.streams.keys().copied().collect();
        all.into_iter().for_each(|id| self.grant(id));
        Ok(())
    }

    /// Lets the server send what was taken of a stream, when that is worth it.
    pub(super) fn grant(&mut self, id: u32) {
        let Some(half) = self.streams.get_mut(&id) else {
            return;
        };
        if half.eof || half.owed == 0 || half.owed * 2 < half.basis.1 {
            return;
        }
        let owed = std::mem::take(&mut half.owed);
        half.credit += owed;
        let update = (owed as u32).to_be_bytes();
        self.out.push_back(frame(WINDOW_UPDATE, 0, id, &update));
    }
}

/// Bytes that no server takes.
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
