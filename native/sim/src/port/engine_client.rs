//! The engine's own clients: each is one process of the VM, which connects, talks, loses the connection, and connects again.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use sockeye_simulated_engine::ConnId;
use sockeye_world::{chance, draw, time, trace};

use super::node::Node;
use super::process::{Answer, Message, Process};
use super::settings::versions;
use super::terms::{conn_of, conn_term, event_of, text};
use crate::model::content::{as_json, without_json, word};
use crate::options::config;
use crate::terms::{Term, atom, binary, int, list, tuple};
use crate::vm::event::{VmEvent, kind};
use crate::vm::host_name::HOST_NAME;

/// The number of the first of them; servers have others.
const FIRST: i64 = 100;

struct EngineClient {
    node: Rc<Node>,
    me: Rc<Process>,
    number: usize,
    /// Events that came before it was told of their connection.
    early: RefCell<VecDeque<Message>>,
}

/// Settings of TLS. Each run has sessions of its own.
fn tls() -> Term {
    let pairs = [
        ("versions", versions()),
        ("verify", atom("none")),
        ("cacertfile", binary(crate::vm::tls::unlike_others())),
        ("pin", list(Vec::new())),
        ("identity", atom("undefined")),
        ("sni", binary(HOST_NAME)),
    ];
    Term::Map(pairs.map(|(key, value)| (atom(key), value)).to_vec())
}

/// Settings of a client.
fn settings(node: &Node, number: usize, port: u16) -> Term {
    let seconds = if node.plan.fair { 2000 } else { 5 };
    let has_tls = node.plan.tls.is_some();
    let scheme = if has_tls { "wss" } else { "ws" };
    let dial = [
        (
            "url",
            binary(format!("{scheme}://{HOST_NAME}:{port}/d{number}")),
        ),
        ("connect_timeout", int(1000 * seconds)),
        ("headers", list(Vec::new())),
        ("host", atom("undefined")),
        ("redirects", int(0)),
        ("proxy", atom("undefined")),
        ("tls", if has_tls { tls() } else { atom("undefined") }),
    ];
    let dial = dial.map(|(key, value)| (atom(key), value)).to_vec();
    let inbox = node.plan.server.inbox_size as i64;
    let options = [
        ("inbox_size", int(inbox)),
        (
            "close_timeout",
            int(node.plan.server.close_timeout.as_millis() as i64),
        ),
        ("idle_timeout", atom("infinity")),
        // Only pings find out that a connection has fallen silent.
        ("ping_interval", int(10_000)),
        (
            "pong_timeout",
            int(if node.plan.fair { 100_000_000 } else { 20_000 }),
        ),
        ("max_age", atom("infinity")),
    ];
    match config(FIRST + number as i64, &options) {
        Term::Map(mut pairs) => {
            pairs.push((atom("dial"), Term::Map(dial)));
            Term::Map(pairs)
        }
        other => other,
    }
}

/// Runs a client with so many connections, one after the other.
pub(super) async fn run(node: Rc<Node>, number: usize, rounds: usize, port: u16) {
    time::sleep(Duration::from_nanos(draw(2_000_000_000))).await;
    let me = node.process();
    let map = settings(&node, number, port);
    let opened = node.call(me.number, "client_open", vec![map]).await;
    let id = int(FIRST + number as i64);
    let inbox = node.call(me.number, "inbox_open", vec![id, int(0)]).await;
    if let (Answer::Value(_), Answer::Value(_)) = (opened, inbox) {
        let client = EngineClient {
            node: node.clone(),
            me: me.clone(),
            number,
            early: RefCell::default(),
        };
        client.run(rounds).await;
    }
    node.die(&me).await;
    node.engine_clients_running
        .set(node.engine_clients_running.get() - 1);
}

impl EngineClient {
    fn id(&self) -> Term {
        int(FIRST + self.number as i64)
    }

    fn problem(&self, what: &str) {
        let number = self.number;
        let what = format!("engine's client {number} on the link: {what}");
        self.node.ledger.problem(what);
    }

