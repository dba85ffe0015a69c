//! Worlds in which the engine is a process of its own: its link, and a virtual machine at the other end.
//!
//! The link cuts, delays and stalls as the network does, and has little room. Bounds of bytes are smaller than those of the
//! product, so that what is large there is met here all the time (`SCALE` in `native/port/src/world`).

mod dial;
mod handler;
mod host;
mod machine;
mod mail;
mod other;
mod owner;
mod pieces;
pub(crate) mod plan;
mod requests;
mod settings;
mod terms;
mod writer;

use std::cell::{Cell, RefCell};
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;

use sockeye_simulated_engine::Server;
use sockeye_simulated_port::packets::Broken;
use sockeye_simulated_port::simulated::{self, FULL};
use sockeye_world::net::{OwnedReadHalf, OwnedWriteHalf, TcpStream, reset_on_close};
use sockeye_world::{self as world, net, trace};

use self::host::{Told, serve_host, stop};
use self::machine::Machine;
use self::mail::Answer;
use self::other::Other;
use self::plan::{PortEnd, PortPlan};
use self::settings::{of_front, of_outer};
use self::terms::{FRONT, OUTER, SERVER};
use crate::book::{Account, Shared};
use crate::door::Door;
use crate::handshake::{pools, way};
use crate::http2::Pool;
use crate::plan::{EndPlan, Plan};
use crate::process::machine as processors;
use crate::steps::step_until;
use crate::terms::{Term, int};
use crate::{check, client, http};

const SECOND: u64 = 1_000_000_000;
/// What may wait for the VM beside events, and one batch.
const SLACK: usize = 64 * 1024;
/// The engine's process ends within this time, whatever hangs in it.
const PATIENCE: u64 = 1_800_000_000;

struct Life {
    plan: Rc<Plan>,
    port: PortPlan,
    book: Shared,
    machine: Rc<Machine>,
    engine: Rc<simulated::Process>,
    /// How the engine's process has ended.
    ended: Rc<RefCell<Option<Result<(), Broken>>>>,
    told: Rc<Told>,
    pools: Vec<Rc<Pool>>,
    /// Who has started the server.
    host: u32,
    server: Option<Arc<Server>>,
    others: Vec<Other>,
    /// Who answers ordinary requests.
    asked: Option<Arc<Server>>,
}

/// Lives a world.
pub(crate) fn live(plan: &Plan, port: &PortPlan, book: &Shared) {
    let Some(life) = Life::begin(plan, port, book) else {
        book.problem("the engine's process does not listen".into());
        return;
    };
    life.live();
    if book.open().problems.is_empty() {
        life.end();
    }
}

impl Life {
    fn begin(plan: &Plan, port: &PortPlan, book: &Shared) -> Option<Self> {
        let plan = Rc::new(plan.clone());
        let runs = processors();
        let outside = world::executor(world::Order::Any);
        let main = world::executor(world::Order::Fifo);
        net::set_faults(plan.net);
        // A shard may lose its core to the link's thread, or to the VM.
        net::set_preempts(if world::chance(1, 2) { main } else { runs }, plan.preempts);
        world::set_freezes(plan.freezes);
        {
            let mut book = book.open();
            book.accounts = plan.clients.iter().map(|_| Account::default()).collect();
            book.late_refusals = true;
        }
        let (ours, theirs) = TcpStream::pair(port.link);
        let theirs = Arc::new(theirs);
        let halves = (
            OwnedReadHalf::of(theirs.clone()),
            OwnedWriteHalf::of(theirs.clone()),
        );
        let ended = Rc::new(RefCell::new(None));
        let (engine, serve) = world::on_executor(main, || simulated::begin(halves.0, halves.1));
        let engine = Rc::new(engine);
        world::on_executor(main, || {
            let (ended, engine) = (ended.clone(), engine.clone());
            world::task::spawn_local(async move {
                let how = serve.await;
                // As at the end of the process.
                engine.stop();
                theirs.hang_up();
                *ended.borrow_mut() = Some(how);
            })
        });
        let machine = Machine::new(book, &plan, runs, ours);
        machine.spawn(machine.clone().write());
        machine.spawn(machine.clone().read());
        let told = Rc::new(Told::default());
        let host = machine.process();
        let number = host.number;
        machine.spawn(serve_host(machine.clone(), host, told.clone()));
        let mut life = Life {
            plan,
            port: *port,
            book: book.clone(),
            machine,
            engine,
            ended,
            told,
            pools: Vec::new(),
            host: number,
            server: None,
            others: Vec::new(),
            asked: None,
        };
        let mut port = life.place(&life.told)?;
        let known = life.engine.engine()?.all_servers();
        life.server = known.first().cloned();
        let (plan, first) = (life.plan.clone(), life.server.clone());
        if let Some(outer) = plan.outer {
            port = life.begin_other(OUTER, outer.stops_first, of_outer(&plan))?;
        }
        let outer = life.others.first().map(|outer| outer.server.clone());
        life.asked = outer.or(first);
        let mut before = port;
        if let Some(front) = plan.front {
            before = life.begin_other(FRONT, front.stops_first, of_front(&plan, &front, port))?;
        }
        let place = |port: u16| (Ipv4Addr::LOCALHOST, port).into();
        let at = Door::of(&life.plan, place(port), place(before));
        life.pools = world::on_executor(outside, || pools(&life.plan, book, &at));
        for (place, client) in life.plan.clients.iter().enumerate() {
            let way = way(client.carrier, &life.pools, at(client.behind));
            let client = (client.clone(), life.plan.server.deflate);
            let run = client::run(book.clone(), place, client, way);
            world::on_executor(outside, || world::task::spawn_local(run));
        }
        crate::dial::name(Ipv4Addr::LOCALHOST.into());
        life.machine.diallers.set(life.plan.dials.len());
        for (number, rounds) in life.plan.dials.iter().enumerate() {
            let lives = dial::run(life.machine.clone(), number, *rounds, port);
            life.machine.spawn(lives);
        }
        book.open().asking = life.plan.askers.len();
        for (number, asker) in life.plan.askers.iter().enumerate() {
            let way = way(asker.carrier, &life.pools, at(asker.behind));
            let run = http::asker::run(book.clone(), life.plan.fair, number, asker.clone(), way);
            world::on_executor(outside, || world::task::spawn_local(run));
        }
        Some(life)
    }

