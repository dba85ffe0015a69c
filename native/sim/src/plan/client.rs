//! Clients with a WebSocket: the script of each, and how it reads.

use std::time::Duration;

use sockeye_world::Chance;

use super::network::SMALL;
use super::random::{between, millis};
use super::server::ServerPlan;

/// A client.
#[derive(Clone, Debug)]
pub struct ClientPlan {
    /// Its number in the whole plan, from which others may have been left out.
    pub number: usize,
    /// Its WebSocket is a stream of this connection of HTTP/2.
    pub http2_conn: Option<usize>,
    /// It connects to the proxy.
    pub via_proxy: bool,
    pub start: Duration,
    pub script: Vec<Action>,
    pub reads: ReadPace,
    /// It offers compression.
    pub deflate: bool,
    /// Its messages compress badly.
    pub incompressible: bool,
    /// They are JSON.
    pub json: bool,
    pub answers_close: bool,
    pub answers_pings: bool,
}

/// A step of a script.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    /// A message of `size` bytes in so many frames, which asks for so many replies of `reply` bytes.
    Send {
        size: usize,
        frames: usize,
        replies: usize,
        reply: usize,
    },
    Ping,
    Pause(Duration),
    /// Waits for all replies.
    AwaitReplies,
    Close(u16),
    /// Closes the socket for writing, without a Close frame.
    Fin,
    /// Closes the socket.
    Drop,
    Reset,
    /// Sends what breaks the protocol.
    Invalid(u8),
    /// Does nothing any more, and keeps its socket open.
    Vanish,
}

/// How somebody reads from its socket.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum ReadPace {
    #[default]
    Always,
    /// With a pause before some reads.
    Slowly(Duration),
    /// So many bytes, and then no more.
    Until(usize),
}

fn size(chance: &mut Chance, window: usize) -> usize {
    let sizes = [
        0, 1, 20, 125, 126, 300, 2000, 17_000, 65_535, 65_536, 100_000,
    ];
    let most = if chance.is(1, 8) && window >= SMALL {
        sizes.len()
    } else {
        7
    };
    chance.pick(&sizes[..most])
}

pub(super) fn draw(
    chance: &mut Chance,
    fair: bool,
    number: usize,
    server: &ServerPlan,
    window: usize,
) -> ClientPlan {
    let good = fair || chance.is(1, 3);
    let mut script = Vec::new();
    for _ in 0..between(chance, 0, 12) {
        script.push(match chance.below(10) {
            0 => Action::Ping,
            1 | 2 => {
                let most = if chance.is(1, 10) { 40_000 } else { 300 };
                Action::Pause(millis(chance, 0, most))
            }
            3 => Action::AwaitReplies,
            4 if !good => invalid(chance, server),
            _ => {
                let size = size(chance, window);
                let replies = if chance.is(1, 8) { 40 } else { 2 };
                Action::Send {
                    size,
                    frames: if chance.is(1, 4) {
                        between(chance, 2, 5) as usize
                    } else {
                        1
                    },
                    replies: between(chance, 0, replies) as usize,
                    reply: self::size(chance, window),
                }
            }
        });
    }
    if good {
        if chance.is(1, 2) {
            script.push(Action::AwaitReplies);
        }
        script.push(match chance.is(1, 4) {
            true => Action::Fin,
            false => Action::Close(chance.pick(&[1000, 4001, 4999])),
        });
    } else if chance.is(1, 2) {
        let code = chance.pick(&[1000, 4001, 4999]);
        script.push(chance.pick(&[
            Action::Close(code),
            Action::Fin,
            Action::Drop,
            Action::Reset,
            Action::Vanish,
        ]));
    }
    ClientPlan {
        number,
        http2_conn: None,
        via_proxy: false,
        start: millis(chance, 0, 3000),
        script,
        reads: match chance.below(if good { 4 } else { 6 }) {
            0 => ReadPace::Slowly(millis(chance, 1, 30)),
            4 => ReadPace::Slowly(millis(chance, 1, 3000)),
            5 => ReadPace::Until(chance.pick(&[0, 200, 5000, 100_000])),
            _ => ReadPace::Always,
        },
        deflate: false,
        incompressible: false,
        json: false,
        answers_close: good || chance.is(2, 3),
        answers_pings: good || chance.is(2, 3),
    }
}

fn invalid(chance: &mut Chance, server: &ServerPlan) -> Action {
    match chance.below(3) {
        0 => Action::Invalid(chance.below(6) as u8),
        1 => Action::Send {
            size: server.max_message + 1,
            frames: 1,
            replies: 0,
            reply: 0,
        },
        _ => chance.pick(&[Action::Drop, Action::Reset, Action::Vanish, Action::Fin]),
    }
}
