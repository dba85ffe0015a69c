//! Operations and controls that other threads send to a shard.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use crate::model::active::{Active, SetActive};
use crate::model::backlog::{Done, Signal};
use crate::model::id::ConnId;
use crate::model::pieces::{Piece, Undo};
use crate::net::peer::PeerInfo;
use crate::server::Server;
use crate::server::broadcast::Broadcast;
use crate::server::topics::{Audience, Fanout, Topic};
use crate::settings::options::ConnOptions;
use crate::shard::Shard;
use crate::vm::inbox::Inbox;

/// Encoded frames for connections of one shard: one buffer, and who gets which part.
///
/// Built by the caller of [`crate::Engine::send`]; the bytes of each part were counted with
/// [`crate::Engine::reserve`] before.
#[derive(Debug, Default)]
pub struct Frames {
    /// The bytes of all frames.
    pub bytes: Vec<u8>,
    /// In the order in which they are to be carried out.
    pub commands: Vec<(ConnId, Command)>,
}

/// One thing to do for a connection.
#[derive(Debug)]
pub enum Command {
    /// Write these bytes: so many whole frames.
    Write(Range<u32>, u32),
    /// The same, and compress none of them.
    Plain(Range<u32>, u32),
    /// Write these bytes: one piece of a message, as [`crate::Engine::stream`] allowed it.
    Stream(Range<u32>, Piece, Undo),
    /// Start the close handshake.
    Close(u16, Box<str>),
    /// Close without waiting for the peer: it, or its handler, broke the rules.
    Fail(u16, Box<str>),
    /// The same, when the receiver has answered what came before.
    CloseAfterAnswers(u16, Box<str>),
    /// The receiver has answered what the peer said before it ended.
    Answered,
    /// Change the credits.
    Active(SetActive),
    /// Change other settings.
    Options(Box<ConnOptions>),
}

impl Frames {
    /// Adds a frame; one that follows directly on the last is merged with it.
    pub fn write(&mut self, conn: ConnId, range: Range<u32>) {
        if let Some((last, Command::Write(open, frames))) = self.commands.last_mut()
            && *last == conn
            && open.end == range.start
        {
            open.end = range.end;
            *frames += 1;
            return;
        }
        self.commands.push((conn, Command::Write(range, 1)));
    }

    /// Adds a frame that is not to be compressed.
    pub fn write_plain(&mut self, conn: ConnId, range: Range<u32>) {
        self.commands.push((conn, Command::Plain(range, 1)));
    }
}

/// Receives what is known of a connection; nothing if it is gone.
pub type StatsReply = Box<dyn FnOnce(Option<ConnStats>) + Send>;

/// Receives the connections of a server on one shard.
pub type ConnectionsReply = Box<dyn FnOnce(&[ConnId]) + Send>;

/// Work that grows with the traffic. `backlog` bounds it.
pub(crate) enum Op {
    Frames(Frames),
    Fanout {
        server: Arc<Server>,
        frame: Broadcast,
        to: Fanout,
    },
    Subscribe(ConnId, Arc<Topic>),
    Unsubscribe(ConnId, Arc<Topic>),
    Owner {
        conn: ConnId,
        inbox: Arc<Inbox>,
        done: Done,
    },
    Info {
        conn: ConnId,
        reply: StatsReply,
    },
    /// All before it has been carried out.
    Signal(Signal),
}

/// Done once, on the shard's thread.
pub(crate) type Job = Box<dyn FnOnce(&Rc<Shard>) + Send>;

/// Rare work that must not get lost: at most one at a time for each server, inbox or connection.
pub(crate) enum Control {
    /// Something to do on the shard's thread, of which the shard knows nothing: to listen, to serve an
    /// accepted socket, to connect a client.
    Run(Job),
    /// There is room in the inbox again.
    Resume(u64),
    InboxDied(Arc<Inbox>),
    /// A handler process of the server is ready.
    Worker(Arc<Server>),
    Attach {
        conn: ConnId,
        inbox: Arc<Inbox>,
    },
    StopServer {
        server: Arc<Server>,
        code: u16,
        reason: Box<str>,
    },
    Connections {
        server: Arc<Server>,
        audience: Audience,
        reply: ConnectionsReply,
    },
    Shutdown,
}

/// What a shard knows of one connection.
#[derive(Clone, Debug)]
pub struct ConnStats {
    /// Both ends, and the way between them.
    pub peer_info: PeerInfo,
    /// Path of the request.
    pub path: Box<str>,
    /// Query of the request, without the question mark.
    pub query: Box<str>,
    /// The subprotocol that was agreed on.
    pub subprotocol: Option<Box<str>>,
    /// Milliseconds since the handshake.
    pub age: u64,
    /// Bytes queued and not yet taken by the operating system.
    pub queue: usize,
    /// Bytes that arrived and wait for a credit or for room in the inbox.
    pub held: usize,
    /// Frames received.
    pub frames_in: u64,
    /// The credits.
    pub active: Active,
    /// Whether messages may be compressed.
    pub deflate: bool,
    /// What an operator knows it by; may be empty.
    pub user_data: Box<str>,
    /// Headers of its request, `name: value` on a line each, without secrets, where they are kept.
    pub headers: Box<str>,
    /// Its topics and patterns.
    pub topics: Vec<Vec<u8>>,
}

/// Receives a page of [`crate::Engine::rows`], and where the next one begins, if there is one.
pub type RowsReply = Box<dyn FnOnce(&[u8], Option<u32>) + Send>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_stand_together_are_one_command() {
        let [a, b] = [1, 2].map(|slot| ConnId::new(0, slot, 1));
        let mut frames = Frames::default();
        // The last one of `a` does not follow directly.
        for (conn, range) in [
            (a, 0..2),
            (a, 2..5),
            (a, 5..6),
            (b, 6..7),
            (b, 7..9),
            (a, 9..10),
            (a, 11..12),
        ] {
            frames.write(conn, range);
        }
        frames.write_plain(a, 12..13);
        frames.write(a, 13..14);
        let written: Vec<_> = frames
            .commands
            .iter()
            .map(|(conn, command)| match command {
                Command::Write(range, count) => (*conn, range.clone(), *count),
                Command::Plain(range, count) => (*conn, range.clone(), *count + 100),
                other => unreachable!("{other:?}"),
            })
            .collect();
        let expected = [
            (a, 0..6, 3),
            (b, 6..9, 2),
            (a, 9..10, 1),
            (a, 11..12, 1),
            (a, 12..13, 101),
            (a, 13..14, 1),
        ];
        assert_eq!(written, expected);
    }
}
