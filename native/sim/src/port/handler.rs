//! Handlers, and who starts them: they get batches, and say what they want done at the end of each.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use sockeye_simulated_engine::active::SetActive;
use sockeye_simulated_engine::{Active, ConnId};
use sockeye_world::{chance, draw, draw_from, time, trace};

use super::machine::{Machine, PUBLISH};
use super::mail::{Answer, Mail, Process};
use super::terms::{SERVER, conn_of, conn_term, failures, json, reply_of, text};
use crate::client::BESIDE;
use crate::process::{Exit, Got, note, word};
use crate::requests::Request;
use crate::terms::{Term, atom, binary, bytes, int, list, tagged, tuple};

const TOPICS: [&str; 3] = ["a", "ab", "b"];

/// What an event of a batch is here.
pub(super) fn got(event: &Term) -> Got {
    let Ok(parts) = event.tuple() else {
        return match event.is("passive") {
            true => Got::Passive,
            false => Got::Ending,
        };
    };
    match parts {
        [tag, info] if tag.is("open") => {
            let path = info.get("path").and_then(|path| path.read());
            Got::Open(path.unwrap_or_default())
        }
        [tag, Term::Binary(text)] if tag.is("text") => Got::Text(text.to_vec()),
        [tag, value] if tag.is("json") => Got::Text(json_text(value)),
        [tag, code, ..] if tag.is("closed") => Got::Closed(code.read().unwrap_or_default()),
        [tag, _] if tag.is("ending") => Got::Ending,
        _ => Got::Other,
    }
}

/// The text in a message that is JSON, if what stands beside it is right.
fn json_text(value: &Term) -> Vec<u8> {
    let Term::Map(pairs) = value else {
        return b"no object".to_vec();
    };
    let of = |wanted: &str| {
        let key = binary(wanted);
        pairs.iter().find(|(known, _)| *known == key)
    };
    let beside = [
        atom("null"),
        atom("true"),
        Term::Float(BESIDE),
        binary("\u{e9}"),
    ];
    match (of("l"), of("t")) {
        (Some((_, Term::List(list))), Some((_, Term::Binary(text)))) if *list == beside => {
            text.to_vec()
        }
        // From a client of the engine's, which has sent no JSON.
        (None, Some((_, Term::Binary(text)))) => text.to_vec(),
        _ => b"another object".to_vec(),
    }
}

impl Machine {
    /// A worker of the pool, and those that come after it.
    pub(super) async fn worker(self: Rc<Self>, slot: usize) {
        while self.serve_inbox(int(slot as i64), None).await.is_some() {
            self.a_while().await;
        }
    }

    /// Who starts a process for each connection.
    pub(super) async fn acceptor(self: Rc<Self>) {
        let me = self.process();
        let opened = self.call(me.number, "inbox_open", vec![int(SERVER), atom("acceptor")]);
        let Answer::Value(_) = opened.await else {
            return self.die(&me).await;
        };
        loop {
            match me.next().await {
                Mail::Batch(id, events) => {
                    for (conn, event) in events {
                        let Some(conn) = conn_of(&conn) else { continue };
                        if got(&event) == Got::Closed(0) || !matches!(got(&event), Got::Open(_)) {
                            continue;
                        }
                        self.pause().await;
                        if !self.happens(self.plan.processes.missing) {
                            let machine = self.clone();
                            self.spawn(async move {
                                machine.serve_inbox(conn_term(conn), Some(conn)).await;
                            });
                        } else if chance(1, 2) {
                            self.cast(me.number, "no_process", vec![conn_term(conn)]);
                        }
                    }
                    self.commands(me.number, id, 1, &mut Vec::new());
                }
                Mail::Stop => return self.die(&me).await,
                _ => {}
            }
        }
    }

    /// The life of one handler. None if there is to be no other in its place.
    async fn serve_inbox(self: &Rc<Self>, slot: Term, only: Option<ConnId>) -> Option<()> {
        self.pause().await;
        let me = self.process();
        let opened = self
            .call(me.number, "inbox_open", vec![int(SERVER), slot])
            .await;
        let Answer::Value(Term::Integer(id)) = opened else {
            self.die(&me).await;
            return None;
        };
        let mut handler = Handler {
            machine: self.clone(),
            me: me.clone(),
            id: id as u64,
            patience: 200,
        };
        let exit = handler.serve(only).await;
        trace::note(&[10, me.number.into()], || {
            format!("process {} ends: {exit:?}", me.number)
        });
        if exit == Some(Exit::Crash) {
            self.orphan(me.number);
        }
        self.die(&me).await;
        if exit == Some(Exit::Crash) {
            self.orphan(me.number);
        }
        exit.map(|_| ())
    }

