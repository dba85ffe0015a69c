//! What a process wants done when it has handled an event.

use sockeye_simulated_engine::ConnId;
use sockeye_simulated_engine::active::SetActive;
use sockeye_simulated_engine::pieces::Piece;

/// Such a thing. A reply is that to a client, with a size.
pub(crate) enum Operation {
    Reply(ConnId, usize, usize),
    Close(ConnId, u16),
    Active(ConnId, SetActive),
    /// A piece of a reply, where the engine is a library.
    Piece(ReplyPiece),
    /// A reply in pieces, where the engine is a process.
    InPieces(ConnId, usize, usize),
}

/// One of the pieces of a reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReplyPiece {
    pub(crate) conn: ConnId,
    pub(crate) client: usize,
    /// Bytes of the whole reply.
    pub(crate) size: usize,
    /// The same for all pieces of a reply.
    pub(crate) id: u64,
    pub(crate) index: usize,
    pub(crate) count: usize,
}

impl ReplyPiece {
    /// Whether some of the reply has been sent.
    pub(crate) fn is_begun(&self) -> bool {
        self.index > 0
    }

    pub(crate) fn step(&self) -> Piece {
        match self.index {
            0 => Piece::First,
            index if index + 1 == self.count => Piece::Last,
            _ => Piece::More,
        }
    }
}
