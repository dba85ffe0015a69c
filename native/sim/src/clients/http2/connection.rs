//! A connection of HTTP/2: it reads and writes frames, and does what its plan says.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::pin::pin;
use std::rc::Rc;

use sockeye_world::{chance, draw, draw_from, time, trace};
use tokio::sync::Notify;

use super::frames::{self, *};
use super::shared::Shared;
use super::state::{State, nonsense};
use crate::clients::concurrent::run_client;
use crate::clients::endpoint::Endpoint;
use crate::clients::socket::Socket;
use crate::model::ledger::End;
use crate::plan::http2::{Http2Plan, Trouble};

/// A connection.
pub(crate) struct Connection {
    shared: Rc<Shared>,
    plan: Http2Plan,
    /// Its number in the pool.
    number: usize,
    starves: Cell<bool>,
    vanished: Cell<bool>,
    /// A frame is being written.
    writing: Cell<bool>,
    pub(super) state: RefCell<State>,
    /// Something has happened.
    pub(super) changed: Notify,
}

impl Connection {
    pub(super) fn new(shared: &Rc<Shared>, number: usize) -> Rc<Self> {
        let plan = shared.plan;
        Rc::new(Connection {
            shared: shared.clone(),
            plan,
            number,
            starves: Cell::new(false),
            vanished: Cell::new(false),
            writing: Cell::new(false),
            state: RefCell::new(State::new(plan.window)),
            changed: Notify::new(),
        })
    }

    pub(super) fn is_over(&self) -> bool {
        self.state.borrow().end.is_some()
    }

    /// The server has sent GOAWAY.
    pub(super) fn got_goaway(&self) -> bool {
        self.state.borrow().goaway.is_some()
    }

    fn problem(&self, what: &str) {
        let what = format!("connection {} of HTTP/2: {what}", self.shared.number);
        self.shared.ledger.problem(what);
    }

    pub(super) fn put(&self, frame: Vec<u8>) {
        self.state.borrow_mut().out.push_back(frame);
        self.changed.notify_waiters();
    }

    /// Whether little waits to be written.
    pub(super) fn has_room(&self) -> bool {
        self.state.borrow().out.len() < 4
    }

    pub(super) fn does_something_rare(&self) -> bool {
        chance(self.plan.oddities, 1000)
    }

    /// Opens a stream, once the server has sent its settings and there is room for one: its number.
    pub(super) async fn open(&self, fields: &[(&str, &str)], ends: bool) -> Option<u32> {
        loop {
            {
                let mut state = self.state.borrow_mut();
                if state.end.is_some() || state.goaway.is_some() {
                    return None;
                }
                if state.has_settings && state.streams.len() < state.max_streams {
                    let id = state.begin(fields, ends, self.does_something_rare());
                    drop(state);
                    self.changed.notify_waiters();
                    return Some(id);
                }
            }
            self.changed.notified().await;
        }
    }

