//! Plain processes that own connections.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, PoisonError};

use sockeye_simulated_engine::inbox::{Left, ReadStep};
use sockeye_simulated_engine::{ConnId, Inbox};
use sockeye_world::draw;

use super::processes::Vm;
use crate::vm::event::{Exit, VmEvent};
use crate::vm::wakeup::Wakeup;

impl Vm {
    /// A plain process, and those that come after it. The first one gets the new connections.
    pub(super) async fn owner(self: Rc<Self>, first: bool) {
        loop {
            let (inbox, wakeup) = self.inbox();
            if first {
                *self.owner.lock().unwrap_or_else(PoisonError::into_inner) = Some(inbox.clone());
            }
            self.owners.borrow_mut().push(inbox.clone());
            let exit = self.serve_owner(&inbox, &wakeup).await;
            self.owners
                .borrow_mut()
                .retain(|known| known.key() != inbox.key());
            if first {
                *self.owner.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
            self.die(&inbox, &wakeup, exit).await;
            self.behaviour.monitor_delay().await;
        }
    }

    pub(super) async fn serve_owner(&self, inbox: &Arc<Inbox>, wakeup: &Wakeup) -> Exit {
        loop {
            wakeup.notified().await;
            loop {
                let mut mailbox = Vec::new();
                let most = self.plan.processes.batch;
                let served = inbox.serve(true, |batch, index| {
                    let next = (index + most).min(batch.len());
                    mailbox.extend(
                        (index..next)
                            .filter_map(|at| batch.event(at))
                            .map(|(conn, event)| (conn, VmEvent::from(&event))),
                    );
                    ReadStep::Last(next)
                });
                let Some((left, shards)) = served else { break };
                mailbox
                    .iter()
                    .for_each(|(conn, event)| self.note(inbox, *conn, event));
                self.engine.resume(inbox, shards);
                let mut operations = VecDeque::new();
                for (conn, event) in mailbox {
                    if self.behaviour.happens(self.plan.processes.crashes) {
                        return Exit::Crash;
                    }
                    self.behaviour.pause().await;
                    self.handle(conn, &event, &mut operations).await;
                    if self.behaviour.happens(self.plan.processes.moves) {
                        self.give_away(conn);
                    }
                }
                self.perform(&mut operations).await;
                if left == Left::Nothing {
                    break;
                }
            }
        }
    }

    /// Gives a connection to any owner.
    fn give_away(&self, conn: ConnId) {
        let to = {
            let owners = self.owners.borrow();
            owners.get(draw(owners.len() as u64) as usize).cloned()
        };
        let (Some(to), Some(client)) = (to, self.ledger.client_of(conn)) else {
            return;
        };
        let key = to.key();
        let ledger = self.ledger.clone();
        let done = Box::new(move || ledger.lock().questions_answered += 1);
        if self.engine.set_owner(conn, to, done).is_ok() {
            self.ledger.update(client, |a| {
                a.changed_owner = true;
                // Two processes get its events now, and neither of them all.
                a.credits = None;
                a.inboxes.push(key);
            });
            self.ledger.lock().questions_asked += 1;
        }
    }
}
