//! An answer that a process of the VM gives in pieces, on its way to the client: so many bytes wait for the client, and who gives more
//! waits, too.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hyper::body::Bytes;
use sockeye_protocol::handshake::Refusal;

use crate::model::lock::lock;
use crate::world::collections::HashMap;
use crate::world::sync::Mutex;

/// Bytes of one answer that may wait for its client before the next piece has to.
const ROOM: usize = 64 * 1024;

/// Told, on a shard's thread, that there is room again; or that there is no client any more, with `false`.
pub type Tell = Box<dyn FnOnce(bool) + Send>;

/// What became of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceOutcome {
    /// It is on its way, and there is room for the next.
    Taken,
    /// It is on its way. Who gave it is told when there is room for the next.
    Waits,
    /// Nobody reads it.
    Closed,
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// It is complete.
    Complete,
    /// The client must not take it for complete.
    Broken,
}

#[derive(Default)]
struct Pipe {
    waiting: Vec<u8>,
    end: Option<StreamEnd>,
    /// The client has gone, or has had all of it.
    is_closed: bool,
    reader: Option<Waker>,
    tell: Option<Tell>,
}

/// The side of the process.
#[derive(Clone, Default)]
pub(crate) struct StreamSource(Arc<Mutex<Pipe>>);

impl StreamSource {
    /// Gives a piece. `tell` makes what is told when it has to wait. Only one may wait: it is for one process.
    pub(crate) fn give(&self, piece: &[u8], tell: impl FnOnce() -> Tell) -> PieceOutcome {
        let mut pipe = lock(&self.0);
        if pipe.is_closed || pipe.end.is_some() || pipe.tell.is_some() {
            return PieceOutcome::Closed;
        }
        pipe.waiting.extend_from_slice(piece);
        let given = if pipe.waiting.len() > ROOM {
            pipe.tell = Some(tell());
            PieceOutcome::Waits
        } else {
            PieceOutcome::Taken
        };
        let reader = pipe.reader.take();
        drop(pipe);
        reader.into_iter().for_each(Waker::wake);
        given
    }

    /// Nothing more comes.
    pub(crate) fn end(&self, end: StreamEnd) {
        let mut pipe = lock(&self.0);
        pipe.end.get_or_insert(end);
        let reader = pipe.reader.take();
        drop(pipe);
        reader.into_iter().for_each(Waker::wake);
    }
}

/// The side of the client.
pub(crate) struct StreamBody {
    source: StreamSource,
    /// Done when the client goes before the end.
    gone: Option<Box<dyn FnOnce() + Send>>,
}

impl StreamBody {
    /// All that waits, as soon as there is some.
    pub(crate) fn poll_piece(&mut self, cx: &Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let mut pipe = lock(&self.source.0);
        if !pipe.waiting.is_empty() {
            let piece = std::mem::take(&mut pipe.waiting);
            let tell = pipe.tell.take();
            drop(pipe);
            tell.into_iter().for_each(|tell| tell(true));
            return Poll::Ready(Some(Ok(piece.into())));
        }
        match pipe.end {
            Some(StreamEnd::Complete) => Poll::Ready(None),
            Some(StreamEnd::Broken) => {
                Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())))
            }
            None => {
                pipe.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Nobody has to hear that the client has gone.
    pub(crate) fn forget(&mut self) {
        self.gone = None;
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        let mut pipe = lock(&self.source.0);
        pipe.is_closed = true;
        pipe.waiting = Vec::new();
        pipe.reader = None;
        let (tell, has_ended) = (pipe.tell.take(), pipe.end.is_some());
        drop(pipe);
        tell.into_iter().for_each(|tell| tell(false));
        let gone = self.gone.take().filter(|_| !has_ended);
        gone.into_iter().for_each(|gone| gone());
    }
}

impl std::fmt::Debug for StreamBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StreamBody")
    }
}

/// The head of an answer in pieces, and what brings them.
#[derive(Debug)]
pub struct StreamAnswer {
    pub(crate) head: Refusal,
    pub(crate) body: StreamBody,
}

/// The answers of a server that are given in pieces, each by the token of its question.
#[derive(Default)]
pub(crate) struct Streams(Mutex<HashMap<u64, StreamSource>>);

impl Streams {
    /// An answer with this head. None if there are so many already.
    pub(crate) fn open(
        &self,
        token: u64,
        head: Refusal,
        most: usize,
        gone: impl FnOnce() + Send + 'static,
    ) -> Option<StreamAnswer> {
        let source = StreamSource::default();
        let mut all = lock(&self.0);
        if all.len() >= most {
            return None;
        }
        all.insert(token, source.clone());
        drop(all);
        let gone = Some(Box::new(gone) as Box<dyn FnOnce() + Send>);
        let body = StreamBody { source, gone };
        Some(StreamAnswer { head, body })
    }

    /// That of this token, until it has ended.
    pub(crate) fn find(&self, token: u64) -> Option<StreamSource> {
        lock(&self.0).get(&token).cloned()
    }

    /// Ends that of this token.
    pub(crate) fn end(&self, token: u64, end: StreamEnd) {
        let ended = lock(&self.0).remove(&token);
        ended.into_iter().for_each(|source| source.end(end));
    }

    /// Breaks off all of them.
    pub(crate) fn break_all(&self) {
        let all = std::mem::take(&mut *lock(&self.0));
        all.into_values()
            .for_each(|source| source.end(StreamEnd::Broken));
    }

