//! Replies in pieces, where the engine is a process of its own: each piece is answered before the next one is said.

use std::rc::Rc;
use std::time::Duration;

use sockeye_simulated_engine::ConnId;
use sockeye_world::{draw, time};

use super::machine::Machine;
use super::mail::Answer;
use super::terms::conn_term;
use crate::process::Exit;
use crate::terms::{Term, atom, binary, tuple};

/// What came of a piece.
enum Said {
    Yes,
    /// There is no room, or another message is in pieces.
    Later,
    /// The connection takes no more.
    Never,
    /// Nobody answers.
    Unknown,
}

impl Machine {
    /// Says a reply in pieces. It may be left in the middle by who crashes.
    pub(super) async fn say_in_pieces(
        self: &Rc<Self>,
        by: u32,
        conn: ConnId,
        (client, size): (usize, usize),
        may_crash: bool,
    ) -> Option<Exit> {
        let count = 2 + draw(3) as usize;
        let mut patience = 200;
        while patience > 0 || self.plan.fair {
            patience -= 1;
            let number = self.book.of(client, |a| {
                a.accepted += 1;
                a.accepted - 1
            })?;
            let mut text = format!("{client} {number} ").into_bytes();
            text.resize(size.max(text.len()), b'r');
            self.book
                .of(client, |a| a.largest = a.largest.max(text.len() + 10));
            let mut at = 0;
            while at < count {
                if at > 0 && may_crash && self.happens(self.plan.processes.crashes) {
                    self.break_off(client, number);
                    return Some(Exit::Crash);
                }
                let step = match at {
                    0 => "first",
                    at if at + 1 == count => "last",
                    _ => "more",
                };
                let part = &text[at * text.len() / count..(at + 1) * text.len() / count];
                match self.say_piece(by, conn, step, part).await {
                    Said::Yes => at += 1,
                    Said::Later if at == 0 => break,
                    Said::Later => time::sleep(Duration::from_millis(20)).await,
                    Said::Never if at == 0 => {
                        self.book.refused(client, number);
                        return None;
                    }
                    Said::Never => {
                        self.break_off(client, number);
                        return None;
                    }
                    Said::Unknown => return None,
                }
            }
            if at == count {
                return None;
            }
            self.book.refused(client, number);
            time::sleep(Duration::from_millis(20)).await;
        }
        None
    }

    /// What there is of this reply is none.
    fn break_off(&self, client: usize, number: u64) {
        self.book.of(client, |a| {
            a.refused.insert(number);
            a.cut_off.get_or_insert(number);
        });
    }

    async fn say_piece(self: &Rc<Self>, by: u32, conn: ConnId, step: &str, part: &[u8]) -> Said {
        let frame = vec![atom("stream"), atom("text"), atom(step), binary(part)];
        let args = vec![conn_term(conn), tuple(frame)];
        let reason = |value: &Term| match value.tuple() {
            Ok([_, why]) if why.is("busy") || why.is("streaming") => Said::Later,
            _ => Said::Never,
        };
        match self.call(by, "send", args).await {
            Answer::Value(ok) if ok.is("ok") => Said::Yes,
            Answer::Value(value) => reason(&value),
            _ => Said::Unknown,
        }
    }
}
