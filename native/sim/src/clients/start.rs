//! Starts the clients of a plan.

use std::net::SocketAddr;
use std::rc::Rc;

use sockeye_world::{on_executor, pending_tasks, task};

use super::connector::Connector;
use super::endpoint::Endpoint;
use super::http2::pool::Pool;
use super::{requester, websocket};
use crate::model::ledger::SharedLedger;
use crate::plan::Plan;

/// The clients of a run.
pub(crate) struct Clients {
    executor: usize,
    server: Endpoint,
    proxy: Endpoint,
    /// Connections of HTTP/2, by their number in the plan.
    pools: Vec<Rc<Pool>>,
}

impl Clients {
    /// Starts those with WebSockets. They connect to the server or to the proxy, which have these addresses.
    pub(crate) fn start(
        plan: &Plan,
        ledger: &SharedLedger,
        executor: usize,
        (server, proxy): (SocketAddr, SocketAddr),
    ) -> Self {
        let mut clients = Clients {
            executor,
            server: Endpoint::of_server(plan, server),
            proxy: Endpoint::of_proxy(plan, proxy),
            pools: Vec::new(),
        };
        clients.pools = on_executor(executor, || clients.pools(plan, ledger));
        for (place, client) in plan.clients.iter().enumerate() {
            let connector = clients.connector(client.http2_conn, client.via_proxy);
            let client = (client.clone(), plan.server.deflate);
            let run = websocket::run(ledger.clone(), place, client, connector);
            on_executor(executor, || task::spawn_local(run));
        }
        clients
    }

    /// Starts those with ordinary requests.
    pub(crate) fn start_requesters(&self, plan: &Plan, ledger: &SharedLedger) {
        ledger.lock().open_requesters = plan.requesters.len();
        for (number, requester) in plan.requesters.iter().enumerate() {
            let connector = self.connector(requester.http2_conn, requester.via_proxy);
            let plan = (requester.clone(), plan.fair);
            let run = requester::run(ledger.clone(), number, plan, connector);
            on_executor(self.executor, || task::spawn_local(run));
        }
    }

    fn endpoint(&self, via_proxy: bool) -> Endpoint {
        if via_proxy { &self.proxy } else { &self.server }.clone()
    }

    fn connector(&self, http2_conn: Option<usize>, via_proxy: bool) -> Connector {
        match http2_conn.and_then(|number| self.pools.get(number)) {
            Some(pool) => Connector::Http2(pool.clone()),
            None => Connector::Tcp(self.endpoint(via_proxy)),
        }
    }

    fn pools(&self, plan: &Plan, ledger: &SharedLedger) -> Vec<Rc<Pool>> {
        let all = plan.http2_conns.iter().enumerate();
        all.map(|(number, http2_conn)| {
            let places = plan.clients.iter().enumerate();
            let places = places.filter(|(_, client)| client.http2_conn == Some(number));
            let places: Vec<_> = places.map(|(place, _)| place).collect();
            let requesters = plan.requesters.iter();
            let requesters = requesters.filter(|one| one.http2_conn == Some(number));
            let users = places.len() + requesters.count();
            let endpoint = self.endpoint(http2_conn.via_proxy);
            let plan = (*http2_conn, plan.fair);
            Pool::start(number, plan, ledger, (places, users), endpoint)
        })
        .collect()
    }

    /// Whether all clients have come to their end. In an unfair run those with ordinary requests may wait for ever.
    pub(crate) fn are_done(&self, plan: &Plan, ledger: &SharedLedger) -> bool {
        let ledger = ledger.lock();
        let ended = ledger.records.iter().all(|record| record.end.is_some());
        let done = ledger.open_requesters == 0 && self.pools.iter().all(|pool| pool.is_over());
        ended && (done || !plan.fair)
    }

    /// Tasks of clients that have not ended.
    pub(crate) fn pending_tasks(&self) -> usize {
        pending_tasks(self.executor)
    }
}
