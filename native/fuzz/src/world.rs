//! The engine's own sources in a simulated world (`native/sim`), for what a socket is needed for: nothing leaves the thread,
//! and hours pass in no time. Each input has a world of its own, so that it means the same each time.

use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use sockeye_protocol::frame::{self, Opcode};
use sockeye_simulated_engine::batch::Event;
use sockeye_simulated_engine::census::census;
use sockeye_simulated_engine::host::{Notice, ServerHost};
use sockeye_simulated_engine::inbox::Visit;
use sockeye_simulated_engine::{
    ConnId, DialError, Engine, EngineConfig, Frames, Inbox, Mode, Notifier, Server, ServerConfig,
    ServerStats,
};
use sockeye_world::net::TcpStream;
use sockeye_world::{self as world, Step, time};

/// Nothing here has a reason to take longer, in nanoseconds.
const PATIENCE: u64 = 300_000_000_000;

/// Pieces that bytes come in at most: each costs a pause.
const PIECES: usize = 40;

/// Between two pieces, so that each is read for itself.
const PAUSE: Duration = Duration::from_millis(3);

/// An event that the receiver has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    Open,
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Closed(u16),
}

thread_local! {
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

/// The engine catches panics, which are defects all the same.
fn count_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // The library asserts, in builds such as this, that a connection has no streams when it is dropped.
            let place = info.location().map_or("", |place| place.file());
            if place.contains("h2-") && place.ends_with("counts.rs") {
                return;
            }
            let _ = PANICS.try_with(|panics| panics.set(panics.get() + 1));
            before(info);
        }));
    });
    PANICS.set(0);
}

#[derive(Default)]
struct News(AtomicBool);

struct Wakeup(Arc<News>);

impl Notifier for Wakeup {
    fn notify(&self) -> bool {
        self.0.0.store(true, Ordering::Relaxed);
        true
    }
}

type Dialled = Arc<Mutex<Option<Result<ConnId, DialError>>>>;

struct Host(Dialled);

impl ServerHost for Host {
    fn owner(&self) -> Option<Arc<Inbox>> {
        None
    }

    fn stopped(&self, _: &ServerStats) {}

    fn event(&self, _: Notice) {}

    fn dialled(&self, result: Result<ConnId, DialError>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    }
}

/// A world with an engine of one shard, and a process that sends back what it gets.
pub(crate) struct Life {
    engine: Arc<Engine>,
    inbox: Arc<Inbox>,
    news: Arc<News>,
    dialled: Dialled,
    got: RefCell<Vec<Got>>,
    /// The executor of what is outside.
    outside: usize,
}

impl Drop for Life {
    fn drop(&mut self) {
        world::end();
    }
}

impl Life {
    pub(crate) fn begin() -> Self {
        count_panics();
        world::begin(1);
        let outside = world::executor(world::Order::Fifo);
        let news = Arc::new(News::default());
        Life {
            engine: Engine::start(EngineConfig::new(1)).expect("an engine"),
            inbox: Inbox::new(1 << 20, 0, Box::new(Wakeup(news.clone()))),
            news,
            dialled: Dialled::default(),
            got: RefCell::default(),
            outside,
        }
    }

    /// The settings of a server, or of a client.
    pub(crate) fn config() -> ServerConfig {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        ServerConfig::new(here, Mode::Workers(1))
    }

    pub(crate) fn listen(&self, config: ServerConfig) -> (Arc<Server>, SocketAddr) {
        let host = Host(self.dialled.clone());
        let (server, place) = self
            .engine
            .listen(config, |_| Box::new(host))
            .expect("a port");
        self.engine.set_worker(&server, 0, &self.inbox);
        let Some(sockeye_simulated_engine::Peer::Inet(ip, port)) = place else {
            panic!("{place:?}")
        };
        (server, SocketAddr::new(ip, port))
    }

    /// What comes of an attempt to connect, and whom to ask for what is left of it.
    pub(crate) fn dial(&self, config: ServerConfig) -> (Result<ConnId, DialError>, Arc<Server>) {
        let host = Host(self.dialled.clone());
        let client = self.engine.client(config, |_| Box::new(host));
        let client = client.expect("a client");
        self.engine.set_worker(&client, 0, &self.inbox);
        assert!(self.engine.dial(&client));
        let lock = || self.dialled.lock().unwrap_or_else(PoisonError::into_inner);
        self.until("an answer", || lock().is_some());
        let result = lock().take().expect("it is there");
        (result, client)
    }

