//! The write queue of one connection.
//!
//! Parts point into the buffers they were encoded in; nothing is copied unless the socket is
//! full, and one write takes them all.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::Waker;

use crate::net::transport::Transport;

/// Parts that one system call writes.
const SLICES: usize = 64;

/// Where so many parts wait already, small ones are copied together up to this size: a queue
/// that is bounded in bytes must not become many times as large by the number of its parts.
const CHUNK: usize = 4096;

/// A part of a shared buffer.
#[derive(Debug)]
pub(crate) struct Segment {
    buffer: Arc<Vec<u8>>,
    start: u32,
    end: u32,
}

impl Segment {
    pub(crate) fn new(buffer: Arc<Vec<u8>>, start: u32, end: u32) -> Self {
        Segment { buffer, start, end }
    }

    pub(crate) fn copy_of(bytes: &[u8]) -> Self {
        let len = bytes.len() as u32;
        Segment::new(Arc::new(bytes.to_vec()), 0, len)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer
            .get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }

    pub(crate) fn whole(&self) -> Segment {
        Segment::new(self.buffer.clone(), self.start, self.end)
    }

    /// The first bytes, so many, and the rest.
    pub(crate) fn split(self, len: usize) -> (Segment, Segment) {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        let middle = self.start.saturating_add(len).min(self.end);
        let first = Segment::new(self.buffer.clone(), self.start, middle);
        (first, Segment::new(self.buffer, middle, self.end))
    }

    /// Takes in the bytes of another part. The buffer is then this part's alone.
    fn absorb(&mut self, other: &Segment) {
        match Arc::get_mut(&mut self.buffer) {
            Some(own) if own.len() == self.end as usize => own.extend_from_slice(other.bytes()),
            _ => {
                let mut own = Vec::with_capacity(CHUNK);
                own.extend_from_slice(self.bytes());
                own.extend_from_slice(other.bytes());
                let end = own.len() as u32;
                let buffer = Arc::new(own);
                *self = Segment::new(buffer, 0, end);
                return;
            }
        }
        self.end += other.len() as u32;
    }

    fn len(&self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// A part that waits must not keep alive a much larger buffer that others have left.
    fn wastes(&self) -> bool {
        self.len() * 2 < self.buffer.capacity()
    }

    fn without_others(self) -> Self {
        if self.wastes() {
            Segment::copy_of(self.bytes())
        } else {
            self
        }
    }
}

/// The queue. Empty, it is two null pointers.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    first: Option<Segment>,
    // Boxed: most connections have none, and pay 8 bytes for it instead of 32.
    #[allow(clippy::box_collection)]
    rest: Option<Box<VecDeque<Segment>>>,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn push(&mut self, part: Segment) {
        self.put(part, |part| part);
    }

    /// The same where the socket takes no more: nothing looks at the part before it does.
    pub(crate) fn push_waiting(&mut self, part: Segment) {
        self.put(part, Segment::without_others);
    }

    fn put(&mut self, part: Segment, kept: impl FnOnce(Segment) -> Segment) {
        if part.len() == 0 {
            return;
        }
        let last = match &mut self.rest {
            Some(rest) if rest.len() >= SLICES => match rest.back_mut() {
                Some(last) if last.len() + part.len() <= CHUNK => return last.absorb(&part),
                last => last,
            },
            Some(rest) if !rest.is_empty() => rest.back_mut(),
            _ => self.first.as_mut(),
        };
        let part = kept(part);
        match last {
            Some(last) if last.end == part.start && Arc::ptr_eq(&last.buffer, &part.buffer) => {
                last.end = part.end;
            }
            Some(_) => self.rest.get_or_insert_default().push_back(part),
            None => self.first = Some(part),
        }
    }

    /// Takes over all parts of another queue.
    pub(crate) fn append(&mut self, other: Outbox) {
        let rest = other.rest.into_iter().flat_map(|rest| *rest);
        other
            .first
            .into_iter()
            .chain(rest)
            .for_each(|part| self.push(part));
    }

