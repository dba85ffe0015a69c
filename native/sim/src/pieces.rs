//! Replies that a process sends in pieces, as it has them.

use std::collections::VecDeque;

use sockeye_protocol::Kind;
use sockeye_protocol::frame::{self, Opcode};
use sockeye_simulated_engine::op::Command;
use sockeye_simulated_engine::pieces::{Piece, StreamError};
use sockeye_simulated_engine::{ConnId, Frames, SendError};
use sockeye_world::draw;

use crate::process::Vm;
use crate::requests::Request;

/// One of the pieces of a reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PieceOf {
    pub(crate) conn: ConnId,
    client: usize,
    size: usize,
    /// Names the message.
    id: u64,
    at: usize,
    count: usize,
}

impl PieceOf {
    /// Whether some of its message is on its way.
    pub(crate) fn is_begun(&self) -> bool {
        self.at > 0
    }

    fn step(&self) -> Piece {
        match self.at {
            0 => Piece::First,
            at if at + 1 == self.count => Piece::Last,
            _ => Piece::More,
        }
    }
}

/// Adds a reply in pieces.
pub(crate) fn push(
    vm: &Vm,
    conn: ConnId,
    (client, size): (usize, usize),
    to: &mut VecDeque<Request>,
) {
    let id = {
        let mut book = vm.book.open();
        book.streams += 1;
        book.streams
    };
    let count = 2 + draw(3) as usize;
    to.extend((0..count).map(|at| {
        Request::Piece(PieceOf {
            conn,
            client,
            size,
            id,
            at,
            count,
        })
    }));
}

impl Vm {
    /// Sends a piece, or says that it has to wait.
    pub(crate) fn put_piece(&self, piece: &PieceOf, out: &mut Frames) -> Result<(), SendError> {
        let &PieceOf {
            conn,
            client,
            size,
            id,
            at,
            count,
        } = piece;
        let (accepted, open) = self
            .book
            .of(client, |a| (a.accepted, a.streaming))
            .unwrap_or_default();
        let number = match open {
            _ if at == 0 => accepted,
            Some((of, number)) if of == id => number,
            // It has failed.
            _ => return Ok(()),
        };
        let mut text = format!("{client} {number} ").into_bytes();
        text.resize(size.max(text.len()), b'r');
        let part = &text[at * text.len() / count..(at + 1) * text.len() / count];
        let undo = match self.engine.stream(conn, id, Kind::Text, piece.step(), part) {
            Ok(undo) => undo,
            // That of another process.
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
        self.book.of(client, |a| {
            a.largest = a.largest.max(len);
            a.accepted += u64::from(at == 0);
            a.streaming = (!is_last).then_some((id, number));
        });
        Ok(())
    }

    /// The connection takes no more: what is there of the message is none.
    fn fail_piece(&self, piece: &PieceOf) -> Result<(), SendError> {
        self.book.of(piece.client, |a| {
            if let Some((id, number)) = a.streaming
                && id == piece.id
            {
                a.refused.insert(number);
                a.cut_off.get_or_insert(number);
                a.streaming = None;
            }
        });
        Ok(())
    }
}
