//! A run from its beginning to its end, where the engine is a library of the VM.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use sockeye_simulated_engine::{Engine, EngineConfig, Mode, Peer, Server};
use sockeye_world::{self as world, net, trace};

use super::config::config;
use super::host::{Host, Notices};
use super::other_server::OtherServer;
use super::processes::{CurrentOwner, Vm};
use super::questions::answer_questions;
use super::{engine_client, parent, proxy};
use crate::clients::start::Clients;
use crate::model::checks;
use crate::model::ledger::{ConnRecord, SharedLedger};
use crate::plan::{EndPlan, Plan};
use crate::steps::step_until;
use crate::vm::host_name;

const SECOND: u64 = 1_000_000_000;

/// Runs a plan.
pub(crate) fn run(plan: &Plan, ledger: &SharedLedger) {
    if let Some(scenario) = Scenario::begin(plan, ledger) {
        scenario.serve();
        if ledger.lock().problems.is_empty() {
            scenario.end();
        }
    }
}

/// All parts of a run.
struct Scenario {
    plan: Rc<Plan>,
    ledger: SharedLedger,
    engine: Arc<Engine>,
    server: Arc<Server>,
    notices: Arc<Notices>,
    vm: Rc<Vm>,
    clients: Clients,
    proxy: Option<OtherServer>,
    /// The server in which the one under test is nested.
    parent: Option<OtherServer>,
    /// The server that answers ordinary requests.
    responder: Arc<Server>,
}

impl Scenario {
    fn begin(plan: &Plan, ledger: &SharedLedger) -> Option<Self> {
        let plan = Rc::new(plan.clone());
        let vm_executor = world::executor(world::Order::Any);
        let client_executor = world::executor(world::Order::Any);
        net::set_faults(plan.net);
        net::set_preempts(vm_executor, plan.preempts);
        world::set_freezes(plan.freezes);
        let records = plan.clients.iter().map(|_| ConnRecord::default());
        ledger.lock().records = records.collect();
        let engine = Engine::start(EngineConfig::new(plan.shards)).ok()?;
        let owner = CurrentOwner::default();
        let notices = Arc::new(Notices::default());
        let host = Host {
            ledger: ledger.clone(),
            owner: owner.clone(),
            notices: notices.clone(),
        };
        let (own, parent) = match plan.parent {
            Some(_) => {
                let (nested, parent) = parent::split(config(&plan));
                (nested, Some(parent))
            }
            None => (config(&plan), None),
        };
        let (server, place) = engine.listen(own, |_| Box::new(host)).ok()?;
        let parent = match parent {
            Some(config) => Some(parent::start(&engine, ledger, config, &server)?),
            None => None,
        };
        let address = match (&parent, place) {
            (Some(parent), _) => parent.address,
            (None, Some(Peer::Inet(ip, port))) => (ip, port).into(),
            _ => return None,
        };
        let vm = Vm::new(&engine, &server, ledger, &plan, vm_executor, owner.clone());
        vm.start();
        if plan.fair && plan.mode == Mode::Owner {
            // No client comes before there is an owner.
            let is_there = || {
                let owner = owner.lock().unwrap_or_else(PoisonError::into_inner);
                owner.is_some()
            };
            step_until(world::now() + SECOND, ledger, is_there, || {});
        }
        if plan.server.asks || !plan.requesters.is_empty() {
            let answers = answer_questions(vm.clone(), server.clone(), notices.clone());
            vm.spawn(answers);
        }
        if let Some(parent) = parent.as_ref().filter(|_| !plan.requesters.is_empty()) {
            let (server, notices) = (parent.server.clone(), parent.notices.clone());
            vm.spawn(answer_questions(vm.clone(), server, notices));
        }
        host_name::register(address.ip());
        vm.engine_clients_running.set(plan.engine_clients.len());
        for (number, rounds) in plan.engine_clients.iter().enumerate() {
            let run = engine_client::run(vm.clone(), number, *rounds, address.port());
            vm.spawn(run);
        }
        let proxy = proxy::start(&engine, ledger, &plan, address);
        let before = proxy.as_ref().map_or(address, |proxy| proxy.address);
        let clients = Clients::start(&plan, ledger, client_executor, (address, before));
        clients.start_requesters(&plan, ledger);
        let responder = parent.as_ref().map_or(&server, |parent| &parent.server);
        Some(Scenario {
            responder: responder.clone(),
            plan,
            ledger: ledger.clone(),
            engine,
            server,
            notices,
            vm,
            clients,
            proxy,
            parent,
        })
    }

    fn clients_are_done(&self) -> bool {
        let done = self.clients.are_done(&self.plan, &self.ledger);
        done && (self.vm.engine_clients_running.get() == 0 || !self.plan.fair)
    }

    fn until(&self, end: u64, done: impl Fn(&Self) -> bool) -> bool {
        step_until(
            end,
            &self.ledger,
            || done(self),
            || {
                checks::bounds(&self.plan, &self.ledger);
                checks::response_bounds(&self.plan, &self.ledger, &self.responder);
            },
        )
    }