    /// Starts something outside.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        world::on_executor(self.outside, || world::task::spawn_local(work));
    }

    /// Lives until something is so.
    pub(crate) fn until(&self, what: &str, done: impl Fn() -> bool) {
        let end = world::now() + PATIENCE;
        while !done() {
            self.take();
            assert_eq!(PANICS.get(), 0, "the engine panics");
            let idle = world::now() >= end || world::step(end) == Step::Idle;
            if idle && !done() {
                let all: Vec<_> = self.engine.all_servers();
                let all: Vec<_> = all.iter().map(|server| server.census()).collect();
                panic!("no {what}: {all:?} {:?}", census());
            }
        }
    }

    /// Lives until nothing is left of any connection. Gives what the receiver has got.
    pub(crate) fn end(&self, server: &Server) -> Vec<Got> {
        self.until("end of the sockets", || world::net::open_sockets() == 0);
        // A listener counts as a socket.
        let listens = usize::from(server.is_listening());
        let nothing = || {
            let shards = census();
            shards.iter().all(|shard| shard.conns.is_empty())
                && server
                    .census()
                    .iter()
                    .map(|(_, count)| count)
                    .sum::<usize>()
                    == listens
        };
        self.until("end", nothing);
        self.take();
        self.got.take()
    }

    /// The process takes its events, and answers messages with the same.
    fn take(&self) {
        if !self.news.0.swap(false, Ordering::Relaxed) {
            return;
        }
        let (mut frames, mut ended) = (Frames::default(), Vec::new());
        let (left, shards) = self.inbox.drain(256, |conn, event, _| {
            let got = match event {
                Event::Open(_) => Got::Open,
                Event::Text(bytes) => {
                    self.send(conn, Opcode::Text, bytes, &mut frames);
                    Got::Text(bytes.to_vec())
                }
                Event::Binary(bytes) => {
                    self.send(conn, Opcode::Binary, bytes, &mut frames);
                    Got::Binary(bytes.to_vec())
                }
                Event::Closed(ended_by) => {
                    ended.push(conn);
                    Got::Closed(ended_by.code)
                }
                Event::Ping(_) | Event::Pong(_) | Event::Passive | Event::Ending => {
                    return Visit::Next;
                }
            };
            self.got.borrow_mut().push(got);
            Visit::Next
        });
        if left == sockeye_simulated_engine::inbox::Left::More {
            self.news.0.store(true, Ordering::Relaxed);
        }
        self.engine.send(0, frames);
        self.engine.resume(&self.inbox, shards);
        ended
            .into_iter()
            .for_each(|conn| self.engine.answered(conn));
    }

    fn send(&self, conn: ConnId, op: Opcode, bytes: &[u8], out: &mut Frames) {
        let start = out.bytes.len();
        frame::write(&mut out.bytes, op, bytes, None);
        match self.engine.reserve(conn, out.bytes.len() - start) {
            Ok(()) => out.write(conn, start as u32..out.bytes.len() as u32),
            Err(_) => out.bytes.truncate(start),
        }
    }
}

/// Cuts bytes into pieces of two sizes in turn, and not too many of them.
pub(crate) fn pieces(bytes: &[u8], sizes: [usize; 2]) -> impl Iterator<Item = &[u8]> {
    let least = bytes.len() / PIECES + 1;
    let (mut rest, mut first) = (bytes, false);
    std::iter::from_fn(move || {
        first = !first;
        let size = sizes[usize::from(!first)].max(least).min(rest.len());
        let (piece, after) = rest.split_at(size);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Writes bytes in pieces, until the other end takes no more.
pub(crate) async fn write(stream: &TcpStream, bytes: &[u8], sizes: [usize; 2]) {
    for piece in pieces(bytes, sizes) {
        if stream.write_whole(piece).await.is_err() {
            return;
        }
        time::sleep(PAUSE).await;
    }
}

/// Says these bytes to a server, waits a while, says that this is all, and gives what comes back.
pub(crate) fn converse(
    life: &Life,
    address: SocketAddr,
    bytes: &[u8],
    sizes: [usize; 2],
) -> Vec<u8> {
    let heard = Rc::new(RefCell::new(Vec::new()));
    let over = Rc::new(Cell::new(false));
    life.spawn({
        let (heard, over, bytes) = (heard.clone(), over.clone(), bytes.to_vec());
        async move {
            let stream = Rc::new(TcpStream::connect(address).await.expect("a server"));
            let writes = stream.clone();
            world::task::spawn_local(async move {
                write(&writes, &bytes, sizes).await;
                time::sleep(10 * PAUSE).await;
                writes.finish_writing();
            });
            while let Ok(bytes) = stream.read_some(64 << 10).await {
                if bytes.is_empty() {
                    break;
                }
                heard.borrow_mut().extend(bytes);
            }
            over.set(true);
        }
    });
    life.until("end of the answer", || over.get());
    heard.take()
}
