//! How a session ends.

use crate::close::{self, CloseReason, ClosedBy};
use crate::frame::{self, Opcode};
use crate::partial::Partial;
use crate::session::{Session, SessionState};
use crate::sink::Progress;

impl Session {
    /// Begins the close handshake: appends our Close frame to `out`. Nothing may be sent after it. `false`, and nothing
    /// appended, when the session is not open any more. When the peer has ended it ([`Progress::Ended`]), the session is
    /// finished, with this code in our answer.
    ///
    /// The code should be [`close::is_sendable`]; for another one the frame goes without code and reason. A reason beyond
    /// 123 bytes is cut.
    pub fn close(&mut self, code: u16, reason: &str, out: &mut Vec<u8>) -> bool {
        match self.state {
            SessionState::Open => {}
            SessionState::Ended => {
                self.answer_with(code, reason, out);
                return true;
            }
            SessionState::Closing | SessionState::Finished => return false,
        }
        self.write_close(code, reason, out);
        self.state = SessionState::Closing;
        if let Some(partial) = &mut self.partial {
            partial.message = None;
        }
        self.settle();
        true
    }

    /// Ends the session for something that the peer did: appends a Close frame to `out`, unless one went before, and does
    /// not wait for the answer. [`Session::progress`] is [`Progress::Finished`] from here on.
    pub fn fail(&mut self, code: u16, reason: &str, out: &mut Vec<u8>) {
        match self.state {
            SessionState::Open => self.write_close(code, reason, out),
            SessionState::Ended => return self.answer_with(code, reason, out),
            SessionState::Closing => {}
            SessionState::Finished => return,
        }
        self.finish(code, close::truncate(reason), ClosedBy::Violation);
    }

    /// Ends the session for something that the peer did, when what it said before may still be answered. From here on the
    /// session stands as behind a frame that breaks the rules in [`Session::receive_some`], also when the peer has closed
    /// meanwhile.
    pub fn end(&mut self, code: u16, reason: &str) {
        self.stop(code, close::truncate(reason), ClosedBy::Violation);
    }

    /// The peer writes no more, but may still read. Stands for [`Session::eof`] where what the peer said before may be answered.
    pub fn end_of_input(&mut self) -> Progress {
        self.stop(close::ABNORMAL, "", ClosedBy::Transport);
        self.progress()
    }

    /// After [`Progress::Ended`]: appends the Close frame that is owed to `out`, and the session is finished. A transport that
    /// ended without a Close frame is owed none. At any other time it does nothing.
    pub fn answer(&mut self, out: &mut Vec<u8>) {
        if self.state != SessionState::Ended {
            return;
        }
        let CloseReason { code, reason, by } = self.reason();
        let reason = if by == ClosedBy::Violation {
            &*reason
        } else {
            ""
        };
        self.answer_with(code, reason, out);
    }

    fn answer_with(&mut self, code: u16, reason: &str, out: &mut Vec<u8>) {
        self.state = SessionState::Finished;
        if self.reason().by != ClosedBy::Transport {
            self.write_close(code, reason, out);
        }
    }

    /// The transport ended, whoever ended it. Gives how the session ended: with 1006, unless the peer or we ended it before.
    pub fn eof(&mut self) -> CloseReason {
        match self.state {
            SessionState::Open | SessionState::Closing => {
                self.finish(close::ABNORMAL, "", ClosedBy::Transport)
            }
            SessionState::Ended => self.state = SessionState::Finished,
            SessionState::Finished => {}
        }
        self.reason()
    }

    fn write_close(&self, code: u16, reason: &str, out: &mut Vec<u8>) {
        let body = close::CloseBody::new(code, reason);
        frame::write(out, Opcode::Close, body.as_bytes(), self.role.mask());
    }

    /// The peer says no more. What we compress for it goes on as before.
    pub(crate) fn stop(&mut self, code: u16, reason: &str, by: ClosedBy) {
        match self.state {
            SessionState::Open => {
                let windows = self.partial.take().and_then(|partial| partial.windows);
                self.finish(code, reason, by);
                self.state = SessionState::Ended;
                if let Some(partial) = &mut self.partial {
                    partial.windows = windows;
                }
            }
            SessionState::Closing => self.finish(code, reason, by),
            SessionState::Ended => {
                let closed = self
                    .partial
                    .as_mut()
                    .and_then(|partial| partial.closed.as_mut());
                if let Some(closed) =
                    closed.filter(|closed| closed.by == ClosedBy::Peer && by == ClosedBy::Violation)
                {
                    let reason = reason.into();
                    *closed = CloseReason { code, reason, by };
                }
            }
            SessionState::Finished => {}
        }
    }

    pub(crate) fn finish(&mut self, code: u16, reason: &str, by: ClosedBy) {
        self.state = SessionState::Finished;
        self.partial = Some(Box::new(Partial {
            closed: Some(CloseReason {
                code,
                reason: reason.into(),
                by,
            }),
            ..Partial::default()
        }));
    }

    pub(crate) fn reason(&self) -> CloseReason {
        let closed = self
            .partial
            .as_ref()
            .and_then(|partial| partial.closed.clone());
        closed.unwrap_or(CloseReason {
            code: close::ABNORMAL,
            reason: "".into(),
            by: ClosedBy::Transport,
        })
    }
}
