//! A connection of HTTP/2, and what its streams share.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::pin::pin;
use std::rc::Rc;

use sockeye_world::{chance, draw, draw_from, time, trace};
use tokio::sync::Notify;

use super::frames::{self, *};
use super::plan::{CarrierPlan, Trouble};
use super::pool::Pool;
use super::state::{State, nonsense};
use super::stream::Stream;
use crate::book::End;
use crate::door::{Door, Socket};
use crate::together;

/// A connection.
pub(crate) struct Carrier {
    pool: Rc<Pool>,
    plan: CarrierPlan,
    /// Which one of its pool.
    number: usize,
    starves: Cell<bool>,
    vanished: Cell<bool>,
    /// Something is written now.
    writing: Cell<bool>,
    pub(super) state: RefCell<State>,
    /// Anything has happened.
    pub(super) news: Notify,
}

impl Carrier {
    pub(super) fn new(pool: &Rc<Pool>, number: usize) -> Rc<Self> {
        let plan = pool.plan;
        Rc::new(Carrier {
            pool: pool.clone(),
            plan,
            number,
            starves: Cell::new(false),
            vanished: Cell::new(false),
            writing: Cell::new(false),
            state: RefCell::new(State::new(plan.window)),
            news: Notify::new(),
        })
    }

    pub(super) fn is_over(&self) -> bool {
        self.state.borrow().over.is_some()
    }

    /// The server has said that it takes no more streams.
    pub(super) fn goes_away(&self) -> bool {
        self.state.borrow().last.is_some()
    }

    fn problem(&self, what: &str) {
        let what = format!("connection {} of HTTP/2: {what}", self.pool.number);
        self.pool.book.problem(what);
    }

    pub(super) fn put(&self, frame: Vec<u8>) {
        self.state.borrow_mut().out.push_back(frame);
        self.news.notify_waiters();
    }

    /// Whether little waits to be written.
    pub(super) fn has_room(&self) -> bool {
        self.state.borrow().out.len() < 4
    }

    pub(super) fn is_odd(&self) -> bool {
        chance(self.plan.oddities, 1000)
    }

    /// Opens a stream, when the server has said that it takes some.
    pub(crate) async fn open(
        self: &Rc<Self>,
        fields: &[(&str, &str)],
        ends: bool,
    ) -> Option<Stream> {
        loop {
            {
                let mut state = self.state.borrow_mut();
                if state.over.is_some() || state.last.is_some() {
                    return None;
                }
                if state.settled && state.streams.len() < state.most {
                    let id = state.begin(fields, ends, self.is_odd());
                    drop(state);
                    self.news.notify_waiters();
                    return Some(Stream::new(self.clone(), id));
                }
            }
            self.news.notified().await;
        }
    }

    /// So many bytes of a stream were taken.
    pub(super) fn took(&self, id: u32, len: usize) {
        let mut state = self.state.borrow_mut();
        if let Some(half) = state.streams.get_mut(&id) {
            half.owed += len as i64;
        }
        if !self.starves.get() {
            state.grant(id);
        }
        drop(state);
        self.news.notify_waiters();
    }

    /// The client is done with a stream.
    pub(super) fn forget(&self, id: u32) {
        let mut state = self.state.borrow_mut();
        let Some(half) = state.streams.remove(&id) else {
            return;
        };
        state.gone.insert(id);
        if half.reset.is_none() && state.over.is_none() && !(half.eof && half.ended) {
            let end = match half.eof {
                true => frame(DATA, END_STREAM, id, b""),
                false => frame(RST_STREAM, 0, id, &CANCEL.to_be_bytes()),
            };
            state.out.push_back(end);
        }
        drop(state);
        self.news.notify_waiters();
    }

    /// Lives the connection.
    pub(super) async fn run(self: Rc<Self>, door: &Door) {
        time::sleep(self.plan.start).await;
        let local = (
            [10, 1, 0, self.number as u8 + 1],
            30_000 + self.number as u16,
        )
            .into();
        let over = match door.connect(local, true).await {
            Ok(stream) => self.live(&stream).await,
            Err(_) => End::NotOpened,
        };
        trace::note(&[5, self.pool.number as u64, over as u64], || {
            format!(
                "connection {} of HTTP/2 has ended: {over:?}",
                self.pool.number
            )
        });
        self.state.borrow_mut().over = Some(over);
        self.news.notify_waiters();
    }

