//! Clients of the engine: connected, refused, left alone, stopped on their way.

use std::io::{ErrorKind, Read};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sockeye_engine::host::{Notice, ServerHost};
use sockeye_engine::{
    ConnId, Dial, DialError, Disconnected, Engine, Frames, Inbox, Mode, Server, ServerConfig,
    ServerStats, Url,
};
use sockeye_protocol::Role;
use sockeye_protocol::frame::{self, Opcode};

use crate::support::*;

/// What the process behind a client is told.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Dialled(Result<ConnId, DialError>),
    Disconnected(ConnId, Disconnected),
    Stopped,
}

struct ClientHost {
    owner: Arc<Inbox>,
    told: Mutex<Sender<Told>>,
}

impl ClientHost {
    fn tell(&self, told: Told) {
        let _ = self.told.lock().unwrap().send(told);
    }
}

impl ServerHost for ClientHost {
    fn owner(&self) -> Option<Arc<Inbox>> {
        Some(self.owner.clone())
    }
    fn stopped(&self, _: &ServerStats) {
        self.tell(Told::Stopped);
    }
    fn event(&self, _: Notice) {}
    fn dialled(&self, result: Result<ConnId, DialError>) {
        self.tell(Told::Dialled(result));
    }
    fn disconnected(&self, conn: ConnId, end: Disconnected) {
        self.tell(Told::Disconnected(conn, end));
    }
}

struct Caller {
    engine: Arc<Engine>,
    client: Arc<Server>,
    told: Receiver<Told>,
    mailbox: Mailbox,
}

impl Caller {
    fn new(engine: &Arc<Engine>, url: &str, connect_timeout: Duration) -> Self {
        let mailbox = Mailbox::new();
        mailbox.belongs_to(engine);
        let (sender, told) = channel();
        let process = ClientHost {
            owner: mailbox.owner.clone(),
            told: Mutex::new(sender),
        };
        let mut dial = Dial::new(Url::parse(url).unwrap());
        dial.connect_timeout = connect_timeout;
        let mut config = config(Mode::Owner);
        config.dial = Some(Arc::new(dial));
        let client = engine.client(config, |_| Box::new(process)).unwrap();
        Caller {
            engine: engine.clone(),
            client,
            told,
            mailbox,
        }
    }

    fn told(&self) -> Told {
        self.told.recv_timeout(LONG).expect("news")
    }

    fn dial(&mut self) -> ConnId {
        assert!(self.engine.dial(&self.client));
        let Told::Dialled(Ok(conn)) = self.told() else {
            panic!("not connected");
        };
        assert_eq!(self.mailbox.opened(), conn);
        assert_eq!(self.client.client_conn(), Some(conn));
        conn
    }

    fn send(&self, conn: ConnId, payload: &[u8]) {
        let mut frames = Frames::default();
        frame::write(
            &mut frames.bytes,
            Opcode::Text,
            payload,
            Role::Client.mask(),
        );
        let len = frames.bytes.len();
        self.engine.reserve(conn, len).unwrap();
        frames.write(conn, 0..len as u32);
        self.engine.send(conn.shard(), frames);
    }

    fn stop(&self) {
        self.engine.stop_server(&self.client, 1000, "");
    }
}

fn url(world: &World) -> String {
    format!("ws://{}/path?query", world.address)
}

#[test]
fn a_client_and_a_server_of_one_engine() {
    for shards in [1, 2] {
        let (world, mut puller) = World::pulled(shards, config(Mode::Workers(1)));
        let mut caller = Caller::new(&world.engine, &url(&world), LONG);
        for round in 0..3 {
            let conn = caller.dial();
            let there = puller.opened();
            caller.send(conn, b"hello");
            puller.expect(there, text("hello"));
            world.send(there, Opcode::Text, b"world").unwrap();
            caller.mailbox.expect(conn, text("world"));
            let stats = world.stats(conn).unwrap();
            assert_eq!((&*stats.path, &*stats.query), ("/path", "query"));
            assert_eq!(stats.peer_info.peer.to_string(), world.address.to_string());
            if round == 2 {
                caller.stop();
                let (_, code) = puller.until_closed(there);
                assert_eq!(code, 1000);
            } else {
                world.engine.fail(there, 4000, "again");
                caller
                    .mailbox
                    .expect(conn, Got::Closed(4000, "again".into()));
            }
            let Told::Disconnected(conn_of_end, end) = caller.told() else {
                panic!("still connected");
            };
            assert_eq!((conn_of_end, end.asked), (conn, round == 2));
            assert_eq!(caller.client.client_conn(), None);
            if round == 2 {
                assert_eq!(caller.told(), Told::Stopped);
            } else {
                puller.until_closed(there);
            }
        }
        let stats = caller.client.stats();
        assert_eq!(
            (stats.accepted, stats.frames_in, stats.frames_out),
            (3, 3, 3)
        );
        assert!(!caller.engine.dial(&caller.client));
    }
}

#[test]
fn a_silent_server_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let engine = engine(1);
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let limit = Duration::from_millis(100);
    let caller = Caller::new(&engine, &url, limit);
    let began = Instant::now();
    assert!(engine.dial(&caller.client));
    let (mut socket, _) = listener.accept().unwrap();
    assert_eq!(caller.told(), Told::Dialled(Err(DialError::Timeout)));
    assert!(began.elapsed() >= limit);
    // The request, and then the end.
    let mut request = Vec::new();
    socket.read_to_end(&mut request).unwrap();
    assert!(request.starts_with(b"GET / HTTP/1.1\r\n"));
    caller.stop();
    assert_eq!(caller.told(), Told::Stopped);
}

#[test]
fn stopped_on_the_way() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let engine = engine(1);
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let caller = Caller::new(&engine, &url, LONG);
    assert!(engine.dial(&caller.client));
    let (mut socket, _) = listener.accept().unwrap();
    caller.stop();
    let mut both = [caller.told(), caller.told()];
    both.sort_by_key(|told| *told == Told::Stopped);
    assert_eq!(
        both,
        [Told::Dialled(Err(DialError::Stopped)), Told::Stopped]
    );
    let _ = socket.read_to_end(&mut Vec::new());
}

#[test]
fn an_engine_that_stops_leaves_no_client() {
    let (world, _puller) = World::pulled(2, config(Mode::Workers(1)));
    let mut callers: Vec<_> = (0..10)
        .map(|_| Caller::new(&world.engine, &url(&world), LONG))
        .collect();
    for caller in &mut callers {
        caller.dial();
    }
    assert_eq!(world.engine.stop().stuck, 0);
    for caller in &callers {
        let told: Vec<_> = caller.told.try_iter().collect();
        assert!(told.contains(&Told::Stopped), "{told:?}");
    }
}

#[test]
fn a_listening_server_is_no_client() {
    let world = World::new(1, config(Mode::Owner), None);
    let (host, _) = Host::new(None);
    let listening: ServerConfig = config(Mode::Owner);
    let refused = world.engine.client(listening, |_| Box::new(host));
    assert_eq!(
        refused.err().map(|e| e.kind()),
        Some(ErrorKind::InvalidInput)
    );
    assert!(!world.engine.dial(&world.server));
    world.stop_server();
    world.wait_stopped();
}
