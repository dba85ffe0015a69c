//! An engine, and what its callers do.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use sockeye_engine::active::SetActive;
use sockeye_engine::op::{Command, ConnStats};
use sockeye_engine::{
    ConnId, Engine, EngineConfig, Frames, Inbox, Mode, Peer, SendError, Server, ServerConfig,
};
use sockeye_protocol::frame::{self, Opcode};

use super::{Client, Host, LONG, Mailbox, Process, Puller};

/// An engine with one server.
pub struct World {
    pub engine: Arc<Engine>,
    pub server: Arc<Server>,
    pub address: SocketAddr,
    pub stopped: Receiver<()>,
}

pub fn engine(shards: usize) -> Arc<Engine> {
    Engine::start(EngineConfig::new(shards)).unwrap()
}

pub fn config(mode: Mode) -> ServerConfig {
    ServerConfig::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), mode)
}

impl World {
    pub fn new(shards: usize, config: ServerConfig, owner: Option<&Mailbox>) -> Self {
        Self::on(engine(shards), config, owner)
    }

    pub fn on(engine: Arc<Engine>, config: ServerConfig, owner: Option<&Mailbox>) -> Self {
        if let Some(mailbox) = owner {
            mailbox.belongs_to(&engine);
        }
        Self::with(engine, config, owner.map(|mailbox| mailbox.owner.clone()))
    }

    fn with(engine: Arc<Engine>, config: ServerConfig, owner: Option<Arc<Inbox>>) -> Self {
        let (host, stopped) = Host::new(owner);
        let (server, place) = engine.listen(config, |_| Box::new(host)).unwrap();
        let address = match place {
            Some(Peer::Inet(ip, port)) => SocketAddr::new(ip, port),
            _ => (Ipv4Addr::UNSPECIFIED, 0).into(),
        };
        World {
            engine,
            server,
            address,
            stopped,
        }
    }

    /// What comes of a second server.
    pub fn listen_again(&self, config: ServerConfig) -> Option<ErrorKind> {
        let (host, _) = Host::new(None);
        let result = self.engine.listen(config, |_| Box::new(host));
        result.err().map(|e| e.kind())
    }

    /// A server with one handler process.
    pub fn pulled(shards: usize, config: ServerConfig) -> (Self, Puller) {
        let world = World::new(shards, config, None);
        let puller = world.worker(0);
        (world, puller)
    }

    /// A server with a plain owner.
    pub fn pushed(shards: usize, config: ServerConfig) -> (Self, Mailbox) {
        let mailbox = Mailbox::new();
        (World::new(shards, config, Some(&mailbox)), mailbox)
    }

    /// A server with a plain owner whose events the test itself takes, when it likes.
    pub fn owned(config: ServerConfig) -> (Self, Puller) {
        let engine = engine(1);
        let puller = Puller::new(&engine, config.inbox_size);
        let inbox = puller.inbox.clone();
        (World::with(engine, config, Some(inbox)), puller)
    }

    /// Gives a connection away, and returns what tells that the old owner has heard all.
    pub fn give(&self, conn: ConnId, to: &Mailbox) -> Receiver<()> {
        to.belongs_to(&self.engine);
        let (sender, done) = channel();
        let done_with = Box::new(move || sender.send(()).unwrap_or_default());
        let owner = to.owner.clone();
        self.engine.set_owner(conn, owner, done_with).unwrap();
        done
    }

    pub fn worker(&self, slot: usize) -> Puller {
        let puller = Puller::new(&self.engine, self.server.config.inbox_size);
        assert!(self.engine.set_worker(&self.server, slot, &puller.inbox));
        puller
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// A client, and its connection, of which this process hears.
    pub fn open(&self, process: &mut impl Process) -> (Client, ConnId) {
        (self.client(), process.opened())
    }

    pub fn send(&self, conn: ConnId, op: Opcode, payload: &[u8]) -> Result<(), SendError> {
        send(&self.engine, conn, op, payload)
    }

    /// Changes the credits of a connection.
    pub fn active(&self, conn: ConnId, change: SetActive) {
        ask(&self.engine, conn, Command::Active(change));
    }

    pub fn stop_server(&self) {
        self.engine.stop_server(&self.server, 1001, "bye");
    }

    pub fn wait_stopped(&self) {
        self.stopped.recv_timeout(LONG).expect("stopped");
    }

    pub fn stats(&self, conn: ConnId) -> Option<ConnStats> {
        let (sender, answer) = channel();
        let reply = Box::new(move |stats| sender.send(stats).unwrap());
        self.engine.conn_stats(conn, reply).ok()?;
        answer.recv_timeout(LONG).unwrap()
    }

    /// The connections of the server, on all shards.
    pub fn connections(&self) -> Vec<ConnId> {
        let (sender, answers) = channel();
        let n = self.engine.connections(&self.server, None, || {
            let sender = sender.clone();
            Box::new(move |ids: &[ConnId]| sender.send(ids.to_vec()).unwrap())
        });
        (0..n)
            .flat_map(|_| answers.recv_timeout(LONG).unwrap())
            .collect()
    }

    /// Returns when each shard has done all that was asked of it before.
    pub fn settle(&self) {
        // The answer comes before the other half of a turn: the second comes after it.
        self.connections();
        self.connections();
    }

    /// Stops the shard, of an engine with one, until the result is dropped.
    pub fn hold(&self) -> Held {
        let (release, wait) = channel::<()>();
        let (reached, there) = channel();
        let parts = Mutex::new(Some((wait, reached)));
        self.engine.connections(&self.server, None, || {
            let (wait, reached) = parts.lock().unwrap().take().expect("one shard");
            Box::new(move |_: &[ConnId]| {
                reached.send(()).unwrap();
                let _ = wait.recv_timeout(LONG);
            })
        });
        there.recv_timeout(LONG).unwrap();
        Held { _release: release }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.engine.stop();
    }
}

pub struct Held {
    _release: Sender<()>,
}

pub fn send(engine: &Engine, conn: ConnId, op: Opcode, payload: &[u8]) -> Result<(), SendError> {
    let mut frames = Frames::default();
    frame::write(&mut frames.bytes, op, payload, None);
    let len = frames.bytes.len();
    engine.reserve(conn, len)?;
    frames.write(conn, 0..len as u32);
    engine.send(conn.shard(), frames);
    Ok(())
}

pub fn ask(engine: &Engine, conn: ConnId, part: Command) {
    let mut frames = Frames::default();
    frames.commands.push((conn, part));
    engine.send(conn.shard(), frames);
}

pub fn close(engine: &Engine, conn: ConnId, code: u16) -> bool {
    let closing = engine.set_closing(conn);
    ask(engine, conn, Command::Close(code, "".into()));
    closing
}
