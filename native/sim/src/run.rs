//! A world from its beginning to its end.

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sockeye_protocol::Limits;
use sockeye_simulated_engine::{
    ConnectionRate, Engine, EngineConfig, MessageRate, Mode, Peer, Server, ServerConfig,
};
use sockeye_world::{self as world, net, time, trace};

use crate::book::{Account, Shared};
use crate::door::Door;
use crate::front::{self, Front};
use crate::handshake::{pools, way};
use crate::host::{Host, Told};
use crate::http2::Pool;
use crate::plan::{EndPlan, Plan};
use crate::process::{Vm, machine};
use crate::steps::step_until;
use crate::{check, client, dial, host, http, outer};

const SECOND: u64 = 1_000_000_000;

/// What came of a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What was wrong; nothing is as it should be.
    pub problems: Vec<String>,
    /// Names all that has happened.
    pub hash: u64,
    pub steps: u64,
    /// Nanoseconds that have passed in it.
    pub time: u64,
    /// What has happened, if somebody wants to read it.
    pub lines: Vec<String>,
}

/// Settings of the server.
fn config(plan: &Plan) -> ServerConfig {
    let server = &plan.server;
    let mut config = ServerConfig::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), plan.mode);
    config.inbox_size = server.inbox_size;
    config.send_queue_size = server.send_queue_size;
    config.active = server.active;
    config.close_timeout = server.close_timeout;
    config.send_timeout = server.send_timeout;
    config.idle_timeout = server.idle_timeout;
    config.ping_interval = server.ping_interval;
    config.pong_timeout = server.pong_timeout;
    config.max_age = server.max_age;
    config.max_connections = server.max_connections;
    config.max_connections_per_address = server.per_address;
    config.control_frames = server.control_frames;
    config.asks = server.asks;
    config.close_slow = server.close_slow;
    config.limits = Limits::default().max_message_size(server.max_message);
    config.message_rate =
        server
            .rate
            .map(|(rate, burst, close)| MessageRate { rate, burst, close });
    if server.per_address != usize::MAX {
        config.connection_rate = Some(ConnectionRate {
            per_second: 2,
            burst: 2,
        });
    }
    config.deflate = server.deflate.as_ref().map(crate::packer::policy);
    if !plan.askers.is_empty() {
        config.routes = http::routes();
    }
    config.http2_cleartext = !plan.carriers.is_empty() && plan.tls.is_none();
    config.tls = plan
        .tls
        .and_then(|_| crate::tls::server(!plan.carriers.is_empty()));
    if plan.front.is_some() {
        config.trusted_proxies.add(front::ADDRESS, 32);
    }
    if plan.fair {
        config.handshake_timeout = Duration::from_secs(1000);
        config.accept_timeout = Duration::from_secs(1000);
        config.attach_timeout = Duration::from_secs(1000);
    }
    config
}

struct Life {
    plan: Rc<Plan>,
    book: Shared,
    engine: Arc<Engine>,
    server: Arc<Server>,
    told: Arc<Told>,
    vm: Rc<Vm>,
    pools: Vec<Rc<Pool>>,
    front: Option<Front>,
    /// The server that it is nested in.
    outer: Option<Front>,
    /// Who answers ordinary requests.
    asked: Arc<Server>,
    /// The executor of clients.
    outside: usize,
}

/// Lives a world.
pub fn run(plan: &Plan) -> Outcome {
    world::begin(plan.seed);
    let book = Shared::default();
    let hooked = book.clone();
    crate::panics::note_on(move |what| hooked.problem(what));
    if let Some(port) = &plan.port {
        crate::port::live(plan, port, &book);
    } else if let Some(mut life) = Life::begin(plan, &book) {
        life.live();
        if book.open().problems.is_empty() {
            life.end();
        }
    }
    crate::panics::note_no_more();
    let outcome = Outcome {
        problems: book.open().problems.clone(),
        hash: trace::hash(),
        steps: world::steps(),
        time: world::now(),
        lines: trace::lines(),
    };
    world::end();
    outcome
}