    /// So many bytes of a stream were read.
    pub(super) fn read_from(&self, id: u32, len: usize) {
        let mut state = self.state.borrow_mut();
        if let Some(stream_state) = state.streams.get_mut(&id) {
            stream_state.owed += len as i64;
        }
        if !self.starves.get() {
            state.grant(id);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// The client needs a stream no more: it ends, or is reset.
    pub(super) fn forget(&self, id: u32) {
        let mut state = self.state.borrow_mut();
        let Some(stream_state) = state.streams.remove(&id) else {
            return;
        };
        state.closed.insert(id);
        if stream_state.reset.is_none()
            && state.end.is_none()
            && !(stream_state.is_read && stream_state.is_ended)
        {
            let end = match stream_state.is_read {
                true => frame(DATA, END_STREAM, id, b""),
                false => frame(RST_STREAM, 0, id, &CANCEL.to_be_bytes()),
            };
            state.out.push_back(end);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Runs the connection.
    pub(super) async fn run(self: Rc<Self>, endpoint: &Endpoint) {
        time::sleep(self.plan.start).await;
        let local = (
            [10, 1, 0, self.number as u8 + 1],
            30_000 + self.number as u16,
        )
            .into();
        let end = match endpoint.connect(local, true).await {
            Ok(stream) => self.run_on(&stream).await,
            Err(_) => End::NotOpened,
        };
        trace::note(&[5, self.shared.number as u64, end as u64], || {
            format!(
                "connection {} of HTTP/2 has ended: {end:?}",
                self.shared.number
            )
        });
        self.state.borrow_mut().end = Some(end);
        self.changed.notify_waiters();
    }

    async fn run_on(&self, stream: &Socket) -> End {
        let mut hello = PREFACE.to_vec();
        hello.extend(settings(&[(INITIAL_WINDOW, self.plan.window)]));
        self.put(hello);
        let mut trouble = pin!(self.misbehave(stream));
        let mut end = pin!(self.finish(stream));
        run_client(
            &self.vanished,
            self.read(stream),
            self.write(stream),
            &mut [trouble.as_mut(), end.as_mut()],
        )
        .await
    }

    async fn write(&self, stream: &Socket) {
        loop {
            let next = self.state.borrow_mut().out.pop_front();
            let Some(bytes) = next else {
                self.changed.notified().await;
                continue;
            };
            self.writing.set(true);
            let written = stream.write_whole(&bytes).await;
            self.writing.set(false);
            self.changed.notify_waiters();
            if written.is_err() {
                return;
            }
        }
    }

    /// Ends the connection when no client needs it.
    async fn finish(&self, stream: &Socket) {
        loop {
            {
                let state = self.state.borrow();
                let is_retired = state.goaway.is_some() && state.streams.is_empty();
                if (self.shared.users.get() == 0 || is_retired) && state.out.is_empty() {
                    break;
                }
            }
            self.changed.notified().await;
        }
        if self.plan.waits {
            self.put(frame(GOAWAY, 0, 0, &[0; 8]));
            while !self.state.borrow().out.is_empty() || self.writing.get() {
                self.changed.notified().await;
            }
            stream.finish_writing().await;
            pending().await
        }
    }

    /// Does what is wrong, if this connection is to. It returns when the connection is to be dropped.
    async fn misbehave(&self, stream: &Socket) {
        let Some((at, trouble)) = self.plan.trouble.filter(|_| self.number == 0) else {
            return pending().await;
        };
        time::sleep(at).await;
        trace::note(&[6, self.shared.number as u64], || {
            format!("connection {} of HTTP/2: {trouble:?}", self.shared.number)
        });
        for place in &self.shared.places {
            self.shared
                .ledger
                .update(*place, |record| record.misbehaved = true);
        }
        match trouble {
            Trouble::GoAway => self.put(frame(GOAWAY, 0, 0, &[0; 8])),
            Trouble::ResetAll => {
                let mut state = self.state.borrow_mut();
                let all: Vec<_> = state.streams.keys().copied().collect();
                for id in all {
                    let code = draw_from(&[0, CANCEL, 1]);
                    state
                        .out
                        .push_back(frame(RST_STREAM, 0, id, &u32::to_be_bytes(code)));
                    if let Some(stream_state) = state.streams.get_mut(&id) {
                        stream_state.reset = Some(code);
                    }
                    state.closed.insert(id);
                }
            }
            Trouble::Rapid(count) => self.open_and_reset(count).await,
            Trouble::Nonsense(kind) => self.put(nonsense(kind)),
            Trouble::Fin => stream.finish_writing().await,
            Trouble::Reset => return stream.reset_on_close(),
            Trouble::Vanish => self.vanished.set(true),
            Trouble::Starve => self.starves.set(true),
        }
        self.changed.notify_waiters();
        pending().await
    }

    async fn open_and_reset(&self, count: u32) {
        for _ in 0..count {
            while !self.has_room() {
                self.changed.notified().await;
            }
            let mut state = self.state.borrow_mut();
            if !state.has_settings {
                return;
            }
            let id = state.begin(
                &[(":method", "GET"), (":scheme", "http"), (":path", "/none")],
                true,
                false,
            );
            state.streams.remove(&id);
            state.closed.insert(id);
            if chance(3, 4) {
                state
                    .out
                    .push_back(frame(RST_STREAM, 0, id, &CANCEL.to_be_bytes()));
            }
            drop(state);
            self.changed.notify_waiters();
        }
    }

    async fn read(&self, stream: &Socket) -> End {
        let mut buffered = Vec::new();
        loop {
            if let Some(pause) = self.plan.slow
                && chance(1, 4)
            {
                time::sleep(pause).await;
            }
            match stream.read_some(64 << 10).await {
                Ok(bytes) if bytes.is_empty() => return End::Eof,
                Ok(bytes) => buffered.extend(bytes),
                Err(_) => return End::Error,
            }
            while let Some((frame, len)) = frames::first(&buffered) {
                trace::note(
                    &[7, frame.kind.into(), frame.stream.into(), len as u64],
                    || {
                        let Frame {
                            kind,
                            flags,
                            stream,
                            payload,
                        } = &frame;
                        format!(
                            "{}: frame {kind} of stream {stream}, flags {flags}, {} bytes",
                            self.number,
                            payload.len()
                        )
                    },
                );
                if let Err(what) = self.on_frame(&frame) {
                    self.problem(what);
                }
                buffered.drain(..len);
                self.do_rare_things();
            }
            self.changed.notify_waiters();
        }
    }

    /// Does what is allowed and rare.
    fn do_rare_things(&self) {
        let mut state = self.state.borrow_mut();
        if chance(self.plan.resizes, 1000) && !state.changing && !self.starves.get() {
            state.change_window(draw_from(&[300, 5_000, WINDOW, 300_000]));
        }
        if self.does_something_rare() {
            let stream = state.next;
            state.out.push_back(match draw(3) {
                0 => frame(PING, 0, 0, b"anybody?"),
                1 => frame(PRIORITY, 0, stream, &[0, 0, 0, 0, 7]),
                _ => frame(0x77, 0xff, 0, b"of another time"),
            });
        }
    }

    fn on_frame(&self, frame: &Frame<'_>) -> Result<(), &'static str> {
        let mut state = self.state.borrow_mut();
        if frame.payload.len() > LARGEST {
            return Err("a frame is too large");
        }
        match frame.kind {
            DATA => return state.data(frame, self.starves.get()),
            HEADERS | CONTINUATION => return state.headers(frame),
            RST_STREAM => {
                let code = frame.number(0);
                if let Some(stream_state) = state.streams.get_mut(&frame.stream) {
                    stream_state.reset = code;
                    if self.shared.fair && !matches!(code, Some(0 | BROKEN | CANCEL)) {
                        return Err("a stream is reset for an error");
                    }
                }
            }
            SETTINGS if frame.has(ACK) => return state.acknowledged(),
            SETTINGS => {
                for (id, value) in frame.settings() {
                    match id {
                        INITIAL_WINDOW => {
                            let more = i64::from(value) - state.initial;
                            state.initial += more;
                            state
                                .streams
                                .values_mut()
                                .for_each(|stream_state| stream_state.window += more);
                        }
                        MAX_STREAMS => state.max_streams = value as usize,
                        CONNECT_PROTOCOL => state.has_settings = value == 1,
                        _ => {}
                    }
                }
                state.out.push_back(frames::frame(SETTINGS, ACK, 0, b""));
            }
            PING if !frame.has(ACK) => {
                state
                    .out
                    .push_back(frames::frame(PING, ACK, 0, frame.payload));
            }
            GOAWAY => {
                state.goaway = frame.number(0);
                if self.shared.fair && frame.number(4) != Some(0) {
                    return Err("it sends GOAWAY for an error");
                }
            }
            WINDOW_UPDATE => {
                let more = i64::from(frame.number(0).unwrap_or_default());
                match frame.stream {
                    0 => state.window += more,
                    id => {
                        if let Some(stream_state) = state.streams.get_mut(&id) {
                            stream_state.window += more;
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
