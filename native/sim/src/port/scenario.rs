//! The parts of a run in which the engine is a process of its own, and what must hold after each step of it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use sockeye_simulated_engine::Server;
use sockeye_simulated_port::link::packets::Broken;
use sockeye_simulated_port::simulated::{self, FULL};
use sockeye_world as world;

use super::host::{Notices, OtherServer};
use super::node::Node;
use crate::clients::start::Clients;
use crate::model::checks;
use crate::model::ledger::SharedLedger;
use crate::plan::Plan;
use crate::plan::port::PortPlan;
use crate::steps::step_until;
use crate::terms::Term;

pub(super) const SECOND: u64 = 1_000_000_000;
/// The most bytes that wait for the VM beside events, and one batch.
const SLACK: usize = 64 * 1024;

/// How the engine's process has ended, once it has.
pub(super) type EngineEnd = Rc<RefCell<Option<Result<(), Broken>>>>;

/// All parts of a run.
pub(super) struct Scenario {
    pub(super) plan: Rc<Plan>,
    pub(super) port: PortPlan,
    pub(super) ledger: SharedLedger,
    pub(super) node: Rc<Node>,
    pub(super) engine: Rc<simulated::Process>,
    /// How the engine's process has ended.
    pub(super) engine_end: EngineEnd,
    pub(super) notices: Rc<Notices>,
    pub(super) clients: Option<Clients>,
    /// The process that has started the server.
    pub(super) host: u32,
    pub(super) server: Option<Arc<Server>>,
    pub(super) others: Vec<OtherServer>,
    /// The server that answers ordinary requests.
    pub(super) responder: Option<Arc<Server>>,
}

impl Scenario {
    /// The port of a server, once it listens.
    pub(super) fn wait_for_port(&self, notices: &Notices) -> Option<u16> {
        let up = self.until(world::now() + 100 * SECOND + self.link_delay(), |_| {
            notices.port.get().is_some() || notices.failed.get()
        });
        notices.port.get().filter(|_| up)
    }

    pub(super) fn clients_are_done(&self) -> bool {
        let clients = self.clients.as_ref();
        clients.is_none_or(|clients| clients.are_done(&self.plan, &self.ledger))
            && (self.node.engine_clients_running.get() == 0 || !self.plan.fair)
    }

    pub(super) fn until(&self, end: u64, done: impl Fn(&Self) -> bool) -> bool {
        step_until(end, &self.ledger, || done(self), || self.check_bounds())
    }

    /// What must hold after each step.
    fn check_bounds(&self) {
        checks::bounds(&self.plan, &self.ledger);
        let (small, large) = self.engine.waiting();
        if let Some(server) = &self.responder {
            checks::response_bounds(&self.plan, &self.ledger, server);
        }
        // Each shard may add one event or question more when there is little room left.
        let requesters = self.plan.requesters.iter();
        let requests = requesters.flat_map(|requester| &requester.requests);
        let content = requests.map(|request| request.body).max().unwrap_or(0);
        let most = self.plan.shards * content.max(self.plan.server.max_message);
        let most = FULL + SLACK + most + self.node.command_bytes.get();
        if small > FULL + SLACK || large > most {
            let what = format!("{small} and {large} bytes wait for the link, {most} at most");
            self.ledger.problem(what);
        }
        let (kept, may) = self.engine.memory();
        if kept > may {
            let what = format!("the link keeps {kept} bytes where {small} wait, {may} at most");
            self.ledger.problem(what);
        }
    }

    /// Calls something without waiting for the answer.
    pub(super) fn call_in_background(&self, by: u32, function: &'static str, args: Vec<Term>) {
        let node = self.node.clone();
        self.node.spawn(async move {
            node.call(by, function, args).await;
        });
    }

    /// How much longer something may take because of the link.
    pub(super) fn link_delay(&self) -> u64 {
        20 * (self.port.link.stall + self.port.link.delay)
    }
}