impl Life {
    fn begin(plan: &Plan, book: &Shared) -> Option<Self> {
        let plan = Rc::new(plan.clone());
        let runs = machine();
        let outside = world::executor(world::Order::Any);
        net::set_faults(plan.net);
        net::set_preempts(runs, plan.preempts);
        world::set_freezes(plan.freezes);
        let accounts = plan.clients.iter().map(|_| Account::default());
        book.open().accounts = accounts.collect();
        let engine = Engine::start(EngineConfig::new(plan.shards)).ok()?;
        let owner = Arc::new(Mutex::new(None));
        let told = Arc::new(Told::default());
        let host = Host {
            book: book.clone(),
            owner: owner.clone(),
            told: told.clone(),
        };
        let (own, outer) = match plan.outer {
            Some(_) => outer::split(config(&plan)),
            None => (config(&plan), None),
        };
        let (server, place) = engine.listen(own, |_| Box::new(host)).ok()?;
        let outer = match outer {
            Some(config) => Some(outer::start(&engine, book, config, &server)?),
            None => None,
        };
        let address = match (&outer, place) {
            (Some(outer), _) => outer.address,
            (None, Some(Peer::Inet(ip, port))) => (ip, port).into(),
            _ => return None,
        };
        let vm = Vm::new(&engine, &server, book, &plan, runs, owner.clone());
        vm.start();
        if plan.fair && plan.mode == Mode::Owner {
            // Nobody comes before there is somebody to receive.
            let is_there = || {
                let owner = owner.lock().unwrap_or_else(PoisonError::into_inner);
                owner.is_some()
            };
            step_until(world::now() + SECOND, book, is_there, || {});
        }
        if plan.server.asks || !plan.askers.is_empty() {
            vm.spawn(gate(vm.clone(), server.clone(), told.clone()));
        }
        if let Some(outer) = outer.as_ref().filter(|_| !plan.askers.is_empty()) {
            vm.spawn(gate(vm.clone(), outer.server.clone(), outer.told.clone()));
        }
        dial::name(address.ip());
        vm.diallers.set(plan.dials.len());
        for (number, rounds) in plan.dials.iter().enumerate() {
            vm.spawn(dial::run(vm.clone(), number, *rounds, address.port()));
        }
        let front = Front::start(&engine, book, &plan, address);
        let before = front.as_ref().map_or(address, |front| front.address);
        let at = Door::of(&plan, address, before);
        let pools = world::on_executor(outside, || pools(&plan, book, &at));
        for (place, client) in plan.clients.iter().enumerate() {
            let way = way(client.carrier, &pools, at(client.behind));
            let client = (client.clone(), plan.server.deflate);
            let life = client::run(book.clone(), place, client, way);
            world::on_executor(outside, || world::task::spawn_local(life));
        }
        book.open().asking = plan.askers.len();
        for (number, asker) in plan.askers.iter().enumerate() {
            let way = way(asker.carrier, &pools, at(asker.behind));
            let life = http::asker::run(book.clone(), plan.fair, number, asker.clone(), way);
            world::on_executor(outside, || world::task::spawn_local(life));
        }
        let asked = outer
            .as_ref()
            .map_or(&server, |outer| &outer.server)
            .clone();
        Some(Life {
            plan,
            book: book.clone(),
            engine,
            server,
            told,
            vm,
            pools,
            front,
            asked,
            outer,
            outside,
        })
    }

    fn clients_are_done(&self) -> bool {
        let book = self.book.open();
        let ended = book.accounts.iter().all(|account| account.end.is_some());
        let done = book.asking == 0
            && self.pools.iter().all(|pool| pool.is_over())
            && self.vm.diallers.get() == 0;
        ended && (done || !self.plan.fair)
    }

    fn until(&self, end: u64, done: impl Fn(&Self) -> bool) -> bool {
        step_until(
            end,
            &self.book,
            || done(self),
            || {
                check::bounds(&self.plan, &self.book);
                check::answers(&self.plan, &self.book, &self.asked);
            },
        )
    }

    fn live(&mut self) {
        let end = world::now() + self.plan.ends_at.as_nanos() as u64;
        let told = |life: &Self| !life.plan.fair || check::all_told(&life.book);
        let done = self.until(end, |life| life.clients_are_done() && told(life));
        if self.plan.fair && !done {
            let book = self.book.open();
            let waiting: Vec<_> = (0..book.accounts.len())
                .filter(|n| book.accounts[*n].end.is_none())
                .collect();
            drop(book);
            self.book
                .problem(format!("clients {waiting:?} wait for ever"));
        }
        if self.plan.fair {
            check::good_end(&self.plan, &self.book);
        }
    }

