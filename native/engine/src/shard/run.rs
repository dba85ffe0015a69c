//! The thread of a shard: its runtime, the task that runs the turns, and the sweep.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use crate::model::clock::TICK;
use crate::model::timers;
use crate::settings::config::EngineConfig;
use crate::shard::Shard;
use crate::shard::handle::{Handle, ShardParts};
use crate::world::task;
use crate::world::thread::{ShardThread, Thread};
use crate::world::time;

impl Shard {
    pub(crate) async fn turns(self: Rc<Self>) {
        loop {
            self.handle.turn.notified().await;
            let work = std::panic::AssertUnwindSafe(|| self.turn());
            if std::panic::catch_unwind(work).is_err() {
                // What the turn had left to do is still on the lists.
                self.schedule();
            }
        }
    }

    pub(crate) async fn sweeper(self: Rc<Self>) {
        loop {
            while self.watched.len() == 0 {
                let woken = self.sweep.notified();
                let steps = match self.timers.earliest() {
                    timers::NEVER => {
                        woken.await;
                        continue;
                    }
                    due => due.saturating_sub(self.now() + 1),
                };
                if steps == 0 || time::timeout(TICK * steps, woken).await.is_err() {
                    break;
                }
            }
            time::sleep(TICK).await;
            let now = self.now();
            for slot in self.timers.take(now) {
                let Some(conn) = self.in_slot(slot) else {
                    continue;
                };
                let look = std::panic::AssertUnwindSafe(|| conn.check_keep_alive(&self));
                let _ = std::panic::catch_unwind(look);
            }
            for _ in 0..self.watched.len() {
                let Some(conn) = self.watched.pop() else {
                    break;
                };
                let look = std::panic::AssertUnwindSafe(|| conn.check_deadlines(&self, now));
                if std::panic::catch_unwind(look).unwrap_or(false) {
                    self.watched.push(conn);
                }
            }
        }
    }
}

/// Starts the thread of a shard, which runs until it is told to end.
pub(crate) fn start(
    parts: ShardParts,
    all: Arc<[Arc<Handle>]>,
    config: EngineConfig,
) -> io::Result<Thread> {
    let before = parts.handle.clone();
    let after = parts.handle.clone();
    let thread = ShardThread {
        name: format!("sockeye-{}", parts.handle.index),
        before_park: move || before.before_park(),
        after_park: move || after.after_park(),
        root: move || Shard::new(parts, all, config).run(),
    };
    thread.start()
}

impl Shard {
    async fn run(self: Rc<Self>) {
        task::spawn_local(self.clone().turns());
        task::spawn_local(self.clone().sweeper());
        self.end.notified().await;
        for conn in self.all_conns() {
            conn.end_with_shard(&self);
        }
        // Callers that wait are told. Each panic has used up something of what is left to do.
        let last = || {
            self.turn();
            while self.schedule.has_ops() {
                self.turn();
            }
            self.announce_all();
            self.turn();
        };
        while std::panic::catch_unwind(std::panic::AssertUnwindSafe(last)).is_err() {}
    }
}