    async fn live(&self, stream: &Socket) -> End {
        let mut hello = PREFACE.to_vec();
        hello.extend(settings(&[(INITIAL_WINDOW, self.plan.window)]));
        self.put(hello);
        let mut trouble = pin!(self.misbehave(stream));
        let mut end = pin!(self.finish(stream));
        together::live(
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
                self.news.notified().await;
                continue;
            };
            self.writing.set(true);
            let written = stream.write_whole(&bytes).await;
            self.writing.set(false);
            self.news.notify_waiters();
            if written.is_err() {
                return;
            }
        }
    }

    /// Leaves when nobody needs it.
    async fn finish(&self, stream: &Socket) {
        loop {
            {
                let state = self.state.borrow();
                let retired = state.last.is_some() && state.streams.is_empty();
                if (self.pool.users.get() == 0 || retired) && state.out.is_empty() {
                    break;
                }
            }
            self.news.notified().await;
        }
        if self.plan.waits {
            self.put(frame(GOAWAY, 0, 0, &[0; 8]));
            while !self.state.borrow().out.is_empty() || self.writing.get() {
                self.news.notified().await;
            }
            stream.finish_writing().await;
            pending().await
        }
    }

    /// Does what is wrong with this one. It returns when the connection is to be dropped.
    async fn misbehave(&self, stream: &Socket) {
        let Some((at, trouble)) = self.plan.trouble.filter(|_| self.number == 0) else {
            return pending().await;
        };
        time::sleep(at).await;
        trace::note(&[6, self.pool.number as u64], || {
            format!("connection {} of HTTP/2: {trouble:?}", self.pool.number)
        });
        for place in &self.pool.places {
            self.pool.book.of(*place, |account| account.bad = true);
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
                    if let Some(half) = state.streams.get_mut(&id) {
                        half.reset = Some(code);
                    }
                    state.gone.insert(id);
                }
            }
            Trouble::Rapid(count) => self.open_and_reset(count).await,
            Trouble::Nonsense(kind) => self.put(nonsense(kind)),
            Trouble::Fin => stream.finish_writing().await,
            Trouble::Reset => return stream.reset_on_close(),
            Trouble::Vanish => self.vanished.set(true),
            Trouble::Starve => self.starves.set(true),
        }
        self.news.notify_waiters();
        pending().await
    }

    async fn open_and_reset(&self, count: u32) {
        for _ in 0..count {
            while !self.has_room() {
                self.news.notified().await;
            }
            let mut state = self.state.borrow_mut();
            if !state.settled {
                return;
            }
            let id = state.begin(
                &[(":method", "GET"), (":scheme", "http"), (":path", "/none")],
                true,
                false,
            );
            state.streams.remove(&id);
            state.gone.insert(id);
            if chance(3, 4) {
                state
                    .out
                    .push_back(frame(RST_STREAM, 0, id, &CANCEL.to_be_bytes()));
            }
            drop(state);
            self.news.notify_waiters();
        }
    }

    async fn read(&self, stream: &Socket) -> End {
        let mut ahead = Vec::new();
        loop {
            if let Some(pause) = self.plan.slow
                && chance(1, 4)
            {
                time::sleep(pause).await;
            }
            match stream.read_some(64 << 10).await {
                Ok(bytes) if bytes.is_empty() => return End::Eof,
                Ok(bytes) => ahead.extend(bytes),
                Err(_) => return End::Error,
            }
            while let Some((frame, len)) = frames::first(&ahead) {
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
                if let Err(what) = self.hear(&frame) {
                    self.problem(what);
                }
                ahead.drain(..len);
                self.be_odd();
            }
            self.news.notify_waiters();
        }
    }

    /// What is allowed, and mostly not done.
    fn be_odd(&self) {
        let mut state = self.state.borrow_mut();
        if chance(self.plan.resizes, 1000) && !state.changing && !self.starves.get() {
            state.say(draw_from(&[300, 5_000, WINDOW, 300_000]));
        }
        if self.is_odd() {
            let stream = state.next;
            state.out.push_back(match draw(3) {
                0 => frame(PING, 0, 0, b"anybody?"),
                1 => frame(PRIORITY, 0, stream, &[0, 0, 0, 0, 7]),
                _ => frame(0x77, 0xff, 0, b"of another time"),
            });
        }
    }

    fn hear(&self, frame: &Frame<'_>) -> Result<(), &'static str> {
        let mut state = self.state.borrow_mut();
        if frame.payload.len() > LARGEST {
            return Err("a frame is too large");
        }
        match frame.kind {
            DATA => return state.data(frame, self.starves.get()),
            HEADERS | CONTINUATION => return state.headers(frame),
            RST_STREAM => {
                let code = frame.number(0);
                if let Some(half) = state.streams.get_mut(&frame.stream) {
                    half.reset = code;
                    if self.pool.fair && !matches!(code, Some(0 | BROKEN | CANCEL)) {
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
                                .for_each(|half| half.window += more);
                        }
                        MOST_STREAMS => state.most = value as usize,
                        CONNECT_PROTOCOL => state.settled = value == 1,
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
                state.last = frame.number(0);
                if self.pool.fair && frame.number(4) != Some(0) {
                    return Err("it goes away for an error");
                }
            }
            WINDOW_UPDATE => {
                let more = i64::from(frame.number(0).unwrap_or_default());
                match frame.stream {
                    0 => state.window += more,
                    id => {
                        if let Some(half) = state.streams.get_mut(&id) {
                            half.window += more;
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