    #[cfg(test)]
    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) {
        self.push(Segment::copy_of(bytes));
    }

    /// Writes as much as the transport takes. The number of bytes, and whether all is written.
    pub(crate) fn write(
        &mut self,
        stream: &mut Transport,
        waker: &Waker,
    ) -> io::Result<(usize, bool)> {
        let mut total = 0;
        while let Some(first) = &self.first {
            let result = match &self.rest {
                Some(rest) if !rest.is_empty() => {
                    let mut slices = [IoSlice::new(&[]); SLICES];
                    let mut n = 0;
                    for (slice, part) in slices.iter_mut().zip([first].into_iter().chain(&**rest)) {
                        *slice = IoSlice::new(part.bytes());
                        n += 1;
                    }
                    stream.try_write(slices.get(..n).unwrap_or_default(), waker)
                }
                _ => stream.try_write(&[IoSlice::new(first.bytes())], waker),
            };
            match result {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    total += n;
                    self.advance(n);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.compact();
                    return Ok((total, false));
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        match stream.try_flush(waker) {
            Ok(()) => Ok((total, true)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok((total, false)),
            Err(e) => Err(e),
        }
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(first) = &mut self.first {
            let len = first.len();
            if written < len {
                first.start += written as u32;
                return;
            }
            written -= len;
            self.first = self.rest.as_mut().and_then(|rest| rest.pop_front());
        }
        self.rest = None;
    }

    fn compact(&mut self) {
        let rest = self.rest.iter_mut().flat_map(|rest| rest.iter_mut());
        for part in self.first.iter_mut().chain(rest) {
            if part.wastes() {
                *part = Segment::copy_of(part.bytes());
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Outbox::default();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::Mutex;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::*;
    use crate::net::transport::Stream;

    fn contents(outbox: &Outbox) -> Vec<Vec<u8>> {
        let rest = outbox.rest.iter().flat_map(|r| r.iter());
        outbox
            .first
            .iter()
            .chain(rest)
            .map(|p| p.bytes().to_vec())
            .collect()
    }

    #[test]
    fn neighbours_merge() {
        let buffer = Arc::new(b"abcdef".to_vec());
        let mut outbox = Outbox::default();
        outbox.push(Segment::new(buffer.clone(), 0, 2));
        outbox.push(Segment::new(buffer.clone(), 2, 3));
        outbox.push(Segment::new(buffer.clone(), 4, 5));
        outbox.push(Segment::new(buffer.clone(), 5, 6));
        outbox.push_bytes(b"");
        assert_eq!(contents(&outbox), [b"abc".to_vec(), b"ef".to_vec()]);
        outbox.advance(4);
        assert_eq!(contents(&outbox), [b"f".to_vec()]);
        outbox.advance(1);
        assert!(outbox.first.is_none());
        assert!(outbox.rest.is_none());
    }

    #[test]
    fn many_small_parts_come_together() {
        let mut outbox = Outbox::default();
        let mut expected = Vec::new();
        let count: u32 = if cfg!(miri) { 3_000 } else { 100_000 };
        let all = 4 * count as usize;
        for i in 0..count {
            let bytes = i.to_be_bytes();
            expected.extend(bytes);
            outbox.push_bytes(&bytes);
        }
        let parts = outbox.rest.as_ref().map_or(0, |rest| rest.len());
        assert!(parts < 64 + 2 * all / CHUNK, "{parts} parts");
        assert!(contents(&outbox).iter().all(|part| part.len() <= CHUNK));
        assert_eq!(contents(&outbox).concat(), expected);
        outbox.advance(all - 10);
        assert_eq!(contents(&outbox).concat(), expected[all - 10..]);
    }

    #[test]
    fn a_part_of_a_shared_buffer_is_copied_before_it_grows() {
        let shared = Arc::new(vec![b'x'; 10]);
        let mut outbox = Outbox::default();
        for _ in 0..200 {
            outbox.push_bytes(b"-");
            outbox.push(Segment::new(shared.clone(), 2, 4));
        }
        assert_eq!(contents(&outbox).concat(), b"-xx".repeat(200));
        assert_eq!(*shared, vec![b'x'; 10]);
    }

    /// So many parts that what follows is copied together.
    fn many() -> Outbox {
        let mut outbox = Outbox::default();
        for _ in 0..=SLICES {
            outbox.push_bytes(b"-");
        }
        outbox
    }

    #[test]
    fn only_what_comes_behind_many_is_copied() {
        let shared = Arc::new(vec![b'x'; 10]);
        let mut outbox = Outbox::default();
        for n in 0..SLICES as u32 {
            outbox.push(Segment::new(shared.clone(), n % 2, 3 + n % 2));
        }
        assert_eq!(Arc::strong_count(&shared), 1 + SLICES);
        assert!(!outbox.is_empty());
        outbox.clear();
        assert!(outbox.is_empty());
        assert_eq!(Arc::strong_count(&shared), 1);
    }

    #[test]
    fn a_copy_follows_the_part_and_not_its_buffer() {
        let mut outbox = many();
        outbox.push_bytes(&[b'x'; CHUNK]);
        outbox.push(Segment::new(Arc::new(b"abcdef".to_vec()), 0, 2));
        outbox.push_bytes(b"zz");
        assert_eq!(contents(&outbox).last().unwrap(), b"abzz");
    }

    #[test]
    fn small_parts_are_copied_once() {
        let mut outbox = many();
        outbox.push_bytes(&[b'x'; CHUNK]);
        outbox.push_bytes(b"a");
        outbox.push_bytes(b"b");
        let last = |outbox: &Outbox| {
            let last = outbox.rest.as_ref().and_then(|rest| rest.back());
            let last = last.map(|part| (part.bytes().to_vec(), Arc::as_ptr(&part.buffer)));
            last.unwrap()
        };
        let (bytes, before) = last(&outbox);
        assert_eq!(bytes, b"ab");
        outbox.push_bytes(b"c");
        assert_eq!(last(&outbox), (b"abc".to_vec(), before));
    }

    #[test]
    fn a_part_behind_the_last_one_stays_behind_it() {
        let mut outbox = Outbox::default();
        outbox.push_bytes(b"one");
        outbox.push_bytes(b"two");
        outbox.advance(3);
        outbox.push_bytes(b"three");
        assert_eq!(contents(&outbox), [b"two".to_vec(), b"three".to_vec()]);
    }

    /// Takes so much at once, and is interrupted first.
    struct Socket {
        takes: usize,
        calls: Arc<Mutex<Vec<usize>>>,
    }

    impl AsyncRead for Socket {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Socket {
        fn poll_write(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let mut calls = self.calls.lock().unwrap();
            calls.push(slices.len());
            Poll::Ready(match calls.len() {
                1 => Err(io::ErrorKind::Interrupted.into()),
                _ => {
                    let len: usize = slices.iter().map(|slice| slice.len()).sum();
                    Ok(len.min(self.takes))
                }
            })
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl Stream for Socket {}

    #[test]
    fn one_call_writes_many_parts_and_an_interruption_is_no_end() {
        for (takes, calls) in [
            (usize::MAX, vec![SLICES, SLICES, 1]),
            (SLICES, vec![SLICES, SLICES, 1]),
            (SLICES - 1, vec![SLICES, SLICES, 2]),
        ] {
            let mut outbox = many();
            let seen = Arc::default();
            let socket = Socket {
                takes,
                calls: Arc::clone(&seen),
            };
            let mut transport = Transport::boxed(socket);
            let written = outbox.write(&mut transport, Waker::noop());
            assert_eq!(written.unwrap(), (SLICES + 1, true));
            assert_eq!(*seen.lock().unwrap(), calls);
        }
    }

    #[test]
    fn half_of_a_buffer_keeps_it() {
        for (len, owners) in [(499, 1), (500, 2), (501, 2)] {
            let large = Arc::new(vec![b'x'; 1000]);
            let mut outbox = Outbox::default();
            outbox.push(Segment::new(large.clone(), 0, len));
            outbox.compact();
            assert_eq!(Arc::strong_count(&large), owners, "{len}");
        }
    }

    #[test]
    fn a_small_rest_leaves_a_large_buffer() {
        let large = Arc::new(vec![b'x'; 1000]);
        let mut outbox = Outbox::default();
        outbox.push(Segment::new(large.clone(), 10, 20));
        outbox.compact();
        assert_eq!(Arc::strong_count(&large), 1);
        assert_eq!(contents(&outbox), [vec![b'x'; 10]]);
        let mut outbox = Outbox::default();
        outbox.push(Segment::new(large.clone(), 0, 1000));
        outbox.compact();
        assert_eq!(
            Arc::strong_count(&large),
            2,
            "the whole of it is shared, not copied"
        );
    }

    #[test]
    #[cfg_attr(miri, ignore = "30 MB through a socket take hours there")]
    fn a_full_socket_keeps_the_rest_in_order() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap();
        runtime.block_on(full_socket());
    }

    async fn full_socket() {
        use tokio::io::AsyncReadExt;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut peer, _) = listener.accept().await.unwrap();
        let mut outbox = Outbox::default();
        let mut expected = Vec::new();
        for i in 0..3000u32 {
            let chunk: Vec<u8> = (0..10_000u32).map(|j| (i + j) as u8).collect();
            outbox.push_bytes(&chunk);
            expected.extend(chunk);
        }
        let reader = tokio::spawn(async move {
            let mut got = vec![0; 30_000_000];
            peer.read_exact(&mut got).await.unwrap();
            got
        });
        let mut total = 0;
        let mut stream = Transport::Tcp(stream);
        loop {
            std::future::poll_fn(|cx| stream.poll_write_ready(cx))
                .await
                .unwrap();
            let (n, done) = outbox.write(&mut stream, Waker::noop()).unwrap();
            total += n;
            if done {
                break;
            }
        }
        assert_eq!(total, expected.len());
        assert!(reader.await.unwrap() == expected);
    }
}
