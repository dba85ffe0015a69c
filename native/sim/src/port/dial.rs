//! The engine's own clients, where it is a process of its own: each is one process of the VM, which dials, talks, and dials again.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use sockeye_simulated_engine::ConnId;
use sockeye_world::{chance, draw, time, trace};

use super::handler::got;
use super::machine::Machine;
use super::mail::{Answer, Mail, Process};
use super::settings::versions;
use super::terms::{conn_of, conn_term, text};
use crate::client::as_json;
use crate::dial::NAME;
use crate::options::config;
use crate::process::{Got, kind, word};
use crate::terms::{Term, atom, binary, int, list, tuple};

/// The number of the first of them; servers have others.
const FIRST: i64 = 100;

struct Dialler {
    machine: Rc<Machine>,
    me: Rc<Process>,
    number: usize,
    /// Events that have come before it was told of their connection.
    early: RefCell<VecDeque<Mail>>,
}

/// Settings of its TLS. Worlds that live at the same time share no sessions.
fn tls() -> Term {
    let pairs = [
        ("versions", versions()),
        ("verify", atom("none")),
        ("cacertfile", binary(crate::tls::unlike_others())),
        ("pin", list(Vec::new())),
        ("identity", atom("undefined")),
        ("sni", binary(NAME)),
    ];
    Term::Map(pairs.map(|(key, value)| (atom(key), value)).to_vec())
}

/// Settings of a client.
fn settings(machine: &Machine, number: usize, port: u16) -> Term {
    let seconds = if machine.plan.fair { 2000 } else { 5 };
    let has_tls = machine.plan.tls.is_some();
    let scheme = if has_tls { "wss" } else { "ws" };
    let dial = [
        ("url", binary(format!("{scheme}://{NAME}:{port}/d{number}"))),
        ("connect_timeout", int(1000 * seconds)),
        ("headers", list(Vec::new())),
        ("host", atom("undefined")),
        ("redirects", int(0)),
        ("proxy", atom("undefined")),
        ("tls", if has_tls { tls() } else { atom("undefined") }),
    ];
    let dial = dial.map(|(key, value)| (atom(key), value)).to_vec();
    let inbox = machine.plan.server.inbox_size as i64;
    let options = [
        ("inbox_size", int(inbox)),
        (
            "close_timeout",
            int(machine.plan.server.close_timeout.as_millis() as i64),
        ),
        ("idle_timeout", atom("infinity")),
        // Nobody else finds out that a link has fallen silent.
        ("ping_interval", int(10_000)),
        (
            "pong_timeout",
            int(if machine.plan.fair {
                100_000_000
            } else {
                20_000
            }),
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

/// Lives a client with so many connections, one after the other.
pub(super) async fn run(machine: Rc<Machine>, number: usize, rounds: usize, port: u16) {
    time::sleep(Duration::from_nanos(draw(2_000_000_000))).await;
    let me = machine.process();
    let map = settings(&machine, number, port);
    let opened = machine.call(me.number, "client_open", vec![map]).await;
    let id = int(FIRST + number as i64);
    let inbox = machine
        .call(me.number, "inbox_open", vec![id, int(0)])
        .await;
    if let (Answer::Value(_), Answer::Value(_)) = (opened, inbox) {
        let dialler = Dialler {
            machine: machine.clone(),
            me: me.clone(),
            number,
            early: RefCell::default(),
        };
        dialler.live(rounds).await;
    }
    machine.die(&me).await;
    machine.diallers.set(machine.diallers.get() - 1);
}

impl Dialler {
    fn id(&self) -> Term {
        int(FIRST + self.number as i64)
    }

    fn problem(&self, what: &str) {
        let number = self.number;
        let what = format!("engine's client {number} on the link: {what}");
        self.machine.book.problem(what);
    }

    async fn live(&self, rounds: usize) {
        for _ in 0..rounds {
            let machine = &self.machine;
            let dials = machine.call(self.me.number, "client_dial", vec![self.id()]);
            if !matches!(dials.await, Answer::Value(ok) if ok.is("ok")) {
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
                    let stopping = machine.book.open().stopping;
                    if machine.plan.fair && !machine.plan.server.asks && !stopping {
                        self.problem(&format!("cannot connect: {why:?}"));
                    }
                }
            }
            time::sleep(Duration::from_nanos(draw(3_000_000_000))).await;
        }
        let stop = vec![self.id(), int(1001), binary("done")];
        let stopped = self.machine.call(self.me.number, "server_stop", stop).await;
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

    /// What the client's process is told next. None if the engine is lost.
    async fn term(&self) -> Option<Term> {
        loop {
            match self.me.next().await {
                Mail::Term(term) => return Some(term),
                Mail::Stop => return None,
                batch @ Mail::Batch(..) => self.early.borrow_mut().push_back(batch),
                Mail::Event(..) | Mail::Rest => {}
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

    /// Serves a connection until it is told of its end. None if the engine is lost.
    async fn serve(&self, conn: ConnId) -> Option<()> {
        let (mut opened, mut closed, mut over, mut closing) = (false, false, false, false);
        let (mut said, mut replies, mut next) = (0, 0, 0);
        while !over || !closed {
            let early = self.early.borrow_mut().pop_front();
            let mail = match early {
                Some(mail) => mail,
                None => self.me.next().await,
            };
            let (id, events) = match mail {
                Mail::Stop => return None,
                Mail::Batch(id, events) => (id, events),
                Mail::Term(term) => {
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
                Mail::Event(..) | Mail::Rest => continue,
            };
            let mut commands = Vec::new();
            for (of, event) in events {
                let got = got(&event);
                trace::note(&[12, conn.as_u64(), kind(&got)], || {
                    format!("event of the client's {of:?}: {}", kind(&got))
                });
                if conn_of(&of) != Some(conn) || closed {
                    self.problem(&format!("{got:?} of {of:?} and not of {conn:?}"));
                }
                match got {
                    Got::Open(_) if opened => self.problem("it is opened twice"),
                    Got::Open(_) => {
                        opened = true;
                        said = self.speak(conn, &mut commands);
                    }
                    Got::Text(text) if text.starts_with(b"topic") => {}
                    Got::Text(text) => {
                        // That one is refused is known later, and the next one has another number.
                        let number = word(crate::client::unwrapped(&text), 1);
                        if number < next {
                            self.problem(&format!("reply {number} came behind {next}"));
                        }
                        next = number + 1;
                        replies += 1;
                    }
                    Got::Ending => {
                        let me = self.me.number;
                        self.machine.cast(me, "answered", vec![conn_term(conn)]);
                    }
                    Got::Closed(_) => closed = true,
                    Got::Passive | Got::Other => {}
                }
            }
            if opened && !closed && !closing && (replies >= said || chance(1, 10)) {
                closing = true;
                let close = vec![atom("close"), int(1000), binary("")];
                commands.push((conn, tuple(close)));
            }
            self.machine.commands(self.me.number, id, 1, &mut commands);
        }
        Some(())
    }

    /// Says some messages, and for how many replies.
    fn speak(&self, conn: ConnId, commands: &mut Vec<(ConnId, Term)>) -> usize {
        let count = draw(4) as usize;
        for number in 0..count {
            let message = format!("d{} {number} 1 20 ", self.number);
            let message = match self.machine.plan.port.is_some_and(|port| port.json) {
                true => as_json(&message),
                false => message,
            };
            commands.push((conn, text(message.as_bytes())));
        }
        count
    }
}
