//! Handlers: workers of a pool, and a process for each connection. They take events from an inbox and do what the plan says.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use sockeye_simulated_engine::active::SetActive;
use sockeye_simulated_engine::inbox::{Left, Visit};
use sockeye_simulated_engine::{Active, ConnId, Inbox, Mode};
use sockeye_world::{chance, draw};

use super::processes::Vm;
use super::{random_calls, streamed};
use crate::model::content::word;
use crate::vm::event::{Exit, VmEvent};
use crate::vm::operation::Operation;
use crate::vm::wakeup::Wakeup;

impl Vm {
    /// Starts the processes of the server.
    pub(super) fn start(self: &Rc<Self>) {
        match self.plan.mode {
            Mode::Workers(count) => {
                for slot in 0..count {
                    self.spawn(self.clone().worker(slot));
                }
            }
            Mode::PerConnection => self.spawn(self.clone().acceptor()),
            Mode::Owner => {
                self.spawn(self.clone().owner(true));
                self.spawn(self.clone().owner(false));
            }
        }
    }

    async fn worker(self: Rc<Self>, slot: usize) {
        loop {
            let (inbox, wakeup) = self.inbox();
            self.engine.set_worker(&self.server, slot, &inbox);
            let exit = self.serve(&inbox, &wakeup, None).await;
            self.die(&inbox, &wakeup, exit).await;
            self.behaviour.monitor_delay().await;
        }
    }

    /// The process of the server, which starts another one for each connection. It never dies: the server would end with it.
    async fn acceptor(self: Rc<Self>) {
        let (inbox, wakeup) = self.inbox();
        self.engine.set_acceptor(&self.server, &inbox);
        loop {
            wakeup.notified().await;
            loop {
                let (events, left) = self.take(&inbox);
                for (conn, _) in events {
                    self.behaviour.pause().await;
                    if !self.behaviour.happens(self.plan.processes.missing) {
                        self.spawn(self.clone().connection_process(conn));
                    } else if chance(1, 2) {
                        self.engine.no_process(conn);
                    }
                    // Else the new process dies while it starts, and nobody tells the engine.
                }
                if left == Left::Nothing {
                    break;
                }
            }
        }
    }

    /// The process of one connection.
    async fn connection_process(self: Rc<Self>, conn: ConnId) {
        self.behaviour.pause().await;
        let (inbox, wakeup) = self.inbox();
        if self.engine.attach(conn, &inbox).is_err() {
            return;
        }
        let exit = self.serve(&inbox, &wakeup, Some(conn)).await;
        self.die(&inbox, &wakeup, exit).await;
    }

    /// Takes events as a process does. A close event with nothing of its connection before it is answered at once.
    fn take(&self, inbox: &Arc<Inbox>) -> (Vec<(ConnId, VmEvent)>, Left) {
        let mut events: Vec<(ConnId, VmEvent)> = Vec::new();
        let mut answered = Vec::new();
        let (left, shards) = inbox.drain(self.plan.processes.batch, |conn, event, _| {
            let event = VmEvent::from(&event);
            if let VmEvent::Closed(_) = event {
                if events.iter().any(|(of, _)| *of == conn) {
                    events.push((conn, VmEvent::Ending));
                } else {
                    answered.push(conn);
                }
            }
            events.push((conn, event));
            Visit::Next
        });
        events
            .iter()
            .for_each(|(conn, event)| self.note(inbox, *conn, event));
        self.engine.resume(inbox, shards);
        answered.iter().for_each(|conn| self.engine.answered(*conn));
        (events, left)
    }

    /// Handles the events of an inbox until the process ends.
    async fn serve(&self, inbox: &Arc<Inbox>, wakeup: &Wakeup, only: Option<ConnId>) -> Exit {
        loop {
            wakeup.notified().await;
            loop {
                let (events, left) = self.take(inbox);
                let mut operations = VecDeque::new();
                for (conn, event) in events {
                    if self.behaviour.happens(self.plan.processes.crashes) {
                        return Exit::Crash;
                    }
                    self.behaviour.pause().await;
                    if self.handle(conn, &event, &mut operations).await && only.is_some() {
                        return Exit::Normal;
                    }
                }
                self.perform(&mut operations).await;
                if left == Left::Nothing {
                    break;
                }
            }
        }
    }

    /// Handles an event. True if it was the last of its connection.
    pub(super) async fn handle(
        &self,
        conn: ConnId,
        event: &VmEvent,
        operations: &mut VecDeque<Operation>,
    ) -> bool {
        if self.behaviour.happens(self.plan.processes.random_calls) {
            random_calls::make_one(self, conn);
        }
        match event {
            VmEvent::Text(text) => {
                let (replies, size) = (word(text, 2), word(text, 3));
                let client = self.ledger.client_of(conn).unwrap_or(usize::MAX);
                if text.starts_with(b"topic") {
                    self.ledger
                        .problem(format!("{conn:?} has sent a publication"));
                }
                let streams = self.plan.processes.streams;
                for _ in 0..replies {
                    match streams > 0 && self.behaviour.happens(streams) {
                        true => streamed::push(self, conn, (client, size), operations),
                        false => operations.push_back(Operation::Reply(conn, client, size)),
                    }
                }
                if self.plan.server.active == Active::Once {
                    operations.push_back(Operation::Active(conn, SetActive::To(Active::Once)));
                }
                if self.behaviour.happens(self.plan.processes.publishes) {
                    random_calls::publish(self, conn);
                }
                if self.behaviour.happens(self.plan.processes.closes) {
                    operations.push_back(Operation::Close(conn, 3000 + draw(3) as u16));
                }
            }
            VmEvent::Other if self.plan.server.active == Active::Once => {
                operations.push_back(Operation::Active(conn, SetActive::To(Active::Once)));
            }
            VmEvent::Passive => {
                let credits = self.ledger.client_of(conn);
                let credits = credits.and_then(|client| self.ledger.update(client, |a| a.credits));
                if let Some(Some(left)) = credits
                    && left != 0
                {
                    self.ledger
                        .problem(format!("{conn:?} is passive with {left} credits"));
                }
                let more = 1 + draw(5) as i32;
                operations.push_back(Operation::Active(conn, SetActive::Add(more)));
            }
            VmEvent::Ending => {
                self.perform(operations).await;
                self.engine.answered(conn);
            }
            VmEvent::Closed(_) => return true,
            VmEvent::Open(_) => random_calls::subscribe(self, conn),
            VmEvent::Other => {}
        }
        false
    }
}
