//! Connections over a stream that is not a socket.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::task::{Context, Poll};

use sockeye_protocol::frame::{self, Opcode};
use sockeye_protocol::handshake::{HeadLimits, Request};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::Notify;

use crate::model::delivery_count::DeliveryCount;
use crate::model::id::ConnId;
use crate::net::peer::{Peer, PeerInfo};
use crate::net::transport::{Stream, Transport};
use crate::server::Server;
use crate::server::broadcast::Broadcast;
use crate::server::topics::{Audience, Fanout};
use crate::settings::config::{EngineConfig, Mode, ServerConfig};
use crate::shard::Shard;
use crate::shard::conn::Conn;
use crate::shard::handle::Handle;
use crate::shard::op::{Command, Frames, Op};
use crate::shard::opened::Opened;
use crate::vm::batch::{Event, OpenInfo};
use crate::vm::host::{Notice, ServerHost};
use crate::vm::inbox::{Inbox, Notifier, Visit};

/// Our end of the pipe, which counts what would be system calls.
struct Counted {
    pipe: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.pipe).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.pipe).poll_write_vectored(cx, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

impl Stream for Counted {}

/// A process that sends every message back, so many times: in one operation, or by as many
/// broadcasts.
#[derive(Default)]
struct Echo {
    times: usize,
    broadcasts: bool,
    /// The bound of the queue, and what to do with who reaches it.
    send_queue: Option<u32>,
    closes_slow: bool,
    /// How many got each broadcast, and how many did not.
    outcomes: Arc<Mutex<Vec<(u64, u64)>>>,
    all_told: Arc<Notify>,
    server: OnceLock<Weak<Server>>,
    writes: Arc<AtomicUsize>,
    handle: OnceLock<Arc<Handle>>,
    inbox: OnceLock<Arc<Inbox>>,
    closed: Mutex<Vec<u16>>,
}

impl Echo {
    fn event(&self, conn: ConnId, event: Event<'_>) {
        let handle = self.handle.get().unwrap();
        match event {
            Event::Binary(bytes) if self.broadcasts => {
                let server = self.server.get().unwrap().upgrade().unwrap();
                for _ in 0..self.times {
                    let frame = Broadcast::plain(plain(Opcode::Binary, bytes));
                    let outcomes = self.outcomes.clone();
                    let (times, all_told) = (self.times, self.all_told.clone());
                    let told = move |sent, dropped| {
                        let mut outcomes = outcomes.lock().unwrap();
                        outcomes.push((sent, dropped));
                        if outcomes.len() == times {
                            all_told.notify_one();
                        }
                    };
                    let to = Fanout {
                        audience: Audience::All(None),
                        count: Some(Arc::new(DeliveryCount::new(Box::new(told)))),
                    };
                    handle.fan_out(&server, &frame, to);
                }
            }
            Event::Binary(bytes) => {
                let mut frames = Frames::default();
                for _ in 0..self.times {
                    let start = frames.bytes.len() as u32;
                    frame::write(&mut frames.bytes, Opcode::Binary, bytes, None);
                    let range = start..frames.bytes.len() as u32;
                    handle.slots.charge(conn, range.len());
                    frames.write(conn, range);
                }
                assert!(handle.submit(Op::Frames(frames)).is_ok());
            }
            Event::Ending => Self::has_answered(handle, conn),
            Event::Closed(ended) => {
                self.closed.lock().unwrap().push(ended.code);
                Self::has_answered(handle, conn);
            }
            _ => {}
        }
    }

    /// All that came before has been sent back: nobody is to wait for more.
    fn has_answered(handle: &Handle, conn: ConnId) {
        let mut frames = Frames::default();
        frames.commands.push((conn, Command::Answered));
        assert!(handle.submit(Op::Frames(frames)).is_ok());
    }
}

/// It takes what there is as soon as it is told.
struct AtOnce(Weak<Echo>);

impl Notifier for AtOnce {
    fn notify(&self) -> bool {
        let echo = self.0.upgrade().unwrap();
        let inbox = echo.inbox.get().unwrap();
        inbox.drain(usize::MAX, |conn, event, _| {
            echo.event(conn, event);
            Visit::Next
        });
        true
    }
}

struct TestHost(Arc<Echo>);

impl ServerHost for TestHost {
    fn owner(&self) -> Option<Arc<Inbox>> {
        self.0.inbox.get().cloned()
    }

    fn stopped(&self, _: &crate::model::counters::ServerStats) {}

    fn event(&self, _: Notice) {}
}

/// Runs `client` on the other end of a pipe that holds so many bytes.
fn with_connection<F: Future<Output = ()>>(
    capacity: usize,
    times: usize,
    client: impl FnOnce(DuplexStream) -> F,
) -> Vec<u16> {
    let echo = Echo {
        times,
        ..Echo::default()
    };
    with_echo(capacity, echo, client)
}

fn with_echo<F: Future<Output = ()>>(
    capacity: usize,
    echo: Echo,
    client: impl FnOnce(DuplexStream) -> F,
) -> Vec<u16> {
    let parts = Handle::make(0, 1);
    let (before, after) = (parts.handle.clone(), parts.handle.clone());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .on_thread_park(move || before.before_park())
        .on_thread_unpark(move || after.after_park())
        .build_local(Default::default())
        .unwrap();
    runtime.block_on(async {
        let handle = parts.handle.clone();
        let shard = Shard::new(parts, [handle.clone()].into(), EngineConfig::new(1));
        let echo = Arc::new(echo);
        let _ = echo.handle.set(handle);
        let notifier = Box::new(AtOnce(Arc::downgrade(&echo)));
        let _ = echo.inbox.set(Inbox::new(1 << 20, 0, notifier));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut config = ServerConfig::new(address, Mode::Owner);
        config.send_queue_size = echo.send_queue.unwrap_or(config.send_queue_size);
        config.close_slow = echo.closes_slow;
        let server = Arc::new(Server::new(0, config, None, 1, |_| {
            Box::new(TestHost(echo.clone()))
        }));
        let _ = echo.server.set(Arc::downgrade(&server));
        let turns = tokio::task::spawn_local(shard.clone().turns());
        let sweeper = tokio::task::spawn_local(shard.clone().sweeper());
        let (ours, theirs) = tokio::io::duplex(capacity);
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let (request, _) = Request::parse(request, &HeadLimits::default())
            .unwrap()
            .unwrap();
        let peer = Peer::Unix([].into());
        let info = Box::new(OpenInfo::new(PeerInfo::new(peer.clone(), peer), request));
        let opened = Opened {
            transport: Transport::boxed(Counted {
                pipe: ours,
                writes: echo.writes.clone(),
            }),
            info,
            options: Default::default(),
            rest: Vec::new(),
            permit: None,
        };
        shard.adopt(server.permit().unwrap(), opened);
        let limit = std::time::Duration::from_secs(20);
        tokio::time::timeout(limit, client(theirs)).await.unwrap();
        while !shard.all_conns().is_empty() {
            tokio::task::yield_now().await;
        }
        turns.abort();
        sweeper.abort();
        echo.closed.lock().unwrap().clone()
    })
}

fn masked(op: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write(&mut out, op, payload, Some([1, 2, 3, 4]));
    out
}

fn plain(op: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write(&mut out, op, payload, None);
    out
}

async fn expect(client: &mut DuplexStream, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    client.read_exact(&mut got).await.unwrap();
    assert!(got == bytes, "other bytes came back");
}

async fn leave(client: &mut DuplexStream) {
    let close = masked(Opcode::Close, &1000u16.to_be_bytes());
    client.write_all(&close).await.unwrap();
    expect(client, &plain(Opcode::Close, &1000u16.to_be_bytes())).await;
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
}

#[test]
fn the_size_of_a_connection() {
    // docs/decisions/memory.md has the rest.
    assert!(size_of::<Conn>() <= 288, "{}", size_of::<Conn>());
}

#[test]
fn messages_are_echoed() {
    let closed = with_connection(1 << 16, 1, |mut client| async move {
        for n in 0..100usize {
            let payload = vec![n as u8; n];
            let frame = masked(Opcode::Binary, &payload);
            client.write_all(&frame).await.unwrap();
            expect(&mut client, &plain(Opcode::Binary, &payload)).await;
        }
        leave(&mut client).await;
    });
    assert_eq!(closed, [1000]);
}

#[test]
fn a_client_that_reads_late_gets_all_in_order() {
    // Far more than the pipe holds, and nothing reads it while it is written.
    let closed = with_connection(64, 50, |mut client| async move {
        let payload: Vec<u8> = (0..2000).map(|n| n as u8).collect();
        let frame = masked(Opcode::Binary, &payload);
        client.write_all(&frame).await.unwrap();
        // The server has nothing to do but to wait: one that spins would never let us go on.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        let all = plain(Opcode::Binary, &payload).repeat(50);
        expect(&mut client, &all).await;
        leave(&mut client).await;
    });
    assert_eq!(closed, [1000]);
}

#[test]
fn a_client_that_vanishes_is_1006() {
    let closed = with_connection(64, 50, |mut client| async move {
        let frame = masked(Opcode::Binary, &[7; 1000]);
        client.write_all(&frame).await.unwrap();
    });
    assert_eq!(closed, [1006]);
}

#[test]
fn broadcasts_of_one_turn_are_one_write() {
    let writes = Arc::new(AtomicUsize::new(0));
    let echo = Echo {
        times: 10,
        broadcasts: true,
        writes: writes.clone(),
        ..Echo::default()
    };
    let closed = with_echo(1 << 16, echo, |mut client| async move {
        let frame = masked(Opcode::Binary, b"one of ten");
        client.write_all(&frame).await.unwrap();
        expect(
            &mut client,
            &plain(Opcode::Binary, b"one of ten").repeat(10),
        )
        .await;
        assert_eq!(writes.load(Ordering::Relaxed), 1);
        leave(&mut client).await;
    });
    assert_eq!(closed, [1000]);
}

/// Ten frames of ten bytes are broadcast in one turn, to a queue of this bound: what became of each, and how it ended.
fn burst(send_queue: u32, closes_slow: bool) -> (Vec<(u64, u64)>, Vec<u16>) {
    let outcomes = Arc::<Mutex<Vec<(u64, u64)>>>::default();
    let echo = Echo {
        times: 10,
        broadcasts: true,
        send_queue: Some(send_queue),
        closes_slow,
        outcomes: outcomes.clone(),
        ..Echo::default()
    };
    let (told, all_told) = (outcomes.clone(), echo.all_told.clone());
    let closed = with_echo(1 << 16, echo, |mut client| async move {
        let frame = masked(Opcode::Binary, b"12345678");
        client.write_all(&frame).await.unwrap();
        all_told.notified().await;
        let sent: u64 = told.lock().unwrap().iter().map(|(sent, _)| sent).sum();
        let all = plain(Opcode::Binary, b"12345678").repeat(sent as usize);
        expect(&mut client, &all).await;
        match closes_slow {
            true => expect(&mut client, b"\x88\x0a\x03\xf0too slow").await,
            false => leave(&mut client).await,
        }
    });
    let outcomes = outcomes.lock().unwrap().clone();
    (outcomes, closed)
}

#[test]
fn a_burst_has_the_bound_of_its_frames_one_by_one() {
    // Also where an empty queue would take a frame of any size.
    for (bound, sent) in [(99, 9), (100, 10), (101, 10), (5, 1), (10, 1), (20, 2)] {
        let mut outcomes = vec![(1, 0); sent];
        outcomes.resize(10, (0, 1));
        assert_eq!(burst(bound, false), (outcomes, vec![1000]), "{bound}");
    }
}

#[test]
fn a_connection_closed_in_a_burst_gets_no_more_of_it() {
    let mut outcomes = vec![(1, 0); 9];
    outcomes.push((0, 1));
    assert_eq!(burst(99, true), (outcomes, vec![1008]));
    let outcomes = [vec![(1, 0)], vec![(0, 1)], vec![(0, 0); 8]].concat();
    assert_eq!(burst(5, true), (outcomes, vec![1008]));
}