    /// Everything is let go.
    fn end(&mut self) {
        self.vm.calm.set(true);
        self.book.open().stopping = true;
        self.stop_others(true);
        let began = world::now();
        match self.plan.end {
            EndPlan::StopServer => self.engine.stop_server(&self.server, 1001, "bye"),
            EndPlan::DrainThenStop => {
                self.server.drain();
                let free = |life: &Life| {
                    life.outer.is_some() || life.told.unlistened.load(Ordering::Relaxed) == 1
                };
                if !self.until(began + SECOND, free) {
                    self.book
                        .problem("the port is not free after a second".into());
                }
                self.until(began + 3 * SECOND, |_| false);
                self.engine.stop_server(&self.server, 1001, "bye");
            }
            EndPlan::StopEngine => {}
        }
        if self.plan.end != EndPlan::StopEngine {
            let stop = world::now();
            let stopped = |life: &Life| life.told.stopped.load(Ordering::Relaxed) == 1;
            // Processes take what they have not seen at their own pace.
            let slack = 40 * self.plan.processes.pause + 30 * SECOND;
            if !self.until(stop + slack, stopped) {
                self.book.problem(format!(
                    "the server has not stopped: {:?}",
                    self.server.census()
                ));
            }
            if !self.until(world::now() + 100 * slack, |life| {
                life.vm.diallers.get() == 0
            }) {
                self.book
                    .problem("a client of the engine's does not end".into());
            }
            self.stop_others(false);
            // What is told is told a turn before the last slot is free.
            let quiet = |_: &Life| check::is_empty();
            let empty = self.until(world::now() + slack, quiet);
            // At once: a process that takes its last event may call a shard again.
            let done = |life: &Life| check::is_empty() && check::is_done(&life.server);
            if !empty || !self.until(world::now() + SECOND / 4, done) {
                check::nothing_left(&self.book, &self.server);
            }
            if !self.book.open().problems.is_empty() {
                return;
            }
            check::nothing_left(&self.book, &self.server);
            self.engine.remove_stopped(self.server.id());
        }
        self.stop_engine();
        // Who vanished waits for nobody.
        let end = world::now() + 2000 * SECOND + 20 * self.plan.net.stall;
        self.until(end, |life| {
            life.clients_are_done() && life.book.open().asking == 0
        });
        // Processes still take what there is in their inboxes.
        self.until(end, |life| check::all_told(&life.book));
        check::clients_end(&self.plan, &self.book);
        check::ends(&self.plan, &self.book);
        let left = world::pending_tasks(self.outside);
        trace::mix(&[left as u64]);
    }

    /// Stops the other servers whose time this is.
    fn stop_others(&self, first: bool) {
        let is_first = self.plan.front.map(|front| front.stops_first);
        if let (Some(front), true) = (&self.front, is_first == Some(first)) {
            self.stop_other(front);
        }
        let is_first = self.plan.outer.map(|outer| outer.stops_first);
        if let (Some(outer), true) = (&self.outer, is_first == Some(first)) {
            self.stop_other(outer);
        }
    }

    fn stop_other(&self, front: &Front) {
        if world::chance(1, 2) {
            front.server.drain();
            self.until(world::now() + SECOND, |_| false);
        }
        self.engine.stop_server(&front.server, 1001, "bye");
        let end = world::now() + 30 * SECOND;
        if !self.until(end, |_| front.has_stopped()) {
            let census = front.server.census();
            self.book
                .problem(format!("another server has not stopped: {census:?}"));
        }
        if !self.until(world::now() + SECOND / 4, |_| front.is_done()) {
            let census = front.server.census();
            self.book.problem(format!("another server has {census:?}"));
        }
        self.engine.remove_stopped(front.server.id());
    }

    fn stop_engine(&self) {
        let began = world::now();
        let report = self.engine.stop();
        let took = world::now() - began;
        trace::note(&[30, took], || {
            format!("the engine has stopped in {took} ns")
        });
        if report.stuck > 0 || took > SECOND + SECOND / 4 {
            self.book
                .problem(format!("the engine took {took} ns to stop: {report:?}"));
        }
        let stopped = self.told.stopped.load(Ordering::Relaxed);
        if stopped != 1 {
            self.book
                .problem(format!("told {stopped} times that the server has stopped"));
        }
    }
}

/// Answers who may come in, and has others answer what else is asked for.
async fn gate(vm: Rc<Vm>, server: Arc<Server>, told: Arc<Told>) {
    time::sleep(Duration::from_nanos(world::draw(300_000_000))).await;
    told.has_gate.store(true, Ordering::Relaxed);
    let fair = vm.plan.fair;
    loop {
        told.asked.notified().await;
        loop {
            let asked = {
                let mut all = told
                    .questions
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                all.pop_front()
            };
            let Some((token, ask)) = asked else { break };
            if let Some(ask) = ask {
                let known = (server.clone(), told.gone.clone(), vm.book.clone());
                vm.spawn(http::answerer::answer(known, fair, token, ask));
                continue;
            }
            if world::chance(1, 4) {
                let pause = if fair { 100_000_000 } else { 8 * SECOND };
                time::sleep(Duration::from_nanos(world::draw(pause))).await;
            }
            server.answer(token, host::answer());
        }
    }
}
