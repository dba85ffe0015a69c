//! A run from its beginning to its end, where the engine is a process of its own at the other end of a link.
//!
//! The link cuts, delays and stalls as the network does, and has little room. Bounds of bytes are smaller than those of the
//! product, so that they are met all the time (`SCALE` in `native/port/src/world`).

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;

use sockeye_simulated_port::simulated;
use sockeye_world::net::{OwnedReadHalf, OwnedWriteHalf, TcpStream, reset_on_close};
use sockeye_world::{self as world, net, trace};

use super::engine_client;
use super::host::{Notices, run_host, stop};
use super::node::Node;
use super::process::Answer;
use super::scenario::{EngineEnd, SECOND, Scenario};
use super::settings::{parent_settings, proxy_settings};
use super::terms::{PARENT, PROXY, SERVER};
use crate::clients::start::Clients;
use crate::model::checks;
use crate::model::ledger::{ConnRecord, SharedLedger};
use crate::plan::port::{PortEnd, PortPlan};
use crate::plan::{EndPlan, Plan};
use crate::terms::int;
use crate::vm::host_name;

/// The engine's process ends within this time, whatever hangs in it.
const END_LIMIT: u64 = 1_800_000_000;

/// Runs a plan.
pub(crate) fn run(plan: &Plan, port: &PortPlan, ledger: &SharedLedger) {
    let Some(scenario) = Scenario::begin(plan, port, ledger) else {
        ledger.problem("the server does not listen".into());
        return;
    };
    scenario.serve();
    if ledger.lock().problems.is_empty() {
        scenario.end();
    }
}

/// Starts the engine's process at this end of the link.
fn start_engine(link: TcpStream, executor: usize) -> (Rc<simulated::Process>, EngineEnd) {
    let link = Arc::new(link);
    let read_half = OwnedReadHalf::of(link.clone());
    let write_half = OwnedWriteHalf::of(link.clone());
    let (engine, serve) = world::on_executor(executor, || simulated::begin(read_half, write_half));
    let (engine, end) = (Rc::new(engine), EngineEnd::default());
    let (stops, ends) = (engine.clone(), end.clone());
    let run = async move {
        let how = serve.await;
        // As at the end of the process.
        stops.stop();
        link.hang_up();
        *ends.borrow_mut() = Some(how);
    };
    world::on_executor(executor, || world::task::spawn_local(run));
    (engine, end)
}

impl Scenario {
    fn begin(plan: &Plan, port: &PortPlan, ledger: &SharedLedger) -> Option<Self> {
        let plan = Rc::new(plan.clone());
        let vm_executor = world::executor(world::Order::Any);
        let client_executor = world::executor(world::Order::Any);
        let link_executor = world::executor(world::Order::Fifo);
        net::set_faults(plan.net);
        // A shard may lose its core to the link's thread, or to the VM.
        let preempts = match world::chance(1, 2) {
            true => link_executor,
            false => vm_executor,
        };
        net::set_preempts(preempts, plan.preempts);
        world::set_freezes(plan.freezes);
        {
            let mut ledger = ledger.lock();
            ledger.records = plan.clients.iter().map(|_| ConnRecord::default()).collect();
            ledger.late_refusals = true;
        }
        let (ours, theirs) = TcpStream::pair(port.link);
        let (engine, engine_end) = start_engine(theirs, link_executor);
        let node = Node::new(ledger, &plan, vm_executor, ours);
        node.spawn(node.clone().write());
        node.spawn(node.clone().read());
        let notices = Rc::new(Notices::default());
        let host = node.process();
        let number = host.number;
        node.spawn(run_host(node.clone(), host, notices.clone()));
        let mut scenario = Scenario {
            plan,
            port: *port,
            ledger: ledger.clone(),
            node,
            engine,
            engine_end,
            notices,
            clients: None,
            host: number,
            server: None,
            others: Vec::new(),
            responder: None,
        };
        let mut port = scenario.wait_for_port(&scenario.notices)?;
        let servers = scenario.engine.engine()?.all_servers();
        scenario.server = servers.first().cloned();
        let (plan, server) = (scenario.plan.clone(), scenario.server.clone());
        if let Some(parent) = plan.parent {
            let settings = parent_settings(&plan);
            port = scenario.start_other(PARENT, parent.stops_first, settings)?;
        }
        let parent = scenario.others.first().map(|parent| parent.server.clone());
        scenario.responder = parent.or(server);
        let mut before = port;
        if let Some(proxy) = plan.proxy {
            let settings = proxy_settings(&plan, &proxy, port);
            before = scenario.start_other(PROXY, proxy.stops_first, settings)?;
        }
        let address = |port: u16| (Ipv4Addr::LOCALHOST, port).into();
        let addresses = (address(port), address(before));
        let clients = Clients::start(&plan, ledger, client_executor, addresses);
        host_name::register(Ipv4Addr::LOCALHOST.into());
        let count = plan.engine_clients.len();
        scenario.node.engine_clients_running.set(count);
        for (number, rounds) in plan.engine_clients.iter().enumerate() {
            let run = engine_client::run(scenario.node.clone(), number, *rounds, port);
            scenario.node.spawn(run);
        }
        clients.start_requesters(&plan, ledger);
        scenario.clients = Some(clients);
        Some(scenario)
    }

