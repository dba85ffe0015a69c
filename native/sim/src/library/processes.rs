//! The processes of a virtual machine that has loaded the engine: what all of them need.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sockeye_simulated_engine::{ConnId, Engine, Inbox, Mode, Notifier, Server};
use sockeye_world::{chance, draw, on_executor, task, time, trace};

use crate::model::ledger::SharedLedger;
use crate::plan::Plan;
use crate::vm::event::{Exit, VmEvent, note};
use crate::vm::wakeup::Wakeup;

/// The owner of new connections, if one is alive.
pub(super) type CurrentOwner = Arc<Mutex<Option<Arc<Inbox>>>>;

struct InboxNotifier {
    wakeup: Arc<Wakeup>,
    /// The executor of processes: one of them may run at once.
    executor: usize,
}

impl Notifier for InboxNotifier {
    fn notify(&self) -> bool {
        if self.wakeup.is_dead() {
            return false;
        }
        self.wakeup.notify();
        sockeye_world::preempt(self.executor, 1, 8);
        true
    }
}

/// The virtual machine.
pub(super) struct Vm {
    pub(super) engine: Arc<Engine>,
    pub(super) server: Arc<Server>,
    pub(super) ledger: SharedLedger,
    pub(super) plan: Rc<Plan>,
    /// The executor of its processes.
    pub(super) executor: usize,
    pub(super) owner: CurrentOwner,
    pub(super) owners: RefCell<Vec<Arc<Inbox>>>,
    /// The engine's own clients that have not come to their end.
    pub(super) engine_clients_running: Cell<usize>,
    /// The run is ending: processes only finish what there is.
    pub(super) is_ending: Cell<bool>,
}

impl Vm {
    pub(super) fn new(
        engine: &Arc<Engine>,
        server: &Arc<Server>,
        ledger: &SharedLedger,
        plan: &Rc<Plan>,
        executor: usize,
        owner: CurrentOwner,
    ) -> Rc<Self> {
        Rc::new(Vm {
            engine: engine.clone(),
            server: server.clone(),
            ledger: ledger.clone(),
            plan: plan.clone(),
            executor,
            owner,
            owners: RefCell::default(),
            engine_clients_running: Cell::new(0),
            is_ending: Cell::new(false),
        })
    }

    pub(super) fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        on_executor(self.executor, || task::spawn_local(work));
    }

    pub(super) fn inbox(&self) -> (Arc<Inbox>, Arc<Wakeup>) {
        let wakeup = Arc::new(Wakeup::default());
        let notifier = InboxNotifier {
            wakeup: wakeup.clone(),
            executor: self.executor,
        };
        let inbox = Inbox::new(self.plan.server.inbox_size, 0, Box::new(notifier));
        (inbox, wakeup)
    }

    /// Whether something happens that does in so many of a thousand cases.
    pub(super) fn happens(&self, part: u64) -> bool {
        chance(part, 1000) && !self.is_ending.get()
    }

    pub(super) async fn pause(&self) {
        if self.happens(self.plan.processes.pauses) {
            let pause = draw(self.plan.processes.pause);
            time::sleep(Duration::from_nanos(pause)).await;
        }
    }

    /// The time that a message of a monitor takes.
    pub(super) async fn monitor_delay(&self) {
        time::sleep(Duration::from_nanos(draw(20_000_000))).await;
    }

    /// A process ends.
    pub(super) async fn die(&self, inbox: &Arc<Inbox>, wakeup: &Wakeup, exit: Exit) {
        trace::note(&[10, inbox.key()], || format!("a process ends: {exit:?}"));
        wakeup.die();
        if exit == Exit::Crash {
            self.note_death(inbox);
        }
        self.monitor_delay().await;
        self.note_death(inbox);
        if self.plan.mode == Mode::Owner {
            self.engine.owner_died(inbox);
        } else {
            self.engine.inbox_died(&self.server, inbox);
        }
    }

    /// Connections of this inbox lose their process.
    fn note_death(&self, inbox: &Inbox) {
        let mut ledger = self.ledger.lock();
        for record in &mut ledger.records {
            record.receiver_died |= record.inboxes.contains(&inbox.key());
        }
    }

    /// Enters an event into the ledger.
    pub(super) fn note(&self, inbox: &Inbox, conn: ConnId, event: &VmEvent) {
        note(&self.ledger, &self.plan, inbox.key(), conn, event);
    }
}
