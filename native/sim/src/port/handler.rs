//! Handlers: workers of a pool, and a process for each connection. They get batches, and send what they want done at the end of each.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use sockeye_simulated_engine::ConnId;
use sockeye_world::{chance, time, trace};

use super::node::Node;
use super::process::{Answer, Message, Process};
use super::react::{react, to_frame};
use super::terms::{SERVER, conn_of, conn_term, event_of, failures, reply_of};
use crate::terms::{Term, atom, int};
use crate::vm::event::{Exit, VmEvent, note};
use crate::vm::operation::Operation;

impl Node {
    /// A worker of the pool, and those that come after it.
    pub(super) async fn worker(self: Rc<Self>, slot: usize) {
        while self.serve_inbox(int(slot as i64), None).await.is_some() {
            self.behaviour.monitor_delay().await;
        }
    }

    /// The process that starts another one for each connection.
    pub(super) async fn acceptor(self: Rc<Self>) {
        let me = self.process();
        let opened = self.call(me.number, "inbox_open", vec![int(SERVER), atom("acceptor")]);
        let Answer::Value(_) = opened.await else {
            return self.die(&me).await;
        };
        loop {
            match me.next().await {
                Message::Batch(id, events) => {
                    for (conn, event) in events {
                        let Some(conn) = conn_of(&conn) else { continue };
                        if event_of(&event) == VmEvent::Closed(0)
                            || !matches!(event_of(&event), VmEvent::Open(_))
                        {
                            continue;
                        }
                        self.behaviour.pause().await;
                        if !self.behaviour.happens(self.plan.processes.missing) {
                            let node = self.clone();
                            self.spawn(async move {
                                node.serve_inbox(conn_term(conn), Some(conn)).await;
                            });
                        } else if chance(1, 2) {
                            self.cast(me.number, "no_process", vec![conn_term(conn)]);
                        }
                    }
                    self.commands(me.number, id, 1, &mut Vec::new());
                }
                Message::Stop => return self.die(&me).await,
                _ => {}
            }
        }
    }

    /// Runs a handler. None if no other one is to take its place.
    async fn serve_inbox(self: &Rc<Self>, slot: Term, only: Option<ConnId>) -> Option<()> {
        self.behaviour.pause().await;
        let me = self.process();
        let opened = self
            .call(me.number, "inbox_open", vec![int(SERVER), slot])
            .await;
        let Answer::Value(Term::Integer(id)) = opened else {
            self.die(&me).await;
            return None;
        };
        let mut handler = Handler {
            node: self.clone(),
            me: me.clone(),
            id: id as u64,
            retries: 200,
        };
        let exit = handler.serve(only).await;
        trace::note(&[10, me.number.into()], || {
            format!("process {} ends: {exit:?}", me.number)
        });
        if exit == Some(Exit::Crash) {
            self.note_death(me.number);
        }
        self.die(&me).await;
        if exit == Some(Exit::Crash) {
            self.note_death(me.number);
        }
        exit.map(|_| ())
    }
}

/// A handler.
struct Handler {
    node: Rc<Node>,
    me: Rc<Process>,
    id: u64,
    /// How many replies are still tried again.
    retries: usize,
}

impl Handler {
    /// Handles batches until it ends. None if it was told to stop.
    async fn serve(&mut self, only: Option<ConnId>) -> Option<Exit> {
        let node = self.node.clone();
        loop {
            match self.me.next().await {
                Message::Batch(id, events) => {
                    debug_assert_eq!(id, self.id);
                    let mut operations = VecDeque::new();
                    let mut over = false;
                    for (conn, event) in events {
                        let Some(conn) = conn_of(&conn) else { continue };
                        if node.behaviour.happens(node.plan.processes.crashes) {
                            return Some(Exit::Crash);
                        }
                        node.behaviour.pause().await;
                        over |= self.handle(conn, &event_of(&event), &mut operations);
                        if let Some(exit) = self.send_pieces(&mut operations).await {
                            return Some(exit);
                        }
                        if event_of(&event) == VmEvent::Ending {
                            self.send(0, &mut operations);
                            node.cast(self.me.number, "answered", vec![conn_term(conn)]);
                        }
                    }
                    self.send(1, &mut operations);
                    node.wait_for_room().await;
                    if over && only.is_some() {
                        return Some(Exit::Normal);
                    }
                }
                Message::Term(term) => self.try_again(&term).await,
                Message::Event(..) => {}
                Message::Stop => {
                    let (id, me) = (int(self.id as i64), self.me.clone());
                    let node = node.clone();
                    self.node.spawn(async move {
                        node.call(me.number, "inbox_rest", vec![id]).await;
                        me.put(Message::AllDelivered);
                    });
                }
                Message::AllDelivered => return None,
            }
        }
    }

    /// Sends the replies that are to go in pieces.
    async fn send_pieces(&self, operations: &mut VecDeque<Operation>) -> Option<Exit> {
        for operation in std::mem::take(operations) {
            let Operation::InPieces(conn, client, size) = operation else {
                operations.push_back(operation);
                continue;
            };
            let of = (client, size);
            let sent = self.node.send_in_pieces(self.me.number, conn, of, true);
            if let Some(exit) = sent.await {
                return Some(exit);
            }
        }
        None
    }

    /// Sends what it wants done, and acknowledges so many batches.
    fn send(&self, acks: u8, operations: &mut VecDeque<Operation>) {
        let commands = operations
            .drain(..)
            .filter_map(|operation| to_frame(&self.node, &operation));
        let mut commands: Vec<_> = commands.collect();
        if acks > 0 || !commands.is_empty() {
            self.node
                .commands(self.me.number, self.id, acks, &mut commands);
        }
    }

    /// Handles an event. True if it was the last of its connection.
    fn handle(&self, conn: ConnId, event: &VmEvent, operations: &mut VecDeque<Operation>) -> bool {
        let node = &self.node;
        note(&node.ledger, &node.plan, self.me.number.into(), conn, event);
        react(node, self.me.number, conn, event, operations);
        matches!(event, VmEvent::Closed(_))
    }

    /// Tries again, as another reply, what has found a full queue.
    async fn try_again(&mut self, term: &Term) {
        let mut again = VecDeque::new();
        for (conn, frame, why) in failures(term) {
            let is_busy = why.is("busy") && (self.retries > 0 || self.node.plan.fair);
            if let (Some((client, _, size)), Some(conn)) = (reply_of(frame), conn_of(conn)) {
                if is_busy {
                    self.retries = self.retries.saturating_sub(1);
                    again.push_back(Operation::Reply(conn, client, size));
                }
            } else if frame.tuple().is_ok_and(|parts| parts[0].is("close"))
                && let Some(conn) = conn_of(conn)
                && let Some(client) = self.node.ledger.client_of(conn)
            {
                self.node
                    .ledger
                    .update(client, |a| a.close_requested = None);
            }
        }
        if !again.is_empty() {
            time::sleep(Duration::from_millis(20)).await;
            self.send(0, &mut again);
        }
    }
}