    /// Publishes something, for which nothing is answered.
    pub(super) fn publish(&self, by: u32, conn: ConnId) {
        let id = {
            let mut book = self.book.open();
            book.publications += 1;
            book.publications
        };
        let size = draw(40) as usize;
        let frame = text(format!("topic {id} {by} {}", "t".repeat(size)).as_bytes());
        let to = match chance(1, 4) {
            true => atom("all"),
            false => binary(draw_from(&TOPICS)),
        };
        let except = match chance(1, 4) {
            true => conn_term(conn),
            false => atom("none"),
        };
        let mut body = 0_u64.to_be_bytes().to_vec();
        let what = list(vec![atom("note"), int(SERVER), to, frame, except]);
        body.extend(bytes(&what));
        self.post(by, PUBLISH, body);
    }

    /// Something at a bad moment.
    pub(super) fn meddle(self: &Rc<Self>, by: u32, conn: ConnId) {
        let topic = || binary(draw_from(&TOPICS));
        let (function, args) = match draw(6) {
            0 => ("conn_info", vec![conn_term(conn)]),
            1 => ("connections", vec![int(SERVER), atom("all")]),
            2 => ("subscribe", vec![conn_term(conn), topic()]),
            3 => ("unsubscribe", vec![conn_term(conn), topic()]),
            4 => {
                let ping = tagged("ping_interval", int(500 + draw(30_000) as i64));
                ("setopts", vec![conn_term(conn), list(vec![ping])])
            }
            _ => {
                let watcher = self.process();
                let pid = crate::terms::process(watcher.number);
                let machine = self.clone();
                self.spawn(async move {
                    let args = vec![conn_term(conn), pid];
                    let known = machine.call(watcher.number, "watch_conn", args).await;
                    let known = matches!(known, Answer::Value(ok) if ok.is("ok"));
                    let told = async {
                        let mail = watcher.next().await;
                        let is_down =
                            |term: &Term| term.tuple().is_ok_and(|p| p[0].is("sockeye_down"));
                        matches!(mail, Mail::Term(term) if is_down(&term))
                    };
                    if known {
                        // Or it is stopped.
                        let _ = told.await;
                    }
                    machine.die(&watcher).await;
                });
                return;
            }
        };
        if function == "subscribe" && chance(1, 2) {
            return self.cast(by, function, args);
        }
        let machine = self.clone();
        self.spawn(async move {
            machine.call(by, function, args).await;
        });
    }

    /// Subscribes a new connection.
    pub(super) fn subscribe(&self, by: u32, conn: ConnId) {
        if self.plan.processes.publishes > 0 && chance(2, 3) {
            let topic = binary(draw_from(&TOPICS));
            self.cast(by, "subscribe", vec![conn_term(conn), topic]);
        }
    }
}

struct Handler {
    machine: Rc<Machine>,
    me: Rc<Process>,
    id: u64,
    /// Replies that are tried again.
    patience: usize,
}

impl Handler {
    /// None if it was told to stop.
    async fn serve(&mut self, only: Option<ConnId>) -> Option<Exit> {
        let machine = self.machine.clone();
        loop {
            match self.me.next().await {
                Mail::Batch(id, events) => {
                    debug_assert_eq!(id, self.id);
                    let mut wanted = VecDeque::new();
                    let mut over = false;
                    for (conn, event) in events {
                        let Some(conn) = conn_of(&conn) else { continue };
                        if machine.happens(machine.plan.processes.crashes) {
                            return Some(Exit::Crash);
                        }
                        machine.pause().await;
                        over |= self.handle(conn, &got(&event), &mut wanted);
                        if let Some(exit) = self.say_in_pieces(&mut wanted).await {
                            return Some(exit);
                        }
                        if got(&event) == Got::Ending {
                            self.say(0, &mut wanted);
                            machine.cast(self.me.number, "answered", vec![conn_term(conn)]);
                        }
                    }
                    self.say(1, &mut wanted);
                    machine.room().await;
                    if over && only.is_some() {
                        return Some(Exit::Normal);
                    }
                }
                Mail::Term(term) => self.try_again(&term).await,
                Mail::Event(..) => {}
                Mail::Stop => {
                    let (id, me) = (int(self.id as i64), self.me.clone());
                    let machine = machine.clone();
                    self.machine.spawn(async move {
                        machine.call(me.number, "inbox_rest", vec![id]).await;
                        me.put(Mail::Rest);
                    });
                }
                Mail::Rest => return None,
            }
        }
    }

    /// Says the replies that are to go in pieces.
    async fn say_in_pieces(&self, wanted: &mut VecDeque<Request>) -> Option<Exit> {
        for request in std::mem::take(wanted) {
            let Request::InPieces(conn, client, size) = request else {
                wanted.push_back(request);
                continue;
            };
            let of = (client, size);
            let said = self.machine.say_in_pieces(self.me.number, conn, of, true);
            if let Some(exit) = said.await {
                return Some(exit);
            }
        }
        None
    }

