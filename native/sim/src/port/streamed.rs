//! Replies in pieces: each piece is answered before the next one is sent.

use std::rc::Rc;
use std::time::Duration;

use sockeye_simulated_engine::ConnId;
use sockeye_world::{draw, time};

use super::node::Node;
use super::process::Answer;
use super::terms::conn_term;
use crate::terms::{Term, atom, binary, tuple};
use crate::vm::event::Exit;

/// The result of a piece.
enum Sent {
    Yes,
    /// There is no room, or another reply is being sent in pieces.
    Later,
    /// The connection takes no more.
    Never,
    /// There is no answer: the link has ended.
    Unknown,
}

impl Node {
    /// Sends a reply in pieces. A process that may crash does so in the middle.
    pub(super) async fn send_in_pieces(
        self: &Rc<Self>,
        by: u32,
        conn: ConnId,
        (client, size): (usize, usize),
        may_crash: bool,
    ) -> Option<Exit> {
        let count = 2 + draw(3) as usize;
        let mut retries = 200;
        while retries > 0 || self.plan.fair {
            retries -= 1;
            let number = self.ledger.update(client, |a| {
                a.replies_accepted += 1;
                a.replies_accepted - 1
            })?;
            let mut text = format!("{client} {number} ").into_bytes();
            text.resize(size.max(text.len()), b'r');
            self.ledger.update(client, |a| {
                a.largest_reply = a.largest_reply.max(text.len() + 10)
            });
            let mut at = 0;
            while at < count {
                if at > 0 && may_crash && self.behaviour.happens(self.plan.processes.crashes) {
                    self.break_off(client, number);
                    return Some(Exit::Crash);
                }
                let step = match at {
                    0 => "first",
                    at if at + 1 == count => "last",
                    _ => "more",
                };
                let part = &text[at * text.len() / count..(at + 1) * text.len() / count];
                match self.send_piece(by, conn, step, part).await {
                    Sent::Yes => at += 1,
                    Sent::Later if at == 0 => break,
                    Sent::Later => time::sleep(Duration::from_millis(20)).await,
                    Sent::Never if at == 0 => {
                        self.ledger.reply_refused(client, number);
                        return None;
                    }
                    Sent::Never => {
                        self.break_off(client, number);
                        return None;
                    }
                    Sent::Unknown => return None,
                }
            }
            if at == count {
                return None;
            }
            self.ledger.reply_refused(client, number);
            time::sleep(Duration::from_millis(20)).await;
        }
        None
    }

    /// This reply has no end.
    fn break_off(&self, client: usize, number: u64) {
        self.ledger.update(client, |a| {
            a.replies_refused.insert(number);
            a.first_broken_stream.get_or_insert(number);
        });
    }

    async fn send_piece(self: &Rc<Self>, by: u32, conn: ConnId, step: &str, part: &[u8]) -> Sent {
        let frame = vec![atom("stream"), atom("text"), atom(step), binary(part)];
        let args = vec![conn_term(conn), tuple(frame)];
        let reason = |value: &Term| match value.tuple() {
            Ok([_, why]) if why.is("busy") || why.is("streaming") => Sent::Later,
            _ => Sent::Never,
        };
        match self.call(by, "send", args).await {
            Answer::Value(ok) if ok.is("ok") => Sent::Yes,
            Answer::Value(value) => reason(&value),
            _ => Sent::Unknown,
        }
    }
}
