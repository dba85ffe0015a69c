//! Wakes processes whose inboxes have events.
//!
//! One of many connections' processes is told at once. Processes of one connection each are
//! told by way of the server's relay, in one message for all that a turn has something for:
//! a message from a foreign thread takes a lock and may wake a scheduler, which on a shared
//! core takes the core from the shard, once for each process.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex};

use rustler::LocalPid;
use sockeye_engine::Notifier;

use crate::atoms;
use crate::vm::{lock, process};

/// So few are told directly: the relay would only take longer.
const FEW: usize = 2;

/// The process of a server that wakes others, once there is one.
#[derive(Default)]
pub(crate) struct Relay(Mutex<Option<LocalPid>>);

impl Relay {
    pub(crate) fn set(&self, pid: LocalPid) {
        *lock(&self.0) = Some(pid);
    }

    fn pid(&self) -> Option<LocalPid> {
        *lock(&self.0)
    }
}

/// The process is told at once.
pub(crate) struct DirectNotifier(pub(crate) LocalPid);

impl Notifier for DirectNotifier {
    fn notify(&self) -> bool {
        process::send_atom(&self.0, atoms::sockeye_ready())
    }
}

/// The process is told when all others of the turn have been notified.
pub(crate) struct RelayedNotifier {
    pub(crate) pid: LocalPid,
    pub(crate) relay: Arc<Relay>,
}

impl Notifier for RelayedNotifier {
    fn notify(&self) -> bool {
        NOTICES.with_borrow_mut(|notices| {
            let mut known = notices.iter_mut();
            match known.find(|server| Arc::ptr_eq(&server.relay, &self.relay)) {
                Some(server) => server.pids.push(self.pid),
                None => notices.push(PendingWakes {
                    relay: self.relay.clone(),
                    pids: vec![self.pid],
                }),
            }
        });
        true
    }
}

/// The processes of one server that a turn has something for.
struct PendingWakes {
    relay: Arc<Relay>,
    pids: Vec<LocalPid>,
}

thread_local! {
    static NOTICES: RefCell<Vec<PendingWakes>> = const { RefCell::new(Vec::new()) };
    /// A process has been notified that does not answer what there is in one call.
    static SINGLY: Cell<bool> = const { Cell::new(false) };
}

/// The process that is notified now will answer message by message.
pub(crate) fn expect_single_answers() {
    SINGLY.set(true);
}

/// All processes of a turn have been notified. Whether many small answers are to be expected.
pub(crate) fn notify_all() -> bool {
    NOTICES.with_borrow_mut(|notices| {
        for server in notices.drain(..) {
            if server.pids.len() > 1 {
                expect_single_answers();
            }
            server.tell();
        }
    });
    SINGLY.take()
}

impl PendingWakes {
    fn tell(self) {
        let relay = self.relay.pid().filter(|_| self.pids.len() > FEW);
        let relayed = relay.is_some_and(|relay| {
            process::send(&relay, |b| {
                let pids: Vec<_> = self.pids.iter().map(|pid| b.pid(pid)).collect();
                b.tuple([b.atom(atoms::sockeye_wake()), b.list(&pids)])
            })
        });
        if !relayed {
            for pid in &self.pids {
                process::send_atom(pid, atoms::sockeye_ready());
            }
        }
    }
}
