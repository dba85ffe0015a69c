//! Servers beside the one that is looked at, where the engine is a process of its own: before it, or around it. Other processes of the VM have
//! them.

use std::rc::Rc;
use std::sync::Arc;

use sockeye_simulated_engine::Server;
use sockeye_world as world;

use super::host::{Told, hear, listen, stop};
use super::machine::Machine;
use super::mail::Process;
use super::terms::OUTER;
use super::{Life, SECOND};
use crate::check;
use crate::terms::{Term, int};

pub(super) struct Other {
    number: i64,
    stops_first: bool,
    told: Rc<Told>,
    host: u32,
    pub(super) server: Arc<Server>,
}

async fn serve(machine: Rc<Machine>, host: Rc<Process>, told: Rc<Told>, number: i64, map: Term) {
    if !listen(&machine, &host, &told, map).await {
        return;
    }
    if number == OUTER && !machine.plan.askers.is_empty() {
        machine.spawn(machine.clone().gate(number));
    }
    hear(machine, host, told).await;
}

impl Life {
    /// Has one started, and says where it listens.
    pub(super) fn begin_other(&mut self, number: i64, stops_first: bool, map: Term) -> Option<u16> {
        let told = Rc::new(Told::default());
        let host = self.machine.process();
        let by = host.number;
        let serve = serve(self.machine.clone(), host, told.clone(), number, map);
        self.machine.spawn(serve);
        let port = self.place(&told)?;
        let others = self.others.iter().map(|other| &other.server);
        let known: Vec<_> = others.chain(&self.server).map(|one| one.id()).collect();
        let mut all = self.engine.engine()?.all_servers().into_iter();
        self.others.push(Other {
            number,
            stops_first,
            told,
            host: by,
            server: all.find(|server| !known.contains(&server.id()))?,
        });
        Some(port)
    }

    /// Stops those whose time this is.
    pub(super) fn stop_others(&self, first: bool) {
        let others = self.others.iter().rev();
        others
            .filter(|other| other.stops_first == first)
            .for_each(|other| self.stop_other(other));
    }

    fn stop_other(&self, other: &Other) {
        if world::chance(1, 2) {
            self.machine
                .cast(other.host, "server_drain", vec![int(other.number)]);
            self.until(world::now() + SECOND, |_| false);
        }
        self.ask(other.host, "server_stop", stop(other.number));
        let end = world::now() + 30 * SECOND + 10 * self.slow();
        let census = || other.server.census();
        if !self.until(end, |_| other.told.stopped.get() == 1) {
            let what = format!("server {} has not stopped: {:?}", other.number, census());
            self.book.problem(what);
        }
        if !self.until(world::now() + SECOND / 4, |_| check::is_done(&other.server)) {
            let what = format!("server {} has {:?}", other.number, census());
            self.book.problem(what);
        }
    }
}
