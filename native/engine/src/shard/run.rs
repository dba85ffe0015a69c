//! The thread of a shard: its runtime, the task that runs the turns, and the sweep.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use crate::model::clock::TICK;
use crate::model::timers;
use crate::settings::config::EngineConfig;
use crate::shard::Shard;
use crate::shard::handle::{Handle, ShardParts};

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
                if steps == 0 || tokio::time::timeout(TICK * steps, woken).await.is_err() {
                    break;
                }
            }
            tokio::time::sleep(TICK).await;
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

/// Threads of a shard that may wait for a disk or a resolver at once; more of that waits for them. They end when there is
/// nothing to do.
const BLOCKING: usize = 32;

/// Runs a shard until it is told to end. The first result tells whether it could start.
pub(crate) fn run(
    parts: ShardParts,
    all: Arc<[Arc<Handle>]>,
    config: EngineConfig,
    started: &dyn Fn(io::Result<()>),
) {
    let before = parts.handle.clone();
    let after = parts.handle.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(BLOCKING)
        .on_thread_park(move || before.before_park())
        .on_thread_unpark(move || after.after_park())
        .build_local(Default::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(e) => return started(Err(e)),
    };
    runtime.block_on(async {
        let shard = Shard::new(parts, all, config);
        tokio::task::spawn_local(shard.clone().turns());
        tokio::task::spawn_local(shard.clone().sweeper());
        started(Ok(()));
        shard.end.notified().await;
        for conn in shard.all_conns() {
            conn.abort(&shard);
        }
        // Callers that wait are told. Each panic has used up something of what is left to do.
        let last = || {
            shard.turn();
            while shard.schedule.has_ops() {
                shard.turn();
            }
            shard.announce_all();
            shard.turn();
        };
        while std::panic::catch_unwind(std::panic::AssertUnwindSafe(last)).is_err() {}
    });
    // The system may take its time to look up a host.
    runtime.shutdown_background();
}
