//! Clients of the engine itself, which connect to its server, lose it, and connect again.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sockeye_protocol::Role;
use sockeye_protocol::frame::{self, Opcode};
use sockeye_simulated_engine::inbox::{Left, Visit};
use sockeye_simulated_engine::op::Command;
use sockeye_simulated_engine::{
    ConnId, Dial, DialError, Frames, Inbox, Mode, Server, ServerConfig, Url,
};
use sockeye_world::{chance, draw, names, time, trace};

use crate::host::{Host, Told};
use crate::process::{Got, Vm, kind};
use crate::wakeup::Wakeup;

/// The name of the server. Its first address leads nowhere.
pub(crate) const NAME: &str = "sim.test";

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Names that lead to the server.
pub(crate) fn name(server: IpAddr) {
    let nowhere = IpAddr::from(Ipv4Addr::new(192, 0, 2, 1));
    match chance(1, 2) {
        true => names::set(NAME, &[nowhere, server]),
        false => names::set(NAME, &[server]),
    }
}

struct Dialler {
    vm: Rc<Vm>,
    number: usize,
    client: Arc<Server>,
    told: Arc<Told>,
    inbox: Arc<Inbox>,
    wakeup: Arc<Wakeup>,
}

/// Lives a client with so many connections, one after the other.
pub(crate) async fn run(vm: Rc<Vm>, number: usize, rounds: usize, port: u16) {
    time::sleep(Duration::from_nanos(draw(2_000_000_000))).await;
    let (inbox, wakeup) = vm.inbox();
    let told = Arc::new(Told {
        news: wakeup.clone(),
        ..Told::default()
    });
    let host = Host {
        book: vm.book.clone(),
        owner: Arc::default(),
        told: told.clone(),
    };
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let mut config = ServerConfig::new(nowhere, Mode::Workers(1));
    config.inbox_size = vm.plan.server.inbox_size;
    config.close_timeout = vm.plan.server.close_timeout;
    let scheme = if vm.plan.tls.is_some() { "wss" } else { "ws" };
    if let Ok(url) = Url::parse(&format!("{scheme}://{NAME}:{port}/d{number}")) {
        let mut dial = Dial::new(url);
        dial.tls = crate::tls::client().filter(|_| vm.plan.tls.is_some());
        dial.connect_timeout = Duration::from_secs(if vm.plan.fair { 2000 } else { 5 });
        config.dial = Some(Arc::new(dial));
    }
    if let Ok(client) = vm.engine.client(config, |_| Box::new(host)) {
        vm.engine.set_worker(&client, 0, &inbox);
        let dialler = Dialler {
            vm: vm.clone(),
            number,
            client,
            told,
            inbox,
            wakeup,
        };
        dialler.live(rounds).await;
    }
    vm.diallers.set(vm.diallers.get() - 1);
}

impl Dialler {
    async fn live(&self, rounds: usize) {
        for _ in 0..rounds {
            if !self.vm.engine.dial(&self.client) {
                break;
            }
            match self.dialled().await {
                Ok(conn) => self.serve(conn).await,
                Err(DialError::Stopped) => break,
                Err(e) => {
                    if self.vm.plan.fair && !self.vm.plan.server.asks && !self.is_ending() {
                        self.problem(&format!("cannot connect: {e:?}"));
                    }
                }
            }
            time::sleep(Duration::from_nanos(draw(3_000_000_000))).await;
        }
        self.vm.engine.stop_server(&self.client, 1001, "done");
        while self.told.stopped.load(Ordering::Relaxed) == 0 {
            self.wakeup.notified().await;
        }
        let counted = self.client.census();
        if counted.iter().any(|(_, count)| *count > 0) {
            self.problem(&format!("it has stopped and has {counted:?}"));
        }
        self.vm.engine.remove_stopped(self.client.id());
    }

    fn is_ending(&self) -> bool {
        self.vm.book.open().stopping
    }

    fn problem(&self, what: &str) {
        self.vm
            .book
            .problem(format!("engine's client {}: {what}", self.number));
    }

    async fn dialled(&self) -> Result<ConnId, DialError> {
        loop {
            if let Some(result) = lock(&self.told.dialled).pop_front() {
                return result;
            }
            self.wakeup.notified().await;
        }
    }

    /// Serves a connection until the host has been told of its end.
    async fn serve(&self, conn: ConnId) {
        let (mut opened, mut closed, mut over, mut replies) = (false, false, false, 0);
        let mut said = 0;
        loop {
            let mut events = VecDeque::new();
            let mut answered = false;
            let (left, shards) = self.inbox.drain(8, |of, event, _| {
                events.push_back((of, Got::from(&event)));
                Visit::Next
            });
            self.vm.engine.resume(&self.inbox, shards);
            for (of, got) in events {
                trace::note(&[12, of.as_u64(), kind(&got)], || {
                    format!("event of the client's {of:?}: {}", kind(&got))
                });
                if of != conn || closed {
                    self.problem(&format!("{got:?} of {of:?} and not of {conn:?}"));
                }
                match got {
                    Got::Open(_) if opened => self.problem("it is opened twice"),
                    Got::Open(_) => {
                        opened = true;
                        said = self.speak(conn);
                    }
                    Got::Text(text) if text.starts_with(b"topic") => {}
                    Got::Text(text) => {
                        let expected = format!(" {replies} ");
                        if !String::from_utf8_lossy(&text).contains(&expected) {
                            self.problem(&format!("{:?} is not reply {replies}", text.get(..20)));
                        }
                        replies += 1;
                    }
                    Got::Closed(_) => closed = true,
                    Got::Ending | Got::Passive | Got::Other => {}
                }
                answered |= closed;
            }
            if answered {
                self.vm.engine.answered(conn);
            }
            let all = replies >= said || chance(1, 10);
            if opened && !closed && all && self.vm.engine.set_closing(conn) {
                let mut frames = Frames::default();
                frames
                    .commands
                    .push((conn, Command::Close(1000, "".into())));
                self.vm.engine.send(conn.shard(), frames);
            }
            let ended = lock(&self.told.disconnected).pop_front();
            if let Some((of, _)) = ended {
                if of != conn || over || (!closed && left == Left::Nothing) {
                    self.problem(&format!(
                        "{of:?} is over, {conn:?} is served, closed: {closed}"
                    ));
                }
                over = true;
            }
            if over && closed {
                return;
            }
            if left == Left::Nothing {
                self.wakeup.notified().await;
            }
        }
    }

    /// Sends some messages, and says how many replies are asked for.
    fn speak(&self, conn: ConnId) -> usize {
        let mut asked = 0;
        for number in 0..draw(4) {
            let text = format!("{} {number} 1 20 ", self.number);
            let mut frames = Frames::default();
            frame::write(
                &mut frames.bytes,
                Opcode::Text,
                text.as_bytes(),
                Role::Client.mask(),
            );
            let len = frames.bytes.len();
            if self.vm.engine.reserve(conn, len).is_err() {
                break;
            }
            asked += 1;
            frames.write(conn, 0..len as u32);
            self.vm.engine.send(conn.shard(), frames);
        }
        asked
    }
}
