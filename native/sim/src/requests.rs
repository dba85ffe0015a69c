//! What a process wants done, and how it is done: many things in one call.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sockeye_protocol::frame::{self, Opcode};
use sockeye_simulated_engine::active::SetActive;
use sockeye_simulated_engine::op::Command;
use sockeye_simulated_engine::{CallKind, ConnId, Frames, SendError, ShardSet};
use sockeye_world::time;

use crate::pieces::PieceOf;
use crate::process::Vm;
use crate::wakeup::Wakeup;

/// What a process wants done.
pub(crate) enum Request {
    Reply(ConnId, usize, usize),
    Close(ConnId, u16),
    Active(ConnId, SetActive),
    Piece(PieceOf),
    /// A reply in pieces, on the link.
    InPieces(ConnId, usize, usize),
}

impl Vm {
    /// Does what the process wants, in one call, and waits where it has to. What finds a full queue is tried again.
    pub(crate) async fn carry_out(&self, requests: &mut VecDeque<Request>) {
        let mut patience = 2000_i64;
        while !requests.is_empty() {
            let mut frames: Vec<(usize, Frames)> = Vec::new();
            let mut busy = Vec::new();
            let mut left = VecDeque::new();
            for request in requests.drain(..) {
                let conn = match request {
                    Request::Reply(conn, ..)
                    | Request::InPieces(conn, ..)
                    | Request::Close(conn, _)
                    | Request::Active(conn, _)
                    | Request::Piece(PieceOf { conn, .. }) => conn,
                };
                if busy.contains(&conn) && !matches!(request, Request::Active(..)) {
                    left.push_back(request);
                    continue;
                }
                let place = match frames.iter().position(|(shard, _)| *shard == conn.shard()) {
                    Some(place) => place,
                    None => {
                        frames.push((conn.shard(), Frames::default()));
                        frames.len() - 1
                    }
                };
                let out = &mut frames[place].1;
                if self.put(&request, out) == Err(SendError::Busy) {
                    busy.push(conn);
                    left.push_back(request);
                }
            }
            let mut shards = ShardSet::default();
            for (shard, frames) in frames {
                shards.insert(shard);
                self.engine.send(shard, frames);
            }
            self.wait_for_room(shards, CallKind::Single).await;
            *requests = left;
            patience -= 1;
            if !requests.is_empty() {
                if patience <= 0 && !self.plan.fair {
                    // Nobody stops in the middle of a message.
                    requests.retain(|one| matches!(one, Request::Piece(piece) if piece.is_begun()));
                }
                time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    pub(crate) async fn wait_for_room(&self, shards: ShardSet, kind: CallKind) {
        let backlogged = self.engine.backlogged(shards, kind);
        if backlogged.is_empty() {
            return;
        }
        let wakeup = Arc::new(Wakeup::default());
        let told = wakeup.clone();
        let mut left = self.engine.when_done(backlogged, move || {
            let told = told.clone();
            Box::new(move || told.notify())
        });
        while left > 0 {
            wakeup.notified().await;
            left -= 1;
        }
    }

    fn put(&self, request: &Request, out: &mut Frames) -> Result<(), SendError> {
        match *request {
            Request::Reply(conn, client, size) => {
                let number = self.book.of(client, |a| a.accepted).unwrap_or_default();
                let mut text = format!("{client} {number} ");
                let pad = size.saturating_sub(text.len());
                text.extend(std::iter::repeat_n('r', pad));
                let start = out.bytes.len();
                frame::write(&mut out.bytes, Opcode::Text, text.as_bytes(), None);
                let reserved = self.engine.reserve(conn, out.bytes.len() - start);
                if reserved.is_err() {
                    out.bytes.truncate(start);
                    return reserved;
                }
                out.write(conn, start as u32..out.bytes.len() as u32);
                let len = out.bytes.len() - start;
                self.book.of(client, |a| {
                    a.accepted += 1;
                    a.largest = a.largest.max(len);
                });
            }
            Request::Piece(ref piece) => return self.put_piece(piece, out),
            // Where the engine is a library there are pieces of their own.
            Request::InPieces(..) => {}
            Request::Close(conn, code) => {
                if self.engine.set_closing(conn)
                    && let Some(client) = self.book.client_of(conn)
                {
                    self.book
                        .of(client, |a| a.close_asked = Some((code, a.accepted)));
                    out.commands.push((conn, Command::Close(code, "".into())));
                }
            }
            Request::Active(conn, change) => {
                if let Some(client) = self.book.client_of(conn) {
                    self.book
                        .of(client, |account| match (change, &mut account.credits) {
                            (SetActive::Add(n), Some(credits)) => *credits += i64::from(n),
                            (_, Some(credits)) => *credits = 1,
                            _ => {}
                        });
                }
                out.commands.push((conn, Command::Active(change)));
            }
        }
        Ok(())
    }
}
