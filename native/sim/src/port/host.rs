//! The processes of the VM that have servers started, and are told of them.

use std::cell::Cell;
use std::rc::Rc;

use sockeye_simulated_engine::Mode;
use sockeye_world::trace;

use super::machine::Machine;
use super::mail::{Answer, Mail, Process};
use super::settings::settings;
use super::terms::SERVER;
use crate::terms::{Term, atom, int};

/// What the server's process was told.
#[derive(Default)]
pub(super) struct Told {
    pub(super) port: Cell<Option<u16>>,
    pub(super) failed: Cell<bool>,
    pub(super) unlistened: Cell<u32>,
    pub(super) stopped: Cell<u32>,
    pub(super) dead: Cell<bool>,
}

/// The process that has started the server, and what it starts.
pub(super) async fn serve_host(machine: Rc<Machine>, host: Rc<Process>, told: Rc<Told>) {
    let plan = machine.plan.clone();
    let port = plan.port;
    let engine = machine.process();
    let shards = Term::Map(vec![(atom("shards"), int(plan.shards as i64))]);
    let started = machine
        .call(engine.number, "engine_start", vec![shards])
        .await;
    let owner = (plan.mode == Mode::Owner).then(|| machine.process());
    let owner_number = owner.as_ref().map(|owner| owner.number);
    let (is_named, batch) = port.map_or((false, false), |port| (port.is_named, port.batch));
    if is_named {
        // It has its name before anybody can connect.
        machine.named.set(owner_number);
    }
    let map = settings(&plan, owner_number, is_named, batch);
    if !listen(&machine, &host, &told, map).await {
        machine.book.problem(format!("{started:?}"));
        return;
    }
    machine.spawn(machine.clone().ping());
    match (plan.mode, owner) {
        (Mode::Workers(count), _) => {
            (0..count).for_each(|slot| machine.spawn(machine.clone().worker(slot)));
        }
        (Mode::PerConnection, _) => machine.spawn(machine.clone().acceptor()),
        (Mode::Owner, first) => {
            for (n, owner) in first.into_iter().chain([machine.process()]).enumerate() {
                machine.owners.borrow_mut().push(owner.number);
                let run = machine
                    .clone()
                    .owner(owner, n == 0 && is_named, n > 0 || is_named);
                machine.spawn(run);
            }
        }
    }
    if plan.server.asks || !plan.askers.is_empty() {
        machine.spawn(machine.clone().gate(SERVER));
    }
    machine.spawn(listen_to_engine(engine, told.clone()));
    hear(machine, host, told).await;
}

/// What `server_stop` is given.
pub(super) fn stop(server: i64) -> Vec<Term> {
    vec![int(server), int(1001), crate::terms::binary("bye")]
}

/// Has a server listen, and notes where.
pub(super) async fn listen(machine: &Machine, host: &Process, told: &Told, map: Term) -> bool {
    let answer = machine.call(host.number, "listen", vec![map]).await;
    let place = match &answer {
        Answer::Value(value) => value.tuple().ok().and_then(|parts| parts.last()),
        _ => None,
    };
    told.port
        .set(place.and_then(|place| place.get_as("port").ok()));
    if told.port.get().is_none() {
        machine
            .book
            .problem(format!("a server does not listen: {answer:?}"));
        told.failed.set(true);
    }
    told.port.get().is_some()
}

/// What the process of a server is told, until its server has stopped.
pub(super) async fn hear(machine: Rc<Machine>, host: Rc<Process>, told: Rc<Told>) {
    loop {
        match host.next().await {
            Mail::Term(term) => note(&machine, &told, &term),
            Mail::Stop if machine.lost.get() => return,
            Mail::Stop if told.stopped.get() > 0 => return machine.die(&host).await,
            _ => {}
        }
    }
}

/// What the engine tells of a server whose process is dead.
async fn listen_to_engine(engine: Rc<Process>, told: Rc<Told>) {
    loop {
        if let Mail::Term(term) = engine.next().await
            && term.tuple().is_ok_and(|parts| parts[0].is("sockeye_gone"))
            && told.dead.get()
        {
            told.stopped.set(told.stopped.get() + 1);
        }
    }
}

fn note(machine: &Machine, told: &Told, term: &Term) {
    trace::note(&[63], || format!("the server's process hears {term:?}"));
    let Ok([tag, ..]) = term.tuple() else { return };
    let count = match tag.atom() {
        Ok("sockeye_unlistened") => &told.unlistened,
        Ok("sockeye_stopped") => &told.stopped,
        _ => return,
    };
    count.set(count.get() + 1);
    if count.get() > 1 {
        machine.book.problem(format!("{term:?} is told twice"));
    }
}
