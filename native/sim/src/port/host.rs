//! Hosts: processes of the VM that start servers, and are told what becomes of them.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use sockeye_simulated_engine::{Mode, Server};
use sockeye_world::trace;

use super::node::Node;
use super::process::{Answer, Message, Process};
use super::settings::settings;
use super::terms::SERVER;
use crate::terms::{Term, atom, int};

/// What a host was told.
#[derive(Default)]
pub(super) struct Notices {
    pub(super) port: Cell<Option<u16>>,
    /// The server does not listen.
    pub(super) failed: Cell<bool>,
    /// How often it was told that the port is free.
    pub(super) unlistened: Cell<u32>,
    /// How often, that the server has stopped.
    pub(super) stopped: Cell<u32>,
    /// The host is dead.
    pub(super) dead: Cell<bool>,
}

/// A server beside the one under test.
pub(super) struct OtherServer {
    pub(super) number: i64,
    pub(super) stops_first: bool,
    pub(super) notices: Rc<Notices>,
    pub(super) host: u32,
    pub(super) server: Arc<Server>,
}

/// The host of the server under test, which starts its processes.
pub(super) async fn run_host(node: Rc<Node>, host: Rc<Process>, notices: Rc<Notices>) {
    let plan = node.plan.clone();
    let port = plan.port;
    let engine = node.process();
    let shards = Term::Map(vec![(atom("shards"), int(plan.shards as i64))]);
    let started = node.call(engine.number, "engine_start", vec![shards]).await;
    let owner = (plan.mode == Mode::Owner).then(|| node.process());
    let owner_number = owner.as_ref().map(|owner| owner.number);
    let (is_named, batch) = port.map_or((false, false), |port| (port.is_named, port.batch));
    if is_named {
        // It has its name before anybody can connect.
        node.named.set(owner_number);
    }
    let map = settings(&plan, owner_number, is_named, batch);
    if !listen(&node, &host, &notices, map).await {
        node.ledger.problem(format!("{started:?}"));
        return;
    }
    node.spawn(node.clone().ping());
    match (plan.mode, owner) {
        (Mode::Workers(count), _) => {
            (0..count).for_each(|slot| node.spawn(node.clone().worker(slot)));
        }
        (Mode::PerConnection, _) => node.spawn(node.clone().acceptor()),
        (Mode::Owner, first) => {
            for (n, owner) in first.into_iter().chain([node.process()]).enumerate() {
                node.owners.borrow_mut().push(owner.number);
                let run = node
                    .clone()
                    .owner(owner, n == 0 && is_named, n > 0 || is_named);
                node.spawn(run);
            }
        }
    }
    if plan.server.asks || !plan.requesters.is_empty() {
        node.spawn(node.clone().answer_questions(SERVER));
    }
    node.spawn(note_stop_without_host(engine, notices.clone()));
    serve(node, host, notices).await;
}

/// The arguments of `server_stop`.
pub(super) fn stop(server: i64) -> Vec<Term> {
    vec![int(server), int(1001), crate::terms::binary("bye")]
}

/// Starts a server, and notes where it listens.
pub(super) async fn listen(node: &Node, host: &Process, notices: &Notices, map: Term) -> bool {
    let answer = node.call(host.number, "listen", vec![map]).await;
    let place = match &answer {
        Answer::Value(value) => value.tuple().ok().and_then(|parts| parts.last()),
        _ => None,
    };
    notices
        .port
        .set(place.and_then(|place| place.get_as("port").ok()));
    if notices.port.get().is_none() {
        node.ledger
            .problem(format!("a server does not listen: {answer:?}"));
        notices.failed.set(true);
    }
    notices.port.get().is_some()
}

/// Takes what a host is told, until its server has stopped.
pub(super) async fn serve(node: Rc<Node>, host: Rc<Process>, notices: Rc<Notices>) {
    loop {
        match host.next().await {
            Message::Term(term) => note(&node, &notices, &term),
            Message::Stop if node.is_closed.get() => return,
            Message::Stop if notices.stopped.get() > 0 => return node.die(&host).await,
            _ => {}
        }
    }
}

/// Takes what the engine tells of a server whose host is dead.
async fn note_stop_without_host(engine: Rc<Process>, notices: Rc<Notices>) {
    loop {
        if let Message::Term(term) = engine.next().await
            && term.tuple().is_ok_and(|parts| parts[0].is("sockeye_gone"))
            && notices.dead.get()
        {
            notices.stopped.set(notices.stopped.get() + 1);
        }
    }
}

fn note(node: &Node, notices: &Notices, term: &Term) {
    trace::note(&[63], || format!("a host is told {term:?}"));
    let Ok([tag, ..]) = term.tuple() else { return };
    let count = match tag.atom() {
        Ok("sockeye_unlistened") => &notices.unlistened,
        Ok("sockeye_stopped") => &notices.stopped,
        _ => return,
    };
    count.set(count.get() + 1);
    if count.get() > 1 {
        node.ledger.problem(format!("{term:?} is told twice"));
    }
}
