//! The host of a server or a client: what the engine tells the process that has started it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sockeye_simulated_engine::host::{Notice, ServerHost};
use sockeye_simulated_engine::{
    About, ConnId, DialError, Disconnected, Inbox, Question, ServerStats,
};
use sockeye_world::trace;

use crate::model::ledger::SharedLedger;
use crate::plan::requests::RequestPlan;
use crate::vm::left_clients::LeftClients;
use crate::vm::wakeup::Wakeup;

/// What a host was told.
#[derive(Default)]
pub(super) struct Notices {
    /// How often it was told that the server has stopped.
    pub(super) stopped: AtomicU64,
    /// How often, that the port is free.
    pub(super) unlistened: AtomicU64,
    /// A process answers questions.
    pub(super) takes_questions: AtomicBool,
    /// Tokens of questions, with the request if it is not about a WebSocket.
    pub(super) questions: Mutex<VecDeque<(u64, Option<RequestPlan>)>>,
    pub(super) left_clients: Arc<LeftClients>,
    pub(super) new_question: Arc<Wakeup>,
    pub(super) dialled: Mutex<VecDeque<Result<ConnId, DialError>>>,
    pub(super) disconnected: Mutex<VecDeque<(ConnId, Disconnected)>>,
    /// A client was told something.
    pub(super) changed: Arc<Wakeup>,
}

/// A host.
pub(super) struct Host {
    pub(super) ledger: SharedLedger,
    pub(super) owner: Arc<Mutex<Option<Arc<Inbox>>>>,
    pub(super) notices: Arc<Notices>,
}

impl ServerHost for Host {
    fn owner(&self) -> Option<Arc<Inbox>> {
        self.owner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn ask(&self, token: u64, question: &Question<'_>) -> bool {
        if !self.notices.takes_questions.load(Ordering::Relaxed) {
            return false;
        }
        let request = match question.about {
            About::Upgrade => None,
            About::Route(_) => {
                RequestPlan::from_path(question.request.path()).map(|request| RequestPlan {
                    is_head: question.request.method() == "HEAD",
                    ..request
                })
            }
        };
        if request.is_some_and(|request| request.request_body() != question.body) {
            let path = question.request.path();
            self.ledger
                .problem(format!("{path} came with another body"));
        }
        let mut questions = self
            .notices
            .questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        questions.push_back((token, request));
        self.notices.new_question.notify();
        true
    }

    fn stream_gone(&self, token: u64) {
        self.notices.left_clients.left(&self.ledger, token);
    }

    fn unlistened(&self) {
        trace::note(&[20], || "the port is free".into());
        if self.notices.unlistened.fetch_add(1, Ordering::Relaxed) > 0 {
            self.ledger.problem("the port is free twice".into());
        }
    }

    fn stopped(&self, stats: &ServerStats) {
        trace::note(
            &[21, stats.accepted, stats.frames_in, stats.bytes_out],
            || format!("the server has stopped: {stats:?}"),
        );
        if self.notices.stopped.fetch_add(1, Ordering::Relaxed) > 0 {
            self.ledger.problem("the server has stopped twice".into());
        }
        self.notices.changed.notify();
    }

    fn event(&self, event: Notice) {
        trace::note(&[22], || format!("{event:?}"));
    }

    fn dialled(&self, result: Result<ConnId, DialError>) {
        let code = result.as_ref().map_or(0, |conn| conn.as_u64());
        trace::note(&[23, code], || format!("dialled: {result:?}"));
        let mut all = self
            .notices
            .dialled
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.push_back(result);
        self.notices.changed.notify();
    }

    fn disconnected(&self, conn: ConnId, end: Disconnected) {
        trace::note(&[24, conn.as_u64(), end.code.into()], || {
            format!("disconnected: {end:?}")
        });
        let mut all = self
            .notices
            .disconnected
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.push_back((conn, end));
        self.notices.changed.notify();
    }
}
