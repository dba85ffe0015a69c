//! Plain processes that own connections. A delivery process sends them their events.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use sockeye_simulated_engine::ConnId;
use sockeye_world::{draw, time, trace};

use super::node::Node;
use super::process::{Answer, Message, Process};
use super::react::{react, to_frame};
use super::terms::{conn_term, reply_of};
use crate::terms::{list, process};
use crate::vm::event::{Exit, note};
use crate::vm::operation::Operation;

impl Node {
    /// A plain process, and those that come after it: whether they have the owner's name, and whether they may crash.
    pub(super) async fn owner(self: Rc<Self>, me: Rc<Process>, is_named: bool, may_crash: bool) {
        let mut me = me;
        loop {
            if is_named {
                self.named.set(Some(me.number));
            }
            let exit = self.serve_owner(&me, may_crash).await;
            trace::note(&[10, me.number.into()], || {
                format!("owner {} ends: {exit:?}", me.number)
            });
            if exit == Some(Exit::Crash) {
                self.note_death(me.number);
            }
            self.owners.borrow_mut().retain(|known| *known != me.number);
            self.die(&me).await;
            if exit.is_none() {
                return;
            }
            self.note_death(me.number);
            self.behaviour.monitor_delay().await;
            me = self.process();
            self.owners.borrow_mut().push(me.number);
        }
    }

    /// None if it was told to stop.
    async fn serve_owner(self: &Rc<Self>, me: &Process, may_crash: bool) -> Option<Exit> {
        loop {
            match me.next().await {
                Message::Event(conn, event) => {
                    if may_crash && self.behaviour.happens(self.plan.processes.crashes) {
                        return Some(Exit::Crash);
                    }
                    self.behaviour.pause().await;
                    note(&self.ledger, &self.plan, me.number.into(), conn, &event);
                    let mut operations = VecDeque::new();
                    react(self, me.number, conn, &event, &mut operations);
                    self.perform(me, &mut operations).await;
                    if event == crate::vm::event::VmEvent::Ending {
                        self.cast(me.number, "answered", vec![conn_term(conn)]);
                    }
                    if self.behaviour.happens(self.plan.processes.moves) {
                        self.give_away(me, conn);
                    }
                }
                // Its delivery process stops it, behind the events that it has.
                Message::Stop if self.has_delivery.borrow().contains(&me.number) => {}
                Message::Stop | Message::AllDelivered => return None,
                Message::Batch(..) | Message::Term(_) => {}
            }
        }
    }

    /// Performs one operation after the other, and waits for the result of each.
    async fn perform(self: &Rc<Self>, me: &Process, operations: &mut VecDeque<Operation>) {
        let mut retries = 200;
        while let Some(operation) = operations.pop_front() {
            if let Operation::InPieces(conn, client, size) = operation {
                let sent = self.send_in_pieces(me.number, conn, (client, size), false);
                sent.await;
                continue;
            }
            let Some((conn, frame)) = to_frame(self, &operation) else {
                continue;
            };
            let reply = reply_of(&frame);
            let is_text = frame.tuple().is_ok_and(|parts| parts[0].is("text"));
            if let Some((client, number, len)) = reply
                && is_text
                && self.send_on_grant(me.number, conn, &frame, len)
            {
                self.ledger
                    .update(client, |a| a.sent_on_grant.insert(number));
                self.wait_for_room().await;
                continue;
            }
            let (function, args) = match (&operation, frame) {
                (Operation::Active(..), frame) => {
                    ("setopts", vec![conn_term(conn), list(vec![frame])])
                }
                (_, frame) => ("send", vec![conn_term(conn), frame]),
            };
            let answer = self.call(me.number, function, args).await;
            let Answer::Value(value) = answer else {
                continue;
            };
            if value.is("ok") {
                continue;
            }
            let is_busy = value.tuple().is_ok_and(|parts| parts[1].is("busy"));
            if let Some((client, number, _)) = reply {
                self.ledger.reply_refused(client, number);
                if is_busy && (retries > 0 || self.plan.fair) {
                    retries -= 1;
                    operations.push_front(operation);
                    time::sleep(Duration::from_millis(20)).await;
                }
            } else if let Operation::Close(conn, _) = operation
                && let Some(client) = self.ledger.client_of(conn)
            {
                self.ledger.update(client, |a| a.close_requested = None);
            }
        }
    }

    /// Gives a connection to any owner.
    fn give_away(self: &Rc<Self>, me: &Process, conn: ConnId) {
        let to = {
            let owners = self.owners.borrow();
            owners.get(draw(owners.len() as u64) as usize).copied()
        };
        let (Some(to), Some(client)) = (to, self.ledger.client_of(conn)) else {
            return;
        };
        self.ledger.update(client, |a| {
            a.changed_owner = true;
            // Two processes get its events now, and neither of them all.
            a.credits = None;
            a.inboxes.push(to.into());
        });
        let (node, by) = (self.clone(), me.number);
        self.spawn(async move {
            let args = vec![conn_term(conn), process(to)];
            node.call(by, "controlling_process", args).await;
        });
    }
}
