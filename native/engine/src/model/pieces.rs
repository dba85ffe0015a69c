//! Messages that are sent in pieces, as they are produced.
//!
//! What may come next is decided where the piece is encoded, so that the caller hears of it; the
//! shard only keeps other messages out of an open one. A connection that does not stream has no
//! entry here.

use sockeye_protocol::Kind;
use sockeye_protocol::utf8::Utf8;

use crate::model::id::ConnId;
use crate::model::lock::lock;
use crate::world::collections::HashMap;
use crate::world::sync::atomic::{AtomicUsize, Ordering};
use crate::world::sync::{Mutex, MutexGuard};

/// Which piece of a message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// It begins the message.
    First,
    /// It goes on.
    More,
    /// It ends the message.
    Last,
}

/// Why a piece was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamError {
    /// The connection takes nothing more.
    Closed,
    /// A message is open already.
    Streaming,
    /// No message of this kind and process is open.
    NotStreaming,
    /// The text is not UTF-8, or ends inside a character.
    NotUtf8,
}

/// A message whose last piece has not come.
#[derive(Clone, Copy, Debug)]
pub struct OpenMessage {
    kind: Kind,
    utf8: Utf8,
}

impl OpenMessage {
    /// Takes a piece: what is open behind it, or why it may not come.
    ///
    /// # Errors
    /// See [`StreamError`].
    pub fn advance(
        before: Option<Self>,
        kind: Kind,
        piece: Piece,
        payload: &[u8],
    ) -> Result<Option<Self>, StreamError> {
        let mut open = match (before, piece) {
            (None, Piece::First) => OpenMessage {
                kind,
                utf8: Utf8::default(),
            },
            (Some(_), Piece::First) => return Err(StreamError::Streaming),
            (Some(open), _) if open.kind == kind => open,
            _ => return Err(StreamError::NotStreaming),
        };
        if kind == Kind::Text {
            let fed = open.utf8.feed(payload);
            fed.map_err(|_| StreamError::NotUtf8)?;
        }
        if piece != Piece::Last {
            return Ok(Some(open));
        }
        open.utf8.finish().map_err(|_| StreamError::NotUtf8)?;
        Ok(None)
    }
}

/// An open message, and the process that began it: only its pieces have an order.
type OwnedMessage = (u64, OpenMessage);

/// What takes a piece back that could not be handed over.
#[derive(Clone, Copy, Debug)]
pub struct Undo(Option<OwnedMessage>);

/// The open messages of a shard's connections.
#[derive(Default)]
pub(crate) struct OpenMessages {
    count: AtomicUsize,
    open: Mutex<HashMap<ConnId, OwnedMessage>>,
    /// Bytes of other messages that wait for the end of an open one.
    behind: Mutex<HashMap<ConnId, usize>>,
}