    /// The run until its end begins.
    fn serve(&self) {
        let end = world::now() + self.plan.ends_at.as_nanos() as u64;
        let notified =
            |scenario: &Self| !scenario.plan.fair || checks::all_notified(&scenario.ledger);
        let done = self.until(end, |scenario| {
            scenario.clients_are_done() && notified(scenario)
        });
        if self.plan.fair && !done && self.ledger.lock().problems.is_empty() {
            let what = format!("it takes too long: {:?}", self.ledger.lock());
            self.ledger.problem(what);
        }
        if self.plan.fair {
            // A process is told later that a reply is refused.
            self.until(end, |scenario| {
                let ledger = scenario.ledger.lock();
                let known = |record: &ConnRecord| {
                    // An earlier owner takes its events when it likes.
                    record.has_read_below(record.replies_accepted)
                        && record.messages_received == record.messages_sent
                };
                ledger.records.iter().all(known)
            });
            checks::good_end(&self.plan, &self.ledger);
        }
    }

    /// Stops everything, and checks that nothing is left.
    fn end(&self) {
        self.node.behaviour.is_ending.set(true);
        self.ledger.lock().stopping = true;
        self.stop_others(true);
        match (self.port.end, self.plan.end) {
            (PortEnd::Lost { reset }, _) => return self.lose_link(reset),
            (PortEnd::HostDies, _) => {
                self.notices.dead.set(true);
                let (node, host) = (self.node.clone(), self.host);
                self.node.spawn(async move { node.kill(host).await });
            }
            (PortEnd::AsPlanned, EndPlan::StopServer) => {
                self.call_in_background(self.host, "server_stop", stop(SERVER));
            }
            (PortEnd::AsPlanned, EndPlan::DrainThenStop) => {
                self.node.cast(self.host, "server_drain", vec![int(SERVER)]);
                let free = |scenario: &Scenario| {
                    scenario.plan.parent.is_some() || scenario.notices.unlistened.get() == 1
                };
                if !self.until(world::now() + SECOND + self.link_delay(), free) {
                    self.ledger.problem("the port is not free".into());
                }
                self.call_in_background(self.host, "server_stop", stop(SERVER));
            }
            (PortEnd::AsPlanned, EndPlan::StopEngine) => return self.stop_engine(),
        }
        // Processes take what is in their inboxes at their own pace.
        let slack = 40 * self.plan.processes.pause + 30 * SECOND + 10 * self.link_delay();
        let stopped = |scenario: &Scenario| scenario.notices.stopped.get() == 1;
        if !self.until(world::now() + slack, stopped) {
            let census = self.server.as_ref().map(|server| server.census());
            self.ledger
                .problem(format!("the server has not stopped: {census:?}"));
        }
        let dialled = |scenario: &Scenario| scenario.node.engine_clients_running.get() == 0;
        if !self.until(world::now() + 100 * slack, dialled) {
            self.ledger
                .problem("a client of the engine's does not end".into());
        }
        self.stop_others(false);
        self.node.stop_all();
        let quiet = |scenario: &Scenario| {
            // The process that has started the engine.
            let remains = [("processes", 1)];
            let counted = scenario.engine.census();
            let nothing = counted
                .iter()
                .all(|(what, n)| *n == 0 || remains.contains(&(*what, *n)));
            checks::is_empty() && nothing && scenario.node.granted() == 0
        };
        if !self.until(world::now() + slack, quiet) && self.ledger.lock().problems.is_empty() {
            let (census, granted) = (self.engine.census(), self.node.granted());
            self.ledger.problem(format!(
                "there are still {census:?} and {granted} grants in the VM"
            ));
            if let Some(server) = &self.server {
                checks::nothing_left(&self.ledger, server);
            }
        }
        if !self.ledger.lock().problems.is_empty() {
            return;
        }
        if let Some(server) = &self.server {
            // Questions are dropped with their process, one turn after all was told.
            self.until(world::now() + SECOND / 4, |_| checks::is_done(server));
            checks::nothing_left(&self.ledger, server);
        }
        self.node.pings_end.set(true);
        let pongs = |scenario: &Scenario| scenario.node.pinged.get() == scenario.node.ponged.get();
        if !self.until(world::now() + slack, pongs) {
            self.ledger.problem("a ping is not answered".into());
        }
        self.finish();
    }

