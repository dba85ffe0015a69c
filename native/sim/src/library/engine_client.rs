//! The engine's own clients: each connects to the server, talks, loses it, and connects again.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
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
use sockeye_world::{chance, draw, time, trace};

use super::host::{Host, Notices};
use super::processes::Vm;
use super::tls;
use crate::vm::event::{VmEvent, kind};
use crate::vm::host_name::HOST_NAME;
use crate::vm::wakeup::Wakeup;

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client.
struct EngineClient {
    vm: Rc<Vm>,
    number: usize,
    client: Arc<Server>,
    notices: Arc<Notices>,
    inbox: Arc<Inbox>,
    wakeup: Arc<Wakeup>,
}

/// Runs a client with so many connections, one after the other.
pub(super) async fn run(vm: Rc<Vm>, number: usize, rounds: usize, port: u16) {
    time::sleep(Duration::from_nanos(draw(2_000_000_000))).await;
    let (inbox, wakeup) = vm.inbox();
    let notices = Arc::new(Notices {
        changed: wakeup.clone(),
        ..Notices::default()
    });
    let host = Host {
        ledger: vm.ledger.clone(),
        owner: Arc::default(),
        notices: notices.clone(),
    };
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let mut config = ServerConfig::new(nowhere, Mode::Workers(1));
    config.inbox_size = vm.plan.server.inbox_size;
    config.close_timeout = vm.plan.server.close_timeout;
    let scheme = if vm.plan.tls.is_some() { "wss" } else { "ws" };
    if let Ok(url) = Url::parse(&format!("{scheme}://{HOST_NAME}:{port}/d{number}")) {
        let mut dial = Dial::new(url);
        dial.tls = tls::client().filter(|_| vm.plan.tls.is_some());
        dial.connect_timeout = Duration::from_secs(if vm.plan.fair { 2000 } else { 5 });
        config.dial = Some(Arc::new(dial));
    }
    if let Ok(client) = vm.engine.client(config, |_| Box::new(host)) {
        vm.engine.set_worker(&client, 0, &inbox);
        let client = EngineClient {
            vm: vm.clone(),
            number,
            client,
            notices,
            inbox,
            wakeup,
        };
        client.run(rounds).await;
    }
    vm.engine_clients_running
        .set(vm.engine_clients_running.get() - 1);
}

impl EngineClient {
    async fn run(&self, rounds: usize) {
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
        while self.notices.stopped.load(Ordering::Relaxed) == 0 {
            self.wakeup.notified().await;
        }
        let census = self.client.census();
        if census.iter().any(|(_, count)| *count > 0) {
            self.problem(&format!("it has stopped and has {census:?}"));
        }
        self.vm.engine.remove_stopped(self.client.id());
    }

    fn is_ending(&self) -> bool {
        self.vm.ledger.lock().stopping
    }

    fn problem(&self, what: &str) {
        self.vm
            .ledger
            .problem(format!("engine's client {}: {what}", self.number));
    }

    async fn dialled(&self) -> Result<ConnId, DialError> {
        loop {
            if let Some(result) = lock(&self.notices.dialled).pop_front() {
                return result;
            }
            self.wakeup.notified().await;
        }
    }

    /// Serves a connection until the host has been told of its end.
    async fn serve(&self, conn: ConnId) {
        let (mut opened, mut closed, mut over, mut replies) = (false, false, false, 0);
        let mut sent = 0;
        loop {
            let mut events = VecDeque::new();
            let mut answered = false;
            let (left, shards) = self.inbox.drain(8, |of, event, _| {
                events.push_back((of, VmEvent::from(&event)));
                Visit::Next
            });
            self.vm.engine.resume(&self.inbox, shards);
            for (of, event) in events {
                trace::note(&[12, of.as_u64(), kind(&event)], || {
                    format!("event of the client's {of:?}: {}", kind(&event))
                });
                if of != conn || closed {
                    self.problem(&format!("{event:?} of {of:?} and not of {conn:?}"));
                }
                match event {
                    VmEvent::Open(_) if opened => self.problem("it is opened twice"),
                    VmEvent::Open(_) => {
                        opened = true;
                        sent = self.send_messages(conn);
                    }
                    VmEvent::Text(text) if text.starts_with(b"topic") => {}
                    VmEvent::Text(text) => {
                        let expected = format!(" {replies} ");
                        if !String::from_utf8_lossy(&text).contains(&expected) {
                            self.problem(&format!("{:?} is not reply {replies}", text.get(..20)));
                        }
                        replies += 1;
                    }
                    VmEvent::Closed(_) => closed = true,
                    VmEvent::Ending | VmEvent::Passive | VmEvent::Other => {}
                }
                answered |= closed;
            }
            if answered {
                self.vm.engine.answered(conn);
            }
            let has_all = replies >= sent || chance(1, 10);
            if opened && !closed && has_all && self.vm.engine.set_closing(conn) {
                let mut frames = Frames::default();
                frames
                    .commands
                    .push((conn, Command::Close(1000, "".into())));
                self.vm.engine.send(conn.shard(), frames);
            }
            let ended = lock(&self.notices.disconnected).pop_front();
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

    /// Sends some messages: how many, each of which asks for a reply.
    fn send_messages(&self, conn: ConnId) -> usize {
        let mut sent = 0;
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
            sent += 1;
            frames.write(conn, 0..len as u32);
            self.vm.engine.send(conn.shard(), frames);
        }
        sent
    }
}
