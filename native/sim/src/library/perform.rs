//! Performs what processes want done: all operations of a turn in one call of each shard.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sockeye_protocol::frame::{self, Opcode};
use sockeye_simulated_engine::active::SetActive;
use sockeye_simulated_engine::op::Command;
use sockeye_simulated_engine::{CallKind, Frames, SendError, ShardSet};
use sockeye_world::time;

use super::processes::Vm;
use crate::vm::operation::{Operation, ReplyPiece};
use crate::vm::wakeup::Wakeup;

impl Vm {
    /// Performs operations, and waits where it has to. What finds a full queue is tried again.
    pub(super) async fn perform(&self, operations: &mut VecDeque<Operation>) {
        let mut patience = 2000_i64;
        while !operations.is_empty() {
            let mut frames: Vec<(usize, Frames)> = Vec::new();
            let mut busy = Vec::new();
            let mut left = VecDeque::new();
            for operation in operations.drain(..) {
                let conn = match operation {
                    Operation::Reply(conn, ..)
                    | Operation::InPieces(conn, ..)
                    | Operation::Close(conn, _)
                    | Operation::Active(conn, _)
                    | Operation::Piece(ReplyPiece { conn, .. }) => conn,
                };
                if busy.contains(&conn) && !matches!(operation, Operation::Active(..)) {
                    left.push_back(operation);
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
                if self.put(&operation, out) == Err(SendError::Busy) {
                    busy.push(conn);
                    left.push_back(operation);
                }
            }
            let mut shards = ShardSet::default();
            for (shard, frames) in frames {
                shards.insert(shard);
                self.engine.send(shard, frames);
            }
            self.wait_for_room(shards, CallKind::Single).await;
            *operations = left;
            patience -= 1;
            if !operations.is_empty() {
                if patience <= 0 && !self.plan.fair {
                    // No process stops in the middle of a reply.
                    operations
                        .retain(|one| matches!(one, Operation::Piece(piece) if piece.is_begun()));
                }
                time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    pub(super) async fn wait_for_room(&self, shards: ShardSet, kind: CallKind) {
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

    fn put(&self, operation: &Operation, out: &mut Frames) -> Result<(), SendError> {
        match *operation {
            Operation::Reply(conn, client, size) => {
                let number = self
                    .ledger
                    .update(client, |a| a.replies_accepted)
                    .unwrap_or_default();
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
                self.ledger.update(client, |a| {
                    a.replies_accepted += 1;
                    a.largest_reply = a.largest_reply.max(len);
                });
            }
            Operation::Piece(ref piece) => return self.put_piece(piece, out),
            // Only where the engine is a process.
            Operation::InPieces(..) => {}
            Operation::Close(conn, code) => {
                if self.engine.set_closing(conn)
                    && let Some(client) = self.ledger.client_of(conn)
                {
                    self.ledger.update(client, |a| {
                        a.close_requested = Some((code, a.replies_accepted))
                    });
                    out.commands.push((conn, Command::Close(code, "".into())));
                }
            }
            Operation::Active(conn, change) => {
                if let Some(client) = self.ledger.client_of(conn) {
                    self.ledger
                        .update(client, |record| match (change, &mut record.credits) {
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
