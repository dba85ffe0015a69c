//! A server before the one that is looked at, where the engine is a process of its own: another process of the VM has it.

use std::rc::Rc;
use std::sync::Arc;

use sockeye_simulated_engine::{Engine, Server};
use sockeye_world as world;

use super::machine::Machine;
use super::mail::Process;
use super::settings::of_front;
use super::terms::FRONT;
use super::{Life, SECOND, Told, hear, listen, stop};
use crate::check;
use crate::front::FrontPlan;
use crate::terms::int;

pub(super) struct Front {
    plan: FrontPlan,
    pub(super) told: Rc<Told>,
    host: u32,
    server: Option<Arc<Server>>,
}

impl Front {
    /// Has it started, before the server at this port.
    pub(super) fn begin(machine: &Rc<Machine>, behind: u16) -> Option<Self> {
        let plan = machine.plan.front?;
        let told = Rc::new(Told::default());
        let host = machine.process();
        let number = host.number;
        machine.spawn(serve(machine.clone(), host, told.clone(), (plan, behind)));
        Some(Front {
            plan,
            told,
            host: number,
            server: None,
        })
    }

    /// The server that is not the one behind.
    pub(super) fn find(&mut self, engine: &Engine, behind: Option<&Arc<Server>>) {
        let is_other = |server: &Arc<Server>| behind.is_none_or(|known| known.id() != server.id());
        self.server = engine.all_servers().into_iter().find(is_other);
    }
}

async fn serve(
    machine: Rc<Machine>,
    host: Rc<Process>,
    told: Rc<Told>,
    (plan, behind): (FrontPlan, u16),
) {
    let map = of_front(&machine.plan, &plan, behind);
    if listen(&machine, &host, &told, map).await {
        hear(machine, host, told).await;
    }
}

impl Life {
    /// Stops the server before the one that is looked at, if this is its time.
    pub(super) fn stop_front(&self, is_first: bool) {
        let front = self.front.as_ref();
        let Some(front) = front.filter(|front| front.plan.stops_first == is_first) else {
            return;
        };
        if world::chance(1, 2) {
            self.machine
                .cast(front.host, "server_drain", vec![int(FRONT)]);
            self.until(world::now() + SECOND, |_| false);
        }
        self.ask(front.host, "server_stop", stop(FRONT));
        let end = world::now() + 30 * SECOND + 10 * self.slow();
        let census = || front.server.as_ref().map(|server| server.census());
        if !self.until(end, |_| front.told.stopped.get() == 1) {
            let what = format!("the server before it has not stopped: {:?}", census());
            self.book.problem(what);
        }
        let is_done = |_: &Life| front.server.as_deref().is_none_or(check::is_done);
        if !self.until(world::now() + SECOND / 4, is_done) {
            let what = format!("the server before it has {:?}", census());
            self.book.problem(what);
        }
    }
}
