//! What the engine sends over the link: answers, batches of events, messages, and whom it watches.

use std::rc::Rc;

use sockeye_simulated_port::link::packets::Incoming;
use sockeye_simulated_port::simulated::CREDIT;
use sockeye_world::trace;

use super::delivery;
use super::node::{Node, Watched};
use super::process::{Answer, Message, Process};
use super::terms::{event_of, failures, reply_of};
use crate::sections::{Section, parse};
use crate::terms::{Term, atom, process};
use crate::vm::event::kind;

impl Node {
    /// Reads until the end of the link.
    pub(super) async fn read(self: Rc<Self>) {
        let mut incoming = Incoming::default();
        loop {
            match self.stream.read_some(64 << 10).await {
                // Behind our own end nothing is read.
                Ok(bytes) if !bytes.is_empty() && !self.is_closed.get() => {
                    incoming.room().extend(bytes)
                }
                _ => break,
            }
            let taken = incoming.sections(|kind, body| {
                self.on_section(parse(kind, body));
                Ok(())
            });
            if let Err(broken) = taken {
                self.ledger.problem(format!(
                    "the engine sends what the protocol forbids: {broken:?}"
                ));
                break;
            }
        }
        trace::note(&[60], || "the link has ended".into());
        self.link_ended();
    }

    /// Who gets what is sent to this Id.
    fn receiver(&self, id: u64) -> Option<Rc<Process>> {
        self.watched.borrow().get(&id)?.receiver.clone()
    }

    fn on_section(self: &Rc<Self>, section: Section) {
        match section {
            Section::Batch { id, events, .. } => {
                trace::note(&[61, id, events.len() as u64], || {
                    let kinds: Vec<_> = events.iter().map(|(_, e)| kind(&event_of(e))).collect();
                    format!("a batch of {} for {id}: {kinds:?}", events.len())
                });
                let Some(process) = self.receiver(id) else {
                    return;
                };
                let mut all = self.unacknowledged.borrow_mut();
                let count = all.entry(id).or_insert(0);
                *count += 1;
                if *count > CREDIT {
                    self.ledger
                        .problem(format!("{count} batches are on their way to {id}"));
                }
                process.put(Message::Batch(id, events));
            }
            Section::Answer(from, answer) => {
                trace::note(&[65, from.into()], || format!("an answer to call {from}"));
                let waiting = self.calls.borrow_mut().remove(&from);
                let Some(waiting) = waiting else {
                    self.ledger
                        .problem(format!("an answer without a call: {answer:?}"));
                    return;
                };
                self.ledger.lock().questions_answered += 1;
                let value = match answer.tuple() {
                    Ok([tag, value]) if tag.is("return") => Answer::Value(value.clone()),
                    _ => Answer::Raised,
                };
                *waiting.answer.borrow_mut() = Some(value);
                waiting.changed.notify_one();
            }
            Section::Message(id, term) => {
                trace::note(&[66, id], || format!("a message for {id}"));
                self.refusals(&term);
                if let Some(process) = self.receiver(id) {
                    process.put(Message::Term(term));
                } else if id == 0 {
                    self.whereis(&term);
                }
            }
            Section::Watch(id, whom) => self.watch(id, &whom),
            Section::Unwatch(id) => {
                let known = self.watched.borrow_mut().remove(&id);
                let known = known.filter(|known| known.is_delivery);
                known
                    .and_then(|known| known.receiver)
                    .inspect(|delivery| delivery.put(Message::Stop));
            }
            Section::Pong(n) => {
                if n > self.pinged.get() || n != self.ponged.get() + 1 {
                    self.ledger
                        .problem(format!("pong {n} behind {}", self.ponged.get()));
                }
                self.ponged.set(n);
            }
            Section::Grant(conn, 0) => {
                self.grants.borrow_mut().remove(&conn);
            }
            Section::Grant(conn, bytes) => {
                self.grants.borrow_mut().insert(conn, bytes.into());
            }
        }
    }

    /// Enters the replies among refused commands into the ledger. Their process may be dead.
    fn refusals(&self, term: &Term) {
        for (_, frame, _) in failures(term) {
            let Some((client, number, _)) = reply_of(frame) else {
                continue;
            };
            self.ledger.reply_refused(client, number);
        }
    }

    fn watch(self: &Rc<Self>, id: u64, whom: &Term) {
        let Ok([role, Term::Process(pid), Term::Integer(host)]) = whom.tuple() else {
            self.ledger
                .problem(format!("this is no process to watch: {whom:?}"));
            return;
        };
        let number = pid
            .len()
            .checked_sub(12)
            .and_then(|at| pid[at..].first_chunk());
        let number = u32::from_be_bytes(*number.unwrap_or(&[0; 4]));
        let process = self.alive.borrow().get(&number).cloned();
        let is_delivery = role.is("plain") || role.is("plain_batch");
        let receiver = match (&process, is_delivery) {
            (Some(owner), true) => Some(delivery::start(self, owner.clone(), id)),
            (process, _) => process.clone(),
        };
        let host = *host as u64;
        let watched = Watched {
            process: number,
            host,
            receiver,
            is_delivery,
        };
        self.watched.borrow_mut().insert(id, watched);
        if process.is_none() {
            self.send_down(id);
        }
    }

    /// Answers which process has the registered name of the owner.
    fn whereis(&self, term: &Term) {
        let Ok([_, server, _, conn]) = term.tuple() else {
            self.ledger
                .problem(format!("an unknown question: {term:?}"));
            return;
        };
        let owner = self
            .alive
            .borrow()
            .values()
            .find(|p| Some(p.number) == self.named.get())
            .map(|p| p.number);
        let owner = owner.map_or_else(|| atom("none"), process);
        self.cast(0, "owner_is", vec![server.clone(), conn.clone(), owner]);
    }
}
