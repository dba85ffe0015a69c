//! Servers beside the one under test: a proxy before it, or the parent in which it is nested. Each has a host of its own.

use std::rc::Rc;

use sockeye_world as world;

use super::host::{self, Notices, OtherServer, listen, stop};
use super::node::Node;
use super::process::Process;
use super::scenario::{SECOND, Scenario};
use super::terms::PARENT;
use crate::model::checks;
use crate::terms::{Term, int};

async fn run_host(node: Rc<Node>, host: Rc<Process>, notices: Rc<Notices>, number: i64, map: Term) {
    if !listen(&node, &host, &notices, map).await {
        return;
    }
    if number == PARENT && !node.plan.requesters.is_empty() {
        node.spawn(node.clone().answer_questions(number));
    }
    host::serve(node, host, notices).await;
}

impl Scenario {
    /// Starts one, and says where it listens.
    pub(super) fn start_other(&mut self, number: i64, stops_first: bool, map: Term) -> Option<u16> {
        let notices = Rc::new(Notices::default());
        let host = self.node.process();
        let by = host.number;
        let run = run_host(self.node.clone(), host, notices.clone(), number, map);
        self.node.spawn(run);
        let port = self.wait_for_port(&notices)?;
        let others = self.others.iter().map(|other| &other.server);
        let known: Vec<_> = others.chain(&self.server).map(|one| one.id()).collect();
        let mut all = self.engine.engine()?.all_servers().into_iter();
        self.others.push(OtherServer {
            number,
            stops_first,
            notices,
            host: by,
            server: all.find(|server| !known.contains(&server.id()))?,
        });
        Some(port)
    }

    /// Stops the other servers: those that are stopped before the one under test, or those after it.
    pub(super) fn stop_others(&self, first: bool) {
        let others = self.others.iter().rev();
        others
            .filter(|other| other.stops_first == first)
            .for_each(|other| self.stop_other(other));
    }

    fn stop_other(&self, other: &OtherServer) {
        if world::chance(1, 2) {
            self.node
                .cast(other.host, "server_drain", vec![int(other.number)]);
            self.until(world::now() + SECOND, |_| false);
        }
        self.call_in_background(other.host, "server_stop", stop(other.number));
        let end = world::now() + 30 * SECOND + 10 * self.link_delay();
        let census = || other.server.census();
        if !self.until(end, |_| other.notices.stopped.get() == 1) {
            let what = format!("server {} has not stopped: {:?}", other.number, census());
            self.ledger.problem(what);
        }
        if !self.until(world::now() + SECOND / 4, |_| {
            checks::is_done(&other.server)
        }) {
            let what = format!("server {} has {:?}", other.number, census());
            self.ledger.problem(what);
        }
    }
}