    /// The most bytes of one that wait for its client.
    #[cfg(sim)]
    pub(crate) fn waiting(&self) -> usize {
        let all = lock(&self.0);
        let waiting = all.values().map(|source| lock(&source.0).waiting.len());
        waiting.max().unwrap_or_default()
    }

    /// How many there are.
    #[cfg(any(sim, loom))]
    pub(crate) fn len(&self) -> usize {
        lock(&self.0).len()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// Answers, one of them open under token 1, and what is heard of its client.
    fn opened() -> (Streams, StreamSource, StreamBody, Receiver<()>) {
        let streams = Streams::default();
        let (gone, heard) = channel();
        let answer = streams.open(1, Refusal::new(200, ""), 1, move || {
            let _ = gone.send(());
        });
        let source = streams.find(1).unwrap();
        (streams, source, answer.unwrap().body, heard)
    }

    fn read(body: &mut StreamBody) -> Poll<Option<io::Result<Bytes>>> {
        body.poll_piece(&Context::from_waker(Waker::noop()))
    }

    fn none() -> Tell {
        Box::new(|_| panic!("nobody waits"))
    }

    fn told() -> (impl FnOnce() -> Tell, Receiver<bool>) {
        let (tell, told) = channel();
        let tell = move || -> Tell {
            Box::new(move |room| {
                let _ = tell.send(room);
            })
        };
        (tell, told)
    }

    #[test]
    fn so_many_bytes_wait_and_then_who_gives_them() {
        for (first, second, found) in [
            (ROOM - 1, 0, PieceOutcome::Taken),
            (ROOM, 0, PieceOutcome::Taken),
            (ROOM + 1, 0, PieceOutcome::Waits),
            (ROOM - 1, 1, PieceOutcome::Taken),
            (ROOM, 1, PieceOutcome::Waits),
        ] {
            let (_streams, source, mut body, _heard) = opened();
            if second > 0 {
                assert_eq!(source.give(&vec![1; first], none), PieceOutcome::Taken);
            }
            let piece = vec![2; if second > 0 { second } else { first }];
            let (tell, told) = told();
            assert_eq!(source.give(&piece, tell), found, "{first} {second}");
            assert!(told.try_recv().is_err(), "nothing has been read");
            let all = first + second;
            assert!(matches!(read(&mut body), Poll::Ready(Some(Ok(read))) if read.len() == all));
            assert_eq!(
                told.try_recv().ok(),
                (found == PieceOutcome::Waits).then_some(true)
            );
            assert_eq!(
                source.give(b"x", none),
                PieceOutcome::Taken,
                "there is room again"
            );
        }
    }

    #[test]
    fn no_piece_is_given_while_one_waits() {
        let (_streams, source, _body, _heard) = opened();
        let (tell, _told) = told();
        assert_eq!(source.give(&[0; ROOM + 1], tell), PieceOutcome::Waits);
        assert_eq!(source.give(b"x", none), PieceOutcome::Closed);
    }

    #[test]
    fn it_ends_behind_what_was_given() {
        for end in [StreamEnd::Complete, StreamEnd::Broken] {
            let (streams, source, mut body, heard) = opened();
            assert!(read(&mut body).is_pending());
            source.give(b"last", none);
            streams.end(1, end);
            assert!(streams.find(1).is_none());
            assert_eq!(source.give(b"more", none), PieceOutcome::Closed);
            assert!(matches!(read(&mut body), Poll::Ready(Some(Ok(piece))) if piece == "last"));
            let Poll::Ready(ended) = read(&mut body) else {
                panic!("{end:?}");
            };
            assert_eq!(
                ended.is_some_and(|piece| piece.is_err()),
                end == StreamEnd::Broken
            );
            drop(body);
            assert!(heard.try_recv().is_err(), "it had its end");
        }
    }

    #[test]
    fn a_client_that_goes_is_heard_of() {
        let (_streams, source, body, heard) = opened();
        let (tell, told) = told();
        assert_eq!(source.give(&[0; ROOM + 1], tell), PieceOutcome::Waits);
        drop(body);
        assert_eq!(told.try_recv(), Ok(false));
        assert!(heard.try_recv().is_ok());
        assert_eq!(source.give(b"", none), PieceOutcome::Closed);
    }

    #[test]
    fn so_many_and_no_more() {
        let streams = Streams::default();
        let open = |token| streams.open(token, Refusal::new(200, ""), 2, || {});
        let (first, second) = (open(1), open(2));
        assert!(first.is_some() && second.is_some() && open(3).is_none());
        streams.end(1, StreamEnd::Complete);
        let third = open(3);
        assert!(third.is_some() && open(4).is_none());
        streams.break_all();
        let mut body = second.unwrap().body;
        assert!(matches!(read(&mut body), Poll::Ready(Some(Err(_)))));
        assert!(streams.find(3).is_none());
    }

    #[test]
    fn a_new_piece_wakes_the_reader() {
        struct Count(std::sync::atomic::AtomicUsize);
        impl std::task::Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        }
        let count = Arc::new(Count(Default::default()));
        let waker = Waker::from(count.clone());
        let (streams, source, mut body, _heard) = opened();
        let mut poll = || body.poll_piece(&Context::from_waker(&waker)).is_pending();
        assert!(poll());
        source.give(b"x", none);
        source.give(b"y", none);
        assert_eq!(count.0.load(std::sync::atomic::Ordering::SeqCst), 1);
        assert!(!poll() && poll());
        streams.end(1, StreamEnd::Complete);
        assert_eq!(count.0.load(std::sync::atomic::Ordering::SeqCst), 2);
        assert!(!poll());
    }
}
