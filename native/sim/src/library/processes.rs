//! The processes of a virtual machine that has loaded the engine: what all of them need.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use sockeye_simulated_engine::{ConnId, Engine, Inbox, Mode, Notifier, Server};
use sockeye_world::{on_executor, task, trace};

use crate::model::ledger::SharedLedger;
use crate::plan::Plan;
use crate::vm::behaviour::Behaviour;
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
    pub(super) behaviour: Behaviour,
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
            behaviour: Behaviour::new(plan.processes),
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

    /// A process ends.
    pub(super) async fn die(&self, inbox: &Arc<Inbox>, wakeup: &Wakeup, exit: Exit) {
        trace::note(&[10, inbox.key()], || format!("a process ends: {exit:?}"));
        wakeup.die();
        if exit == Exit::Crash {
            self.note_death(inbox);
        }
        self.behaviour.monitor_delay().await;
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