impl OpenMessages {
    fn lock(&self) -> MutexGuard<'_, HashMap<ConnId, OwnedMessage>> {
        lock(&self.open)
    }

    fn put(
        &self,
        all: &mut HashMap<ConnId, OwnedMessage>,
        conn: ConnId,
        open: Option<OwnedMessage>,
    ) {
        match open {
            Some(open) => all.insert(conn, open),
            None => all.remove(&conn),
        };
        self.count.store(all.len(), Ordering::SeqCst);
    }

    /// Notes a piece, or says why it may not come.
    pub(crate) fn advance(
        &self,
        conn: ConnId,
        owner: u64,
        kind: Kind,
        piece: Piece,
        payload: &[u8],
    ) -> Result<Undo, StreamError> {
        let mut all = self.lock();
        let before = all.get(&conn).copied();
        let own = match before {
            Some((other, _)) if other != owner && piece != Piece::First => {
                return Err(StreamError::NotStreaming);
            }
            before => before.map(|(_, open)| open),
        };
        let after = OpenMessage::advance(own, kind, piece, payload)?;
        self.put(&mut all, conn, after.map(|open| (owner, open)));
        Ok(Undo(before))
    }

    /// Takes the last piece back.
    pub(crate) fn undo(&self, conn: ConnId, Undo(before): Undo) {
        self.put(&mut self.lock(), conn, before);
    }

    /// So many more bytes wait for the end of the open message.
    pub(crate) fn add_behind(&self, conn: ConnId, len: usize) {
        *lock(&self.behind).entry(conn).or_default() += len;
    }

    /// Those bytes wait no more.
    pub(crate) fn free_behind(&self, conn: ConnId) {
        lock(&self.behind).remove(&conn);
    }

    /// Bytes that wait for the end of the open message: its own pieces need not wait for them.
    pub(crate) fn behind(&self, conn: ConnId) -> usize {
        lock(&self.behind).get(&conn).copied().unwrap_or_default()
    }

    /// How many connections have messages that wait for the end of another.
    #[cfg(any(sim, loom))]
    pub(crate) fn kept_behind(&self) -> usize {
        lock(&self.behind).len()
    }

    /// How many there are.
    #[cfg(any(sim, loom))]
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// The connection is gone.
    pub(crate) fn forget(&self, conn: ConnId) {
        // Who takes a piece back sees the end of the connection, or is seen here.
        if self.count.load(Ordering::SeqCst) > 0 {
            self.put(&mut self.lock(), conn, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: u64 = 1;
    const B: u64 = 2;

    fn id(slot: u32) -> ConnId {
        ConnId::new(0, slot, 1)
    }

    #[test]
    fn pieces_in_their_order() {
        let messages = OpenMessages::default();
        let piece = |piece| {
            messages
                .advance(id(1), A, Kind::Binary, piece, b"\xff")
                .err()
        };
        assert_eq!(piece(Piece::More), Some(StreamError::NotStreaming));
        assert_eq!(piece(Piece::Last), Some(StreamError::NotStreaming));
        for _ in 0..2 {
            assert_eq!(piece(Piece::First), None);
            assert_eq!(piece(Piece::First), Some(StreamError::Streaming));
            assert_eq!(piece(Piece::More), None);
            assert_eq!(piece(Piece::Last), None);
            assert_eq!(piece(Piece::More), Some(StreamError::NotStreaming));
        }
        assert!(messages.lock().is_empty());
    }

    #[test]
    fn a_message_belongs_to_its_process_kind_and_connection() {
        let messages = OpenMessages::default();
        let piece = |conn, owner, kind, piece| messages.advance(id(conn), owner, kind, piece, b"a");
        assert!(piece(1, A, Kind::Text, Piece::First).is_ok());
        for (conn, owner, kind) in [(2, A, Kind::Text), (1, B, Kind::Text), (1, A, Kind::Binary)] {
            let refused = piece(conn, owner, kind, Piece::More).err();
            assert_eq!(refused, Some(StreamError::NotStreaming));
        }
        let refused = piece(1, B, Kind::Text, Piece::First).err();
        assert_eq!(refused, Some(StreamError::Streaming));
        assert!(piece(2, B, Kind::Text, Piece::First).is_ok());
        messages.forget(id(1));
        assert!(piece(1, B, Kind::Text, Piece::First).is_ok());
    }

    #[test]
    fn a_character_may_be_cut_between_pieces_but_not_at_the_end() {
        let messages = OpenMessages::default();
        let piece =
            |piece, bytes: &[u8]| messages.advance(id(1), A, Kind::Text, piece, bytes).err();
        assert_eq!(piece(Piece::First, b"a\xe4"), None);
        assert_eq!(piece(Piece::More, b"\xb8"), None);
        assert_eq!(piece(Piece::Last, b""), Some(StreamError::NotUtf8));
        assert_eq!(piece(Piece::More, b"a"), Some(StreamError::NotUtf8));
        // What was refused has changed nothing.
        assert_eq!(piece(Piece::Last, b"\xadz"), None);
    }

    #[test]
    fn bytes_behind_a_message_in_pieces_are_counted() {
        let messages = OpenMessages::default();
        messages.add_behind(id(1), 10);
        messages.add_behind(id(1), 5);
        messages.add_behind(id(2), 7);
        assert_eq!([1, 2, 3].map(|n| messages.behind(id(n))), [15, 7, 0]);
        messages.free_behind(id(1));
        assert_eq!([1, 2].map(|n| messages.behind(id(n))), [0, 7]);
    }

    #[test]
    fn a_piece_can_be_taken_back() {
        let messages = OpenMessages::default();
        let piece = |piece, bytes: &[u8]| messages.advance(id(1), A, Kind::Text, piece, bytes);
        let undo = piece(Piece::First, b"\xe4").unwrap();
        messages.undo(id(1), undo);
        assert_eq!(
            piece(Piece::More, b"").err(),
            Some(StreamError::NotStreaming)
        );
        piece(Piece::First, b"\xe4").unwrap();
        let undo = piece(Piece::More, b"\xb8\xad").unwrap();
        messages.undo(id(1), undo);
        let undo = piece(Piece::Last, b"\xb8\xad").unwrap();
        messages.undo(id(1), undo);
        piece(Piece::Last, b"\xb8\xad").unwrap();
    }
}