    /// The run until its end begins.
    fn serve(&self) {
        let end = world::now() + self.plan.ends_at.as_nanos() as u64;
        let notified =
            |scenario: &Self| !scenario.plan.fair || checks::all_notified(&scenario.ledger);
        let done = self.until(end, |scenario| {
            scenario.clients_are_done() && notified(scenario)
        });
        if self.plan.fair && !done {
            let ledger = self.ledger.lock();
            let waiting: Vec<_> = (0..ledger.records.len())
                .filter(|n| ledger.records[*n].end.is_none())
                .collect();
            drop(ledger);
            self.ledger
                .problem(format!("clients {waiting:?} wait for ever"));
        }
        if self.plan.fair {
            checks::good_end(&self.plan, &self.ledger);
        }
    }

    /// Stops everything, and checks that nothing is left.
    fn end(&self) {
        self.vm.behaviour.is_ending.set(true);
        self.ledger.lock().stopping = true;
        self.stop_others(true);
        let began = world::now();
        match self.plan.end {
            EndPlan::StopServer => self.engine.stop_server(&self.server, 1001, "bye"),
            EndPlan::DrainThenStop => {
                self.server.drain();
                let is_free = |scenario: &Scenario| {
                    scenario.parent.is_some()
                        || scenario.notices.unlistened.load(Ordering::Relaxed) == 1
                };
                if !self.until(began + SECOND, is_free) {
                    self.ledger
                        .problem("the port is not free after a second".into());
                }
                self.until(began + 3 * SECOND, |_| false);
                self.engine.stop_server(&self.server, 1001, "bye");
            }
            EndPlan::StopEngine => {}
        }
        if self.plan.end != EndPlan::StopEngine {
            let stop = world::now();
            let stopped =
                |scenario: &Scenario| scenario.notices.stopped.load(Ordering::Relaxed) == 1;
            // Processes take what is in their inboxes at their own pace.
            let slack = 40 * self.plan.processes.pause + 30 * SECOND;
            if !self.until(stop + slack, stopped) {
                self.ledger.problem(format!(
                    "the server has not stopped: {:?}",
                    self.server.census()
                ));
            }
            if !self.until(world::now() + 100 * slack, |scenario| {
                scenario.vm.engine_clients_running.get() == 0
            }) {
                self.ledger
                    .problem("a client of the engine's does not end".into());
            }
            self.stop_others(false);
            // The last slot is free one turn after its end was told.
            let empty = self.until(world::now() + slack, |_| checks::is_empty());
            // Both at once: a process that takes its last event may call a shard again.
            let done =
                |scenario: &Scenario| checks::is_empty() && checks::is_done(&scenario.server);
            if !empty || !self.until(world::now() + SECOND / 4, done) {
                checks::nothing_left(&self.ledger, &self.server);
            }
            if !self.ledger.lock().problems.is_empty() {
                return;
            }
            checks::nothing_left(&self.ledger, &self.server);
            self.engine.remove_stopped(self.server.id());
        }
        self.stop_engine();
        // A client may only wait if it has vanished.
        let end = world::now() + 2000 * SECOND + 20 * self.plan.net.stall;
        self.until(end, |scenario| {
            scenario.clients_are_done() && scenario.ledger.lock().open_requesters == 0
        });
        // Processes still take what there is in their inboxes.
        self.until(end, |scenario| checks::all_notified(&scenario.ledger));
        checks::no_client_waits(&self.plan, &self.ledger);
        checks::final_ledger(&self.plan, &self.ledger);
        trace::mix(&[self.clients.pending_tasks() as u64]);
    }

    /// Stops the other servers: those that are stopped before the one under test, or those after it.
    fn stop_others(&self, first: bool) {
        let is_first = self.plan.proxy.map(|proxy| proxy.stops_first);
        if let (Some(proxy), true) = (&self.proxy, is_first == Some(first)) {
            self.stop_other(proxy);
        }
        let is_first = self.plan.parent.map(|parent| parent.stops_first);
        if let (Some(parent), true) = (&self.parent, is_first == Some(first)) {
            self.stop_other(parent);
        }
    }

    fn stop_other(&self, other: &OtherServer) {
        if world::chance(1, 2) {
            other.server.drain();
            self.until(world::now() + SECOND, |_| false);
        }
        self.engine.stop_server(&other.server, 1001, "bye");
        let end = world::now() + 30 * SECOND;
        if !self.until(end, |_| other.has_stopped()) {
            let census = other.server.census();
            self.ledger
                .problem(format!("another server has not stopped: {census:?}"));
        }
        if !self.until(world::now() + SECOND / 4, |_| other.is_done()) {
            let census = other.server.census();
            self.ledger
                .problem(format!("another server has {census:?}"));
        }
        self.engine.remove_stopped(other.server.id());
    }

    fn stop_engine(&self) {
        let began = world::now();
        let report = self.engine.stop();
        let took = world::now() - began;
        trace::note(&[30, took], || {
            format!("the engine has stopped in {took} ns")
        });
        if report.stuck > 0 || took > SECOND + SECOND / 4 {
            self.ledger
                .problem(format!("the engine took {took} ns to stop: {report:?}"));
        }
        let stopped = self.notices.stopped.load(Ordering::Relaxed);
        if stopped != 1 {
            self.ledger
                .problem(format!("told {stopped} times that the server has stopped"));
        }
    }
}