    fn stop_engine(&self) {
        let node = self.node.clone();
        let host = self.host;
        let done = Rc::new(Cell::new(false));
        let stopped = done.clone();
        self.node.spawn(async move {
            let answer = node.call(host, "engine_stop", Vec::new()).await;
            stopped.set(matches!(answer, Answer::Value(ok) if ok.is("ok")));
        });
        if !self.until(world::now() + 2 * SECOND + 3 * self.link_delay(), |_| {
            done.get()
        }) {
            self.ledger.problem("engine_stop is not answered".into());
        }
        self.finish();
    }

    /// Processes take what there is, and the VM closes the link.
    fn finish(&self) {
        self.node.pings_end.set(true);
        let end = world::now() + 2000 * SECOND + 20 * self.plan.net.stall + 20 * self.link_delay();
        // Twice: what has just come may be in a mailbox that no process has read.
        self.until(end, |scenario| checks::all_notified(&scenario.ledger));
        let pause = 2 * self.plan.processes.pause;
        self.until(world::now() + 5 * SECOND + pause, |_| false);
        self.until(end, |scenario| checks::all_notified(&scenario.ledger));
        self.close_link(false);
        self.until(end, |scenario| {
            scenario.clients_are_done() && scenario.ledger.lock().open_requesters == 0
        });
        checks::no_client_waits(&self.plan, &self.ledger);
        checks::final_ledger(&self.plan, &self.ledger);
    }

    /// The VM is gone, or its end of the link.
    fn lose_link(&self, reset: bool) {
        self.close_link(reset);
        let end = world::now() + 2000 * SECOND + 20 * self.plan.net.stall;
        self.until(end, |scenario| {
            scenario.clients_are_done() && scenario.ledger.lock().open_requesters == 0
        });
        checks::no_client_waits(&self.plan, &self.ledger);
        // A connection that is over has its slot until the next turn.
        self.until(world::now() + SECOND / 4, |_| checks::has_no_conns());
        checks::no_conns(&self.ledger);
    }

    fn close_link(&self, reset: bool) {
        if reset {
            reset_on_close(&self.node.stream);
        }
        let began = world::now();
        trace::note(&[62], || "the VM closes the link".into());
        self.node.stream.hang_up();
        self.node.link_ended();
        let delay = self.port.link.delay + self.port.link.stall;
        let over = |scenario: &Scenario| scenario.engine_end.borrow().is_some();
        if !self.until(began + END_LIMIT + 4 * delay, over) {
            self.ledger
                .problem("the engine's process does not end".into());
        }
        if let Some(Err(broken)) = &*self.engine_end.borrow() {
            self.ledger.problem(format!(
                "the VM sends what the protocol forbids: {broken:?}"
            ));
        }
    }
}
