//! Plain processes which own connections, those that bring their events.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use sockeye_simulated_engine::ConnId;
use sockeye_world::{draw, time, trace};

use super::handler::{frame, got, react};
use super::machine::Machine;
use super::mail::{Answer, Mail, Process};
use super::terms::{conn_of, conn_term, reply_of};
use crate::process::{Exit, note};
use crate::requests::Request;
use crate::terms::{list, process};

/// Starts who brings an owner its events.
pub(super) fn courier(machine: &Rc<Machine>, owner: Rc<Process>, id: u64) -> Rc<Process> {
    let me = machine.process();
    machine.served.borrow_mut().insert(owner.number);
    let (courier, machine) = (me.clone(), machine.clone());
    machine.clone().spawn(async move {
        loop {
            match me.next().await {
                Mail::Batch(of, events) => {
                    debug_assert_eq!(of, id);
                    for (conn, event) in events {
                        if let Some(conn) = conn_of(&conn) {
                            owner.put(Mail::Event(conn, got(&event)));
                        }
                    }
                    machine.commands(me.number, id, 1, &mut Vec::new());
                }
                Mail::Stop => {
                    owner.put(Mail::Rest);
                    return machine.die(&me).await;
                }
                _ => {}
            }
        }
    });
    courier
}

impl Machine {
    /// A plain process, and those that come after it: which have the owner's name, and which may crash.
    pub(super) async fn owner(self: Rc<Self>, me: Rc<Process>, is_named: bool, may_crash: bool) {
        let mut me = me;
        loop {
            if is_named {
                self.named.set(Some(me.number));
            }
            let exit = self.own(&me, may_crash).await;
            trace::note(&[10, me.number.into()], || {
                format!("owner {} ends: {exit:?}", me.number)
            });
            if exit == Some(Exit::Crash) {
                self.orphan(me.number);
            }
            self.owners.borrow_mut().retain(|known| *known != me.number);
            self.die(&me).await;
            if exit.is_none() {
                return;
            }
            self.orphan(me.number);
            self.a_while().await;
            me = self.process();
            self.owners.borrow_mut().push(me.number);
        }
    }

    /// None if it was told to stop.
    async fn own(self: &Rc<Self>, me: &Process, may_crash: bool) -> Option<Exit> {
        loop {
            match me.next().await {
                Mail::Event(conn, got) => {
                    if may_crash && self.happens(self.plan.processes.crashes) {
                        return Some(Exit::Crash);
                    }
                    self.pause().await;
                    note(&self.book, &self.plan, me.number.into(), conn, &got);
                    let mut wanted = VecDeque::new();
                    react(self, me.number, conn, &got, &mut wanted);
                    self.carry_out(me, &mut wanted).await;
                    if got == crate::process::Got::Ending {
                        self.cast(me.number, "answered", vec![conn_term(conn)]);
                    }
                    if self.happens(self.plan.processes.moves) {
                        self.give_away(me, conn);
                    }
                }
                // What its courier has for it comes before.
                Mail::Stop if self.served.borrow().contains(&me.number) => {}
                Mail::Stop | Mail::Rest => return None,
                Mail::Batch(..) | Mail::Term(_) => {}
            }
        }
    }

    /// Says one thing after the other, and hears of each what has come of it.
    async fn carry_out(self: &Rc<Self>, me: &Process, wanted: &mut VecDeque<Request>) {
        let mut patience = 200;
        while let Some(request) = wanted.pop_front() {
            if let Request::InPieces(conn, client, size) = request {
                let said = self.say_in_pieces(me.number, conn, (client, size), false);
                said.await;
                continue;
            }
            let Some((conn, frame)) = frame(self, &request) else {
                continue;
            };
            let reply = reply_of(&frame);
            let is_text = frame.tuple().is_ok_and(|parts| parts[0].is("text"));
            if let Some((client, number, len)) = reply
                && is_text
                && self.take_grant(me.number, conn, &frame, len)
            {
                self.book.of(client, |a| a.unasked.insert(number));
                self.room().await;
                continue;
            }
            let (function, args) = match (&request, frame) {
                (Request::Active(..), frame) => {
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
                self.book.refused(client, number);
                if is_busy && (patience > 0 || self.plan.fair) {
                    patience -= 1;
                    wanted.push_front(request);
                    time::sleep(Duration::from_millis(20)).await;
                }
            } else if let Request::Close(conn, _) = request
                && let Some(client) = self.book.client_of(conn)
            {
                self.book.of(client, |a| a.close_asked = None);
            }
        }
    }

    /// Gives a connection to any owner.
    fn give_away(self: &Rc<Self>, me: &Process, conn: ConnId) {
        let to = {
            let owners = self.owners.borrow();
            owners.get(draw(owners.len() as u64) as usize).copied()
        };
        let (Some(to), Some(client)) = (to, self.book.client_of(conn)) else {
            return;
        };
        self.book.of(client, |a| {
            a.moved = true;
            // Two see its events now, and none of them all.
            a.credits = None;
            a.inboxes.push(to.into());
        });
        let (machine, by) = (self.clone(), me.number);
        self.spawn(async move {
            let args = vec![conn_term(conn), process(to)];
            machine.call(by, "controlling_process", args).await;
        });
    }
}
