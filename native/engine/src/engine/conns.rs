//! The calls about one connection, by its id: whether it is open, sending, closing.

use std::sync::Arc;

use crate::engine::Engine;
use crate::model::compression::{Compression, ConnLabel};
use crate::model::error::SendError;
use crate::model::id::ConnId;
use crate::model::pieces::{Piece, StreamError, Undo};
use crate::server::{MAX_SERVER, Server, bump};
use crate::shard::handle::Handle;
use crate::shard::op::{Command, Frames, Op, StatsReply};
use sockeye_protocol::Kind;

impl Engine {
    pub(super) fn shard_of(&self, conn: ConnId) -> Option<&Arc<Handle>> {
        self.shards.get(conn.shard())
    }

    pub(super) fn known(&self, conn: ConnId) -> Result<&Arc<Handle>, SendError> {
        let shard = self.shard_of(conn).ok_or(SendError::Closed)?;
        shard
            .slots
            .is_known(conn)
            .then_some(shard)
            .ok_or(SendError::Closed)
    }

    /// What is known of a connection by its id alone.
    pub fn label_of(&self, conn: ConnId) -> Option<ConnLabel> {
        let label = self.shard_of(conn)?.slots.server(conn)?;
        Some(ConnLabel {
            server: label & MAX_SERVER,
            tag: (label >> 24) as u8 & 0x0f,
            compression: Compression::from_bits((label >> 28) as u8),
        })
    }

    /// The server of a connection, as long as that is known.
    pub fn server_of(&self, conn: ConnId) -> Option<Arc<Server>> {
        let server = self.server(self.label_of(conn)?.server)?;
        // When the connection has ended meanwhile, its server may have, and another have that number.
        self.is_known(conn).then_some(server)
    }

    /// Whether frames may be sent to a connection.
    pub fn is_open(&self, conn: ConnId) -> bool {
        self.shard_of(conn)
            .is_some_and(|shard| shard.slots.is_open(conn))
    }

    /// Counts bytes that a following [`Engine::send`] brings, or says why not.
    pub fn reserve(&self, conn: ConnId, len: usize) -> Result<(), SendError> {
        let shard = self.shard_of(conn).ok_or(SendError::Closed)?;
        let reserved = shard.slots.reserve(conn, len);
        if reserved == Err(SendError::Busy) {
            self.note_busy(conn);
        }
        reserved
    }

    /// The same for a piece of a message: what waits for the end of that does not count.
    pub fn reserve_piece(&self, conn: ConnId, piece: Piece, len: usize) -> Result<(), SendError> {
        self.reserve_pieces(conn, piece, len, 0)
    }

    /// The same for pieces, of which this is the first one, and other frames that go with them. Those have the bound that
    /// all others have: what waits for the end of a message would grow with each of its pieces.
    pub fn reserve_pieces(
        &self,
        conn: ConnId,
        first: Piece,
        pieces: usize,
        others: usize,
    ) -> Result<(), SendError> {
        if first == Piece::First {
            return self.reserve(conn, pieces + others);
        }
        let shard = self.shard_of(conn).ok_or(SendError::Closed)?;
        // These wait for the pieces, too.
        let behind = shard.open_messages.behind(conn) + others;
        if others > 0 {
            self.reserve(conn, others)?;
        }
        let reserved = shard.slots.reserve_beside(conn, pieces, behind);
        if reserved.is_err() && others > 0 {
            self.unreserve(conn, others);
        }
        if reserved == Err(SendError::Busy) {
            self.note_busy(conn);
        }
        reserved
    }

    #[cold]
    fn note_busy(&self, conn: ConnId) {
        let server = self
            .label_of(conn)
            .and_then(|label| self.server(label.server));
        if let Some(server) = server {
            bump(&server.counters.busy, 1);
        }
    }

    /// Counts bytes that a following [`Engine::send`] brings, whatever the bound says: they were taken before.
    pub fn charge(&self, conn: ConnId, len: usize) {
        if let Some(shard) = self.shard_of(conn) {
            shard.slots.charge(conn, len);
        }
    }

    /// The bound of what may wait for a connection, if that is far away; else 0.
    pub fn ample(&self, conn: ConnId) -> usize {
        self.shard_of(conn)
            .map_or(0, |shard| shard.slots.ample(conn))
    }