    async fn run(&self, rounds: usize) {
        for _ in 0..rounds {
            let node = &self.node;
            let dial = node.call(self.me.number, "client_dial", vec![self.id()]);
            if !matches!(dial.await, Answer::Value(ok) if ok.is("ok")) {
                break;
            }
            let Some(dialled) = self.dialled().await else {
                return;
            };
            match dialled {
                Ok(conn) => {
                    if self.serve(conn).await.is_none() {
                        return;
                    }
                }
                Err(why) => {
                    let stopping = node.ledger.lock().stopping;
                    if node.plan.fair && !node.plan.server.asks && !stopping {
                        self.problem(&format!("cannot connect: {why:?}"));
                    }
                }
            }
            time::sleep(Duration::from_nanos(draw(3_000_000_000))).await;
        }
        let stop = vec![self.id(), int(1001), binary("done")];
        let stopped = self.node.call(self.me.number, "server_stop", stop).await;
        if !matches!(stopped, Answer::Value(_)) {
            return;
        }
        while let Some(term) = self.term().await {
            if term
                .tuple()
                .is_ok_and(|parts| parts[0].is("sockeye_stopped"))
            {
                return;
            }
        }
    }

    /// The next term that the process gets. None if the link has ended.
    async fn term(&self) -> Option<Term> {
        loop {
            match self.me.next().await {
                Message::Term(term) => return Some(term),
                Message::Stop => return None,
                batch @ Message::Batch(..) => self.early.borrow_mut().push_back(batch),
                Message::Event(..) | Message::AllDelivered => {}
            }
        }
    }

    async fn dialled(&self) -> Option<Result<ConnId, Term>> {
        loop {
            let term = self.term().await?;
            let Ok([tag, id, result]) = term.tuple() else {
                continue;
            };
            if !tag.is("sockeye_dialled") {
                continue;
            }
            if *id != self.id() {
                self.problem(&format!("{term:?} is not for it"));
            }
            return match result.tuple() {
                Ok([ok, conn]) if ok.is("ok") => Some(Ok(conn_of(conn)?)),
                _ => Some(Err(result.clone())),
            };
        }
    }

    /// Serves a connection until it is told of its end. None if the link has ended.
    async fn serve(&self, conn: ConnId) -> Option<()> {
        let (mut opened, mut closed, mut over, mut closing) = (false, false, false, false);
        let (mut sent, mut replies, mut next) = (0, 0, 0);
        while !over || !closed {
            let early = self.early.borrow_mut().pop_front();
            let message = match early {
                Some(message) => message,
                None => self.me.next().await,
            };
            let (id, events) = match message {
                Message::Stop => return None,
                Message::Batch(id, events) => (id, events),
                Message::Term(term) => {
                    if let Ok([tag, _, of, _]) = term.tuple()
                        && tag.is("sockeye_disconnected")
                    {
                        if over || conn_of(of) != Some(conn) {
                            self.problem(&format!("{term:?}, and {conn:?} is served"));
                        }
                        over = true;
                    }
                    continue;
                }
                Message::Event(..) | Message::AllDelivered => continue,
            };
            let mut commands = Vec::new();
            for (of, event) in events {
                let event = event_of(&event);
                trace::note(&[12, conn.as_u64(), kind(&event)], || {
                    format!("event of the client's {of:?}: {}", kind(&event))
                });
                if conn_of(&of) != Some(conn) || closed {
                    self.problem(&format!("{event:?} of {of:?} and not of {conn:?}"));
                }
                match event {
                    VmEvent::Open(_) if opened => self.problem("it is opened twice"),
                    VmEvent::Open(_) => {
                        opened = true;
                        sent = self.send_messages(conn, &mut commands);
                    }
                    VmEvent::Text(text) if text.starts_with(b"topic") => {}
                    VmEvent::Text(text) => {
                        // A refused reply is known later, and takes a number.
                        let number = word(without_json(&text), 1);
                        if number < next {
                            self.problem(&format!("reply {number} came behind {next}"));
                        }
                        next = number + 1;
                        replies += 1;
                    }
                    VmEvent::Ending => {
                        let me = self.me.number;
                        self.node.cast(me, "answered", vec![conn_term(conn)]);
                    }
                    VmEvent::Closed(_) => closed = true,
                    VmEvent::Passive | VmEvent::Other => {}
                }
            }
            if opened && !closed && !closing && (replies >= sent || chance(1, 10)) {
                closing = true;
                let close = vec![atom("close"), int(1000), binary("")];
                commands.push((conn, tuple(close)));
            }
            self.node.commands(self.me.number, id, 1, &mut commands);
        }
        Some(())
    }

    /// Sends some messages: how many, each of which asks for a reply.
    fn send_messages(&self, conn: ConnId, commands: &mut Vec<(ConnId, Term)>) -> usize {
        let count = draw(4) as usize;
        for number in 0..count {
            let message = format!("d{} {number} 1 20 ", self.number);
            let message = match self.node.plan.port.is_some_and(|port| port.json) {
                true => as_json(&message),
                false => message,
            };
            commands.push((conn, text(message.as_bytes())));
        }
        count
    }
}
