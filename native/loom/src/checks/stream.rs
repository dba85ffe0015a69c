//! Answers that the VM gives in pieces.

use std::future::poll_fn;
use std::sync::Arc;

use loom::sync::Notify;
use loom::thread;
use sockeye_protocol::handshake::Refusal;

use super::{Plain, PlainOrdering, server};
use crate::vm::question::Answer;
use crate::vm::stream::{PieceOutcome, StreamEnd, Streams, Tell};
use crate::world::sync::block_on;

const MUCH: &[u8] = &[7; 64 * 1024 + 1];

/// How often something was told, with true and with false.
#[derive(Clone, Default)]
struct Told(Arc<[Plain; 2]>, Arc<Notify>);

impl Told {
    fn tell(&self) -> Tell {
        let told = self.clone();
        Box::new(move |room| {
            told.0[usize::from(room)].fetch_add(1, PlainOrdering::SeqCst);
            told.1.notify();
        })
    }

    /// Waits until it was told.
    fn wait(&self) {
        while self.counts() == (0, 0) {
            self.1.wait();
        }
    }

    fn counts(&self) -> (usize, usize) {
        let [gone, room] = &*self.0;
        (
            room.load(PlainOrdering::SeqCst),
            gone.load(PlainOrdering::SeqCst),
        )
    }
}

/// A process gives more than there is room for, and goes on when it is told.
pub(super) fn all_pieces_are_read() {
    let streams = Arc::new(Streams::default());
    let answer = streams.open(1, Refusal::new(200, ""), 1, || panic!("the client stays"));
    let mut body = answer.unwrap().body;
    let theirs = streams.clone();
    let giver = thread::spawn(move || {
        let told = Told::default();
        let source = theirs.find(1).unwrap();
        for piece in [MUCH, b"x"] {
            match source.give(piece, || told.tell()) {
                PieceOutcome::Waits => told.wait(),
                given => assert_eq!(given, PieceOutcome::Taken),
            }
        }
        theirs.end(1, StreamEnd::Complete);
        told.counts()
    });
    let mut read = 0;
    while let Some(piece) = block_on(poll_fn(|cx| body.poll_piece(cx))) {
        read += piece.unwrap().len();
    }
    assert_eq!(read, MUCH.len() + 1);
    assert_eq!(giver.join().unwrap(), (1, 0), "told of room");
    assert_eq!(streams.len(), 0);
}

/// The client goes while a piece is given.
pub(super) fn the_writer_is_told_of_the_end_once() {
    let streams = Arc::new(Streams::default());
    let gone = Arc::new(Plain::new(0));
    let heard = gone.clone();
    let answer = streams.open(1, Refusal::new(200, ""), 1, move || {
        heard.fetch_add(1, PlainOrdering::SeqCst);
    });
    let body = answer.unwrap().body;
    let theirs = streams.clone();
    let giver = thread::spawn(move || {
        let told = Told::default();
        let given = theirs.find(1).unwrap().give(MUCH, || told.tell());
        if given == PieceOutcome::Waits {
            told.wait();
        }
        let ended = theirs.find(1).unwrap().give(b"x", || told.tell());
        assert_eq!(ended, PieceOutcome::Closed, "the client has gone");
        assert_eq!(
            told.counts(),
            (0, usize::from(given == PieceOutcome::Waits))
        );
    });
    drop(body);
    giver.join().unwrap();
    assert_eq!(gone.load(PlainOrdering::SeqCst), 1);
}

/// An answer begins while its gate dies: it has one end, and nobody waits for ever.
pub(super) fn a_forgotten_answer_is_broken_off() {
    let (server, _) = server();
    let (token, mut receiver) = server.questions.open().unwrap();
    let theirs = server.clone();
    let gate = thread::spawn(move || {
        let told = Told::default();
        let opened = theirs.open_stream(token, Refusal::new(200, ""));
        if theirs.give_piece(token, MUCH, || told.tell()) == PieceOutcome::Waits {
            told.wait();
        }
        theirs.end_stream(token, StreamEnd::Complete);
        opened
    });
    server.forget_questions();
    // The client's side: as long as somebody may answer.
    let mut answered = false;
    let mut done = false;
    while !done {
        match receiver.try_recv() {
            Ok(Answer::Stream(answer)) => {
                answered = true;
                let mut body = answer.body;
                while let Some(Ok(_)) = block_on(poll_fn(|cx| body.poll_piece(cx))) {}
                done = true;
            }
            Err(tokio::sync::oneshot::error::TryRecvError::Empty) => thread::yield_now(),
            _ => done = true,
        }
    }
    assert_eq!(gate.join().unwrap(), answered);
    assert_eq!(server.open_streams(), 0);
}