    /// The port of a server, once it listens.
    fn place(&self, told: &Told) -> Option<u16> {
        let up = self.until(world::now() + 100 * SECOND + self.slow(), |_| {
            told.port.get().is_some() || told.failed.get()
        });
        told.port.get().filter(|_| up)
    }

    fn clients_are_done(&self) -> bool {
        let book = self.book.open();
        let ended = book.accounts.iter().all(|account| account.end.is_some());
        let done = book.asking == 0
            && self.pools.iter().all(|pool| pool.is_over())
            && self.machine.diallers.get() == 0;
        ended && (done || !self.plan.fair)
    }

    fn until(&self, end: u64, done: impl Fn(&Self) -> bool) -> bool {
        step_until(end, &self.book, || done(self), || self.look())
    }

    fn look(&self) {
        check::bounds(&self.plan, &self.book);
        let (small, large) = self.engine.waiting();
        if let Some(server) = &self.asked {
            check::answers(&self.plan, &self.book, server);
        }
        // Each shard has at most one event or question more, that has come when there was room for it.
        let asks = self.plan.askers.iter().flat_map(|asker| &asker.asks);
        let content = asks.map(|ask| ask.body).max().unwrap_or(0);
        let most = self.plan.shards * content.max(self.plan.server.max_message);
        let most = FULL + SLACK + most + self.machine.commanded.get();
        if small > FULL + SLACK || large > most {
            let what = format!("{small} and {large} bytes wait for the link, {most} at most");
            self.book.problem(what);
        }
        let (kept, may) = self.engine.memory();
        if kept > may {
            let what = format!("the link keeps {kept} bytes where {small} wait, {may} at most");
            self.book.problem(what);
        }
    }

    fn live(&self) {
        let end = world::now() + self.plan.ends_at.as_nanos() as u64;
        let told = |life: &Self| !life.plan.fair || check::all_told(&life.book);
        let done = self.until(end, |life| life.clients_are_done() && told(life));
        if self.plan.fair && !done && self.book.open().problems.is_empty() {
            let what = format!("it takes too long: {:?}", self.book.open());
            self.book.problem(what);
        }
        if self.plan.fair {
            // That a reply is refused is told later.
            self.until(end, |life| {
                let book = life.book.open();
                let known = |account: &Account| {
                    // An owner before the last one takes what is its own when it likes.
                    account.has_heard(account.accepted) && account.received == account.said
                };
                book.accounts.iter().all(known)
            });
            check::good_end(&self.plan, &self.book);
        }
    }

    /// Calls something whose answer is not waited for.
    fn ask(&self, by: u32, function: &'static str, args: Vec<Term>) {
        let machine = self.machine.clone();
        self.machine.spawn(async move {
            machine.call(by, function, args).await;
        });
    }

