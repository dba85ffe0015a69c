//! Processes that answer requests, at once or piece by piece.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sockeye_protocol::handshake::Refusal;
use sockeye_simulated_engine::{Answer, PieceOutcome, Server, StreamEnd};
use sockeye_world::{chance, draw, time, trace};

use super::plan::Ask;
use crate::book::Shared;
use crate::wakeup::Wakeup;

/// Answers in pieces whose client has gone.
#[derive(Default)]
pub(crate) struct Gone(Mutex<BTreeMap<u64, bool>>);

impl Gone {
    /// Whether the client of this token has gone, of which its process is to hear once.
    pub(crate) fn is(&self, token: u64) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&token) == Some(&true)
    }

    pub(crate) fn set(&self, token: u64, gone: bool) -> Option<bool> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(token, gone)
    }

    /// The engine tells it.
    pub(crate) fn tell(&self, book: &Shared, token: u64) {
        trace::note(&[25], || {
            "the client of an answer in pieces has gone".into()
        });
        if self.set(token, true) != Some(false) {
            book.problem("a client has gone twice, or before it was there".into());
        }
    }
}

/// Answers a question.
pub(crate) async fn answer(
    (server, gone, book): (Arc<Server>, Arc<Gone>, Shared),
    fair: bool,
    token: u64,
    ask: Ask,
) {
    if chance(1, 3) {
        let pause = if fair || chance(3, 4) {
            50_000_000
        } else {
            8_000_000_000
        };
        time::sleep(Duration::from_nanos(draw(pause))).await;
    }
    if !fair && chance(1, 20) {
        // It has crashed, or has forgotten it.
        return;
    }
    let mut content = ask.answer();
    if ask.pieces == 0 {
        server.answer(token, Answer::Respond(Refusal::new(200, content)));
        return;
    }
    gone.set(token, false);
    if !server.open_stream(token, Refusal::new(200, "")) {
        return;
    }
    let size = content.len().div_ceil(ask.pieces).max(1);
    while !content.is_empty() {
        let rest = content.split_off(size.min(content.len()));
        let piece = std::mem::replace(&mut content, rest);
        if chance(1, 4) {
            time::sleep(Duration::from_nanos(draw(100_000_000))).await;
        }
        if !fair && chance(1, 50) {
            return server.end_stream(token, StreamEnd::Broken);
        }
        let wakeup = Arc::new(Wakeup::default());
        let told = wakeup.clone();
        let answered = book.clone();
        let tell = move || -> sockeye_simulated_engine::Tell {
            Box::new(move |_| {
                answered.open().answered += 1;
                told.notify();
            })
        };
        match server.give_piece(token, &piece, tell) {
            PieceOutcome::Taken => {}
            PieceOutcome::Waits => {
                book.open().asked += 1;
                wakeup.notified().await;
            }
            PieceOutcome::Closed => {
                let stopping = book.open().stopping;
                if fair && !ask.is_head && ask.leaves.is_none() && !stopping && !gone.is(token) {
                    book.problem(format!("nobody takes an answer: {ask:?}"));
                }
                return;
            }
        }
    }
    let end = if ask.breaks {
        StreamEnd::Broken
    } else {
        StreamEnd::Complete
    };
    server.end_stream(token, end);
}
