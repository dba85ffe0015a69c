//! Plain processes which own connections, and those that bring their events.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, PoisonError};

use sockeye_simulated_engine::inbox::{Left, ReadStep};
use sockeye_simulated_engine::{ConnId, Inbox};
use sockeye_world::draw;

use crate::process::{Exit, Got, Vm};
use crate::wakeup::Wakeup;

impl Vm {
    /// A plain process, and the one that brings its events. The first one gets the new connections.
    pub(crate) async fn owner(self: Rc<Self>, first: bool) {
        loop {
            let (inbox, wakeup) = self.inbox();
            if first {
                *self.owner.lock().unwrap_or_else(PoisonError::into_inner) = Some(inbox.clone());
            }
            self.owners.borrow_mut().push(inbox.clone());
            let exit = self.own(&inbox, &wakeup).await;
            self.owners
                .borrow_mut()
                .retain(|known| known.key() != inbox.key());
            if first {
                *self.owner.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
            self.die(&inbox, &wakeup, exit).await;
            self.a_while().await;
        }
    }

    pub(crate) async fn own(&self, inbox: &Arc<Inbox>, wakeup: &Wakeup) -> Exit {
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
                            .map(|(conn, event)| (conn, Got::from(&event))),
                    );
                    ReadStep::Last(next)
                });
                let Some((left, shards)) = served else { break };
                mailbox
                    .iter()
                    .for_each(|(conn, got)| self.note(inbox, *conn, got));
                self.engine.resume(inbox, shards);
                let mut requests = VecDeque::new();
                for (conn, got) in mailbox {
                    if self.happens(self.plan.processes.crashes) {
                        return Exit::Crash;
                    }
                    self.pause().await;
                    self.handle(conn, &got, &mut requests).await;
                    if self.happens(self.plan.processes.moves) {
                        self.give_away(conn);
                    }
                }
                self.carry_out(&mut requests).await;
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
        let (Some(to), Some(client)) = (to, self.book.client_of(conn)) else {
            return;
        };
        let key = to.key();
        let book = self.book.clone();
        let done = Box::new(move || book.open().answered += 1);
        if self.engine.set_owner(conn, to, done).is_ok() {
            self.book.of(client, |a| {
                a.moved = true;
                // Two see its events now, and none of them all.
                a.credits = None;
                a.inboxes.push(key);
            });
            self.book.open().asked += 1;
        }
    }
}
