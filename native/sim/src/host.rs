//! The process that has started a server, or a client.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sockeye_protocol::handshake::Refusal;
use sockeye_simulated_engine::host::{Notice, ServerHost};
use sockeye_simulated_engine::{
    About, Answer, ConnId, DialError, Disconnected, Inbox, Question, ServerStats,
};
use sockeye_world::trace;

use crate::book::Shared;
use crate::http::answerer::Gone;
use crate::http::plan::Ask;
use crate::wakeup::Wakeup;

/// What it was told.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) stopped: AtomicU64,
    pub(crate) stopped_at: AtomicU64,
    pub(crate) unlistened: AtomicU64,
    pub(crate) has_gate: AtomicBool,
    /// Tokens, and what is asked for if it is not whether somebody may come in.
    pub(crate) questions: Mutex<VecDeque<(u64, Option<Ask>)>>,
    pub(crate) gone: Arc<Gone>,
    pub(crate) asked: Arc<Wakeup>,
    pub(crate) dialled: Mutex<VecDeque<Result<ConnId, DialError>>>,
    pub(crate) disconnected: Mutex<VecDeque<(ConnId, Disconnected)>>,
    pub(crate) news: Arc<Wakeup>,
}

pub(crate) struct Host {
    pub(crate) book: Shared,
    pub(crate) owner: Arc<Mutex<Option<Arc<Inbox>>>>,
    pub(crate) told: Arc<Told>,
}

impl ServerHost for Host {
    fn owner(&self) -> Option<Arc<Inbox>> {
        self.owner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn ask(&self, token: u64, question: &Question<'_>) -> bool {
        if !self.told.has_gate.load(Ordering::Relaxed) {
            return false;
        }
        let ask = match question.about {
            About::Upgrade => None,
            About::Route(_) => Ask::of_path(question.request.path()).map(|ask| Ask {
                is_head: question.request.method() == "HEAD",
                ..ask
            }),
        };
        if ask.is_some_and(|ask| ask.body() != question.body) {
            let path = question.request.path();
            self.book.problem(format!("{path} came with other content"));
        }
        let mut questions = self
            .told
            .questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        questions.push_back((token, ask));
        self.told.asked.notify();
        true
    }

    fn stream_gone(&self, token: u64) {
        self.told.gone.tell(&self.book, token);
    }

    fn unlistened(&self) {
        trace::note(&[20], || "the port is free".into());
        if self.told.unlistened.fetch_add(1, Ordering::Relaxed) > 0 {
            self.book.problem("the port is free twice".into());
        }
    }

    fn stopped(&self, stats: &ServerStats) {
        trace::note(
            &[21, stats.accepted, stats.frames_in, stats.bytes_out],
            || format!("the server has stopped: {stats:?}"),
        );
        self.told
            .stopped_at
            .store(sockeye_world::now(), Ordering::Relaxed);
        if self.told.stopped.fetch_add(1, Ordering::Relaxed) > 0 {
            self.book.problem("the server has stopped twice".into());
        }
        self.told.news.notify();
    }

    fn event(&self, event: Notice) {
        trace::note(&[22], || format!("{event:?}"));
    }

    fn dialled(&self, result: Result<ConnId, DialError>) {
        let code = result.as_ref().map_or(0, |conn| conn.as_u64());
        trace::note(&[23, code], || format!("dialled: {result:?}"));
        let mut all = self
            .told
            .dialled
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.push_back(result);
        self.told.news.notify();
    }

    fn disconnected(&self, conn: ConnId, end: Disconnected) {
        trace::note(&[24, conn.as_u64(), end.code.into()], || {
            format!("disconnected: {end:?}")
        });
        let mut all = self
            .told
            .disconnected
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.push_back((conn, end));
        self.told.news.notify();
    }
}

/// The answer to a question.
pub(crate) fn answer() -> Answer {
    match sockeye_world::chance(9, 10) {
        true => Answer::Accept(Box::default()),
        false => Answer::Respond(Refusal::new(403, "no")),
    }
}