    /// Everything is let go.
    fn end(&self) {
        self.machine.calm.set(true);
        self.book.open().stopping = true;
        self.stop_others(true);
        match (self.port.end, self.plan.end) {
            (PortEnd::Lost { reset }, _) => return self.lose(reset),
            (PortEnd::HostDies, _) => {
                self.told.dead.set(true);
                let (machine, host) = (self.machine.clone(), self.host);
                self.machine.spawn(async move { machine.kill(host).await });
            }
            (PortEnd::AsPlanned, EndPlan::StopServer) => {
                self.ask(self.host, "server_stop", stop(SERVER));
            }
            (PortEnd::AsPlanned, EndPlan::DrainThenStop) => {
                self.machine
                    .cast(self.host, "server_drain", vec![int(SERVER)]);
                let free =
                    |life: &Life| life.plan.outer.is_some() || life.told.unlistened.get() == 1;
                if !self.until(world::now() + SECOND + self.slow(), free) {
                    self.book.problem("the port is not free".into());
                }
                self.ask(self.host, "server_stop", stop(SERVER));
            }
            (PortEnd::AsPlanned, EndPlan::StopEngine) => return self.stop_engine(),
        }
        // Processes take what they have not seen at their own pace.
        let slack = 40 * self.plan.processes.pause + 30 * SECOND + 10 * self.slow();
        let stopped = |life: &Life| life.told.stopped.get() == 1;
        if !self.until(world::now() + slack, stopped) {
            let census = self.server.as_ref().map(|server| server.census());
            self.book
                .problem(format!("the server has not stopped: {census:?}"));
        }
        let dialled = |life: &Life| life.machine.diallers.get() == 0;
        if !self.until(world::now() + 100 * slack, dialled) {
            self.book
                .problem("a client of the engine's does not end".into());
        }
        self.stop_others(false);
        self.machine.stop_all();
        let quiet = |life: &Life| {
            let engine_only = [("processes", 1)];
            let counted = life.engine.census();
            let nothing = counted
                .iter()
                .all(|(what, n)| *n == 0 || engine_only.contains(&(*what, *n)));
            check::is_empty() && nothing && life.machine.granted() == 0
        };
        if !self.until(world::now() + slack, quiet) && self.book.open().problems.is_empty() {
            let (census, granted) = (self.engine.census(), self.machine.granted());
            self.book.problem(format!(
                "there are still {census:?} and {granted} grants in the VM"
            ));
            if let Some(server) = &self.server {
                check::nothing_left(&self.book, server);
            }
        }
        if !self.book.open().problems.is_empty() {
            return;
        }
        if let Some(server) = &self.server {
            // Questions are dropped with who has asked, a turn after all is told.
            self.until(world::now() + SECOND / 4, |_| check::is_done(server));
            check::nothing_left(&self.book, server);
        }
        self.machine.is_ending.set(true);
        let pongs = |life: &Life| life.machine.pinged.get() == life.machine.ponged.get();
        if !self.until(world::now() + slack, pongs) {
            self.book.problem("a ping is not answered".into());
        }
        self.let_go();
    }

    /// How much longer something takes because of the link.
    fn slow(&self) -> u64 {
        20 * (self.port.link.stall + self.port.link.delay)
    }

    fn stop_engine(&self) {
        let machine = self.machine.clone();
        let host = self.host;
        let done = Rc::new(Cell::new(false));
        let stopped = done.clone();
        self.machine.spawn(async move {
            let answer = machine.call(host, "engine_stop", Vec::new()).await;
            stopped.set(matches!(answer, Answer::Value(ok) if ok.is("ok")));
        });
        if !self.until(world::now() + 2 * SECOND + 3 * self.slow(), |_| done.get()) {
            self.book.problem("engine_stop is not answered".into());
        }
        self.let_go();
    }

    /// Processes take what there is, and the VM is done with the engine.
    fn let_go(&self) {
        self.machine.is_ending.set(true);
        let end = world::now() + 2000 * SECOND + 20 * self.plan.net.stall + 20 * self.slow();
        // What has just come is still in a mailbox: of that nobody has read that there is something.
        self.until(end, |life| check::all_told(&life.book));
        let pause = 2 * self.plan.processes.pause;
        self.until(world::now() + 5 * SECOND + pause, |_| false);
        self.until(end, |life| check::all_told(&life.book));
        self.hang_up(false);
        self.until(end, |life| {
            life.clients_are_done() && life.book.open().asking == 0
        });
        check::clients_end(&self.plan, &self.book);
        check::ends(&self.plan, &self.book);
    }

    /// The VM is gone, or its end of the link.
    fn lose(&self, reset: bool) {
        self.hang_up(reset);
        let end = world::now() + 2000 * SECOND + 20 * self.plan.net.stall;
        self.until(end, |life| {
            life.clients_are_done() && life.book.open().asking == 0
        });
        check::clients_end(&self.plan, &self.book);
        // What is over has its slot until the next turn.
        self.until(world::now() + SECOND / 4, |_| check::has_no_conns());
        check::no_conns(&self.book);
    }

    fn hang_up(&self, reset: bool) {
        if reset {
            reset_on_close(&self.machine.stream);
        }
        let began = world::now();
        trace::note(&[62], || "the VM hangs up".into());
        self.machine.stream.hang_up();
        self.machine.lose();
        let way = self.port.link.delay + self.port.link.stall;
        let over = |life: &Life| life.ended.borrow().is_some();
        if !self.until(began + PATIENCE + 4 * way, over) {
            self.book
                .problem("the engine's process does not end".into());
        }
        if let Some(Err(broken)) = &*self.ended.borrow() {
            self.book
                .problem(format!("the VM says nonsense: {broken:?}"));
        }
    }
}