    /// Says what it wants done, with which so many batches are acknowledged.
    fn say(&self, acks: u8, wanted: &mut VecDeque<Request>) {
        let commands = wanted
            .drain(..)
            .filter_map(|request| frame(&self.machine, &request));
        let mut commands: Vec<_> = commands.collect();
        if acks > 0 || !commands.is_empty() {
            self.machine
                .commands(self.me.number, self.id, acks, &mut commands);
        }
    }

    /// Handles an event. True if it was the last of its connection.
    fn handle(&self, conn: ConnId, got: &Got, wanted: &mut VecDeque<Request>) -> bool {
        let machine = &self.machine;
        note(
            &machine.book,
            &machine.plan,
            self.me.number.into(),
            conn,
            got,
        );
        react(machine, self.me.number, conn, got, wanted);
        matches!(got, Got::Closed(_))
    }

    /// What found a full queue is tried again later, as another reply.
    async fn try_again(&mut self, term: &Term) {
        let mut again = VecDeque::new();
        for (conn, frame, why) in failures(term) {
            let is_busy = why.is("busy") && (self.patience > 0 || self.machine.plan.fair);
            if let (Some((client, _, size)), Some(conn)) = (reply_of(frame), conn_of(conn)) {
                if is_busy {
                    self.patience = self.patience.saturating_sub(1);
                    again.push_back(Request::Reply(conn, client, size));
                }
            } else if frame.tuple().is_ok_and(|parts| parts[0].is("close"))
                && let Some(conn) = conn_of(conn)
                && let Some(client) = self.machine.book.client_of(conn)
            {
                self.machine.book.of(client, |a| a.close_asked = None);
            }
        }
        if !again.is_empty() {
            time::sleep(Duration::from_millis(20)).await;
            self.say(0, &mut again);
        }
    }
}

/// What any process wants done when an event comes.
pub(super) fn react(
    machine: &Rc<Machine>,
    by: u32,
    conn: ConnId,
    got: &Got,
    wanted: &mut VecDeque<Request>,
) {
    let plan = &machine.plan;
    if machine.happens(plan.processes.meddles) {
        machine.meddle(by, conn);
    }
    let once = Request::Active(conn, SetActive::To(Active::Once));
    match got {
        Got::Text(text) => {
            let (replies, size) = (word(text, 2), word(text, 3));
            let client = machine.book.client_of(conn).unwrap_or(usize::MAX);
            for _ in 0..replies {
                wanted.push_back(match machine.happens(plan.processes.streams) {
                    true => Request::InPieces(conn, client, size),
                    false => Request::Reply(conn, client, size),
                });
            }
            if plan.server.active == Active::Once {
                wanted.push_back(once);
            }
            if machine.happens(plan.processes.publishes) {
                machine.publish(by, conn);
            }
            if machine.happens(plan.processes.closes) {
                wanted.push_back(Request::Close(conn, 3000 + draw(3) as u16));
            }
        }
        Got::Other if plan.server.active == Active::Once => wanted.push_back(once),
        Got::Passive => {
            let more = 1 + draw(5) as i32;
            wanted.push_back(Request::Active(conn, SetActive::Add(more)));
        }
        Got::Open(_) => machine.subscribe(by, conn),
        Got::Other | Got::Ending | Got::Closed(_) => {}
    }
}

/// The frame of a request, which is entered into the book. None if there is nothing to say.
pub(super) fn frame(machine: &Machine, request: &Request) -> Option<(ConnId, Term)> {
    let book = &machine.book;
    match *request {
        Request::Reply(conn, client, size) => {
            let number = book.of(client, |a| a.accepted)?;
            let mut reply = format!("{client} {number} ");
            let pad = size.saturating_sub(reply.len());
            reply.extend(std::iter::repeat_n('r', pad));
            book.of(client, |a| {
                a.accepted += 1;
                a.largest = a.largest.max(reply.len() + 20);
            });
            let is_json = machine.plan.port.is_some_and(|port| port.json_replies) && chance(1, 2);
            Some((
                conn,
                if is_json {
                    json(&reply)
                } else {
                    text(reply.as_bytes())
                },
            ))
        }
        // Said otherwise.
        Request::Piece(_) | Request::InPieces(..) => None,
        Request::Close(conn, code) => {
            let client = book.client_of(conn)?;
            let first = book.of(client, |a| {
                let first = a.close_asked.is_none();
                if first {
                    a.close_asked = Some((code, a.accepted));
                }
                first
            })?;
            let close = || tuple(vec![atom("close"), int(code.into()), binary("")]);
            first.then(|| (conn, close()))
        }
        Request::Active(conn, change) => {
            if let Some(client) = book.client_of(conn) {
                book.of(client, |account| match (change, &mut account.credits) {
                    (SetActive::Add(n), Some(credits)) => *credits += i64::from(n),
                    (_, Some(credits)) => *credits = 1,
                    _ => {}
                });
            }
            let value = match change {
                SetActive::Add(n) => int(n.into()),
                SetActive::To(_) => atom("once"),
            };
            Some((conn, tagged("active", value)))
        }
    }
}
