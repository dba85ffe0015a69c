//! Replies in pieces.

use std::collections::VecDeque;

use sockeye_protocol::Kind;
use sockeye_protocol::frame::{self, Opcode};
use sockeye_simulated_engine::op::Command;
use sockeye_simulated_engine::pieces::{Piece, StreamError};
use sockeye_simulated_engine::{ConnId, Frames, SendError};
use sockeye_world::draw;

use super::processes::Vm;
use crate::vm::operation::{Operation, ReplyPiece};

/// Appends the pieces of a reply.
pub(super) fn push(
    vm: &Vm,
    conn: ConnId,
    (client, size): (usize, usize),
    to: &mut VecDeque<Operation>,
) {
    let id = {
        let mut ledger = vm.ledger.lock();
        ledger.streams += 1;
        ledger.streams
    };
    let count = 2 + draw(3) as usize;
    to.extend((0..count).map(|index| {
        Operation::Piece(ReplyPiece {
            conn,
            client,
            size,
            id,
            index,
            count,
        })
    }));
}

impl Vm {
    /// Sends a piece, or says that it has to wait.
    pub(super) fn put_piece(&self, piece: &ReplyPiece, out: &mut Frames) -> Result<(), SendError> {
        let &ReplyPiece {
            conn,
            client,
            size,
            id,
            index,
            count,
        } = piece;
        let (accepted, open) = self
            .ledger
            .update(client, |a| (a.replies_accepted, a.open_stream))
            .unwrap_or_default();
        let number = match open {
            _ if index == 0 => accepted,
            Some((of, number)) if of == id => number,
            // It has failed before.
            _ => return Ok(()),
        };
        let mut text = format!("{client} {number} ").into_bytes();
        text.resize(size.max(text.len()), b'r');
        let part = &text[index * text.len() / count..(index + 1) * text.len() / count];
        let undo = match self.engine.stream(conn, id, Kind::Text, piece.step(), part) {
            Ok(undo) => undo,
            // Another process is sending one.
            Err(StreamError::Streaming) => return Err(SendError::Busy),
            Err(_) => return self.fail_piece(piece),
        };
        let (op, is_last) = match piece.step() {
            Piece::First => (Opcode::Text, false),
            Piece::More => (Opcode::Continuation, false),
            Piece::Last => (Opcode::Continuation, true),
        };
        let start = out.bytes.len();
        frame::write_fragment(&mut out.bytes, op, is_last, part, None);
        let len = out.bytes.len() - start;
        if let Err(e) = self.engine.reserve_piece(conn, piece.step(), len) {
            out.bytes.truncate(start);
            self.engine.unstream(conn, undo);
            return match e {
                SendError::Busy => Err(e),
                SendError::Closed => self.fail_piece(piece),
            };
        }
        let range = start as u32..out.bytes.len() as u32;
        out.commands
            .push((conn, Command::Stream(range, piece.step(), undo)));
        self.ledger.update(client, |a| {
            a.largest_reply = a.largest_reply.max(len);
            a.replies_accepted += u64::from(index == 0);
            a.open_stream = (!is_last).then_some((id, number));
        });
        Ok(())
    }

    /// The connection takes no more: the reply has no end.
    fn fail_piece(&self, piece: &ReplyPiece) -> Result<(), SendError> {
        self.ledger.update(piece.client, |a| {
            if let Some((id, number)) = a.open_stream
                && id == piece.id
            {
                a.replies_refused.insert(number);
                a.first_broken_stream.get_or_insert(number);
                a.open_stream = None;
            }
        });
        Ok(())
    }
}
