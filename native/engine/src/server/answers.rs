//! Answers of the virtual machine to what a server has asked, at once and in pieces.

use std::sync::Arc;

use sockeye_protocol::handshake::Refusal;

use crate::server::Server;
use crate::vm::question::Answer;
use crate::vm::stream::{PieceOutcome, StreamEnd, Tell};

impl Server {
    /// Answers what was asked with this token. False if nobody waits for it any more.
    pub fn answer(&self, token: u64, answer: Answer) -> bool {
        self.questions.answer(token, answer).is_ok()
    }

    /// Answers it with this head, and with pieces that are given later. False if nobody waits for it any more, or the client has got
    /// 503 since there are as many of these answers as connections may be.
    pub fn open_stream(self: &Arc<Self>, token: u64, head: Refusal) -> bool {
        let server = self.clone();
        let gone = move || {
            server.streams.end(token, StreamEnd::Broken);
            server.host.stream_gone(token);
        };
        let most = self.config.max_connections;
        let Some(opened) = self.streams.open(token, head, most, gone) else {
            let refusal = Refusal::new(503, "Too many answers are on their way.\n");
            let refusal = refusal.with_header("Retry-After", "1");
            self.answer(token, Answer::Respond(refusal));
            return false;
        };
        let answer = Answer::Stream(Box::new(opened));
        match self.questions.answer(token, answer) {
            Err(Answer::Stream(mut unheard)) => {
                // Who gave it knows by now, and must not be told on a thread of the VM.
                unheard.body.forget();
                self.streams.end(token, StreamEnd::Broken);
                false
            }
            heard => heard.is_ok(),
        }
    }

    /// Gives a piece of an answer that was opened with this token. `tell` makes what is told when the piece has to wait.
    pub fn give_piece(
        &self,
        token: u64,
        piece: &[u8],
        tell: impl FnOnce() -> Tell,
    ) -> PieceOutcome {
        match self.streams.find(token) {
            Some(source) => source.give(piece, tell),
            None => PieceOutcome::Closed,
        }
    }

    /// Ends an answer that was opened with this token.
    pub fn end_stream(&self, token: u64, end: StreamEnd) {
        self.streams.end(token, end);
    }

    /// Answers in pieces that have no end yet.
    #[cfg(loom)]
    pub(crate) fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// Nobody will answer what was asked so far: it is refused with 503, and answers that were begun are broken off. For before there
    /// is somebody else to ask.
    pub fn forget_questions(&self) {
        self.questions.forget();
        self.streams.break_all();
    }
}