    /// Takes back what [`Engine::reserve`] counted.
    pub fn unreserve(&self, conn: ConnId, len: usize) {
        if let Some(shard) = self.shard_of(conn) {
            shard.slots.release(conn, len);
        }
    }

    /// Notes a piece of a message for a following [`Engine::send`] with
    /// [`crate::shard::op::Command::Stream`], or says why it may not come. `owner` names the caller's
    /// process: its pieces alone have an order.
    pub fn stream(
        &self,
        conn: ConnId,
        owner: u64,
        kind: Kind,
        piece: Piece,
        payload: &[u8],
    ) -> Result<Undo, StreamError> {
        match self.shard_of(conn) {
            // What is there of a message when its connection closes stays open: that says nothing to others.
            Some(shard) if shard.slots.is_open(conn) => shard
                .open_messages
                .advance(conn, owner, kind, piece, payload),
            _ => Err(StreamError::Closed),
        }
    }

    /// Takes back what [`Engine::stream`] noted last.
    pub fn unstream(&self, conn: ConnId, undo: Undo) {
        if let Some(shard) = self.shard_of(conn) {
            shard.open_messages.undo(conn, undo);
            // The connection may have ended meanwhile, and with it what was noted.
            if !shard.slots.is_known(conn) {
                shard.open_messages.forget(conn);
            }
        }
    }

    /// Notes that a close is on its way: sends that follow are refused. False if it was so.
    pub fn set_closing(&self, conn: ConnId) -> bool {
        self.shard_of(conn)
            .is_some_and(|shard| shard.slots.set_closing(conn))
    }

    /// Whether the last event of a connection is still to come.
    pub fn is_known(&self, conn: ConnId) -> bool {
        self.known(conn).is_ok()
    }

    /// Hands frames to a shard. All parts must belong to it, and their bytes be reserved. See
    /// [`Engine::backlogged`]. With the shard, its connections have ended, and nobody misses what is for them.
    pub fn send(&self, shard: usize, frames: Frames) {
        if let Some(shard) = self.shards.get(shard) {
            let _ = shard.submit(Op::Frames(frames));
        }
    }

    /// Ends a connection for what it sent, behind the frames that are on their way to it. What it
    /// sent after that is not delivered.
    pub fn fail(&self, conn: ConnId, code: u16, reason: &str) {
        self.end_with(conn, Command::Fail(code, reason.into()));
    }

    /// The same, when its receiver has answered what it sent before: it gets [`crate::vm::batch::Event::Ending`].
    pub fn close_after_answers(&self, conn: ConnId, code: u16, reason: &str) {
        self.end_with(conn, Command::CloseAfterAnswers(code, reason.into()));
    }

    /// The receiver of a connection has come upon its close event, or [`crate::vm::batch::Event::Ending`]: what it sends from now
    /// on is no answer any more. The close frame goes out behind the frames that are on their way.
    pub fn answered(&self, conn: ConnId) {
        self.set_closing(conn);
        self.end_with(conn, Command::Answered);
    }

    fn end_with(&self, conn: ConnId, part: Command) {
        let mut frames = Frames::default();
        frames.commands.push((conn, part));
        self.send(conn.shard(), frames);
    }

    /// Asks for what is known of a connection. The answer comes on the shard's thread.
    pub fn conn_stats(&self, conn: ConnId, reply: StatsReply) -> Result<(), SendError> {
        let shard = self.known(conn)?;
        shard
            .submit(Op::Info { conn, reply })
            .map_err(|_| SendError::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::config::EngineConfig;

    #[test]
    fn a_piece_that_is_taken_back_too_late_leaves_nothing() {
        let engine = Engine::start(EngineConfig::new(1)).unwrap();
        let conn = ConnId::new(0, 7, 1);
        assert!(!engine.is_known(conn), "it has ended");
        let messages = &engine.shard(0).unwrap().open_messages;
        let next = |step| messages.advance(conn, 1, Kind::Binary, step, b"");
        next(Piece::First).unwrap();
        let undo = next(Piece::More).unwrap();
        messages.forget(conn);
        engine.unstream(conn, undo);
        assert_eq!(next(Piece::More).err(), Some(StreamError::NotStreaming));
        assert_eq!(engine.stop().stuck, 0);
    }
}
