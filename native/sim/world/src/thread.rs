//! Threads of shards, and what other threads do while they wait for them.

use std::io;
use std::time::Duration;

use crate::executor::{self, Hooks, Order};

/// What a thread of a shard does.
pub struct ShardThread<Park, Unpark, Root> {
    /// Its name.
    pub name: String,
    /// Called when it has nothing left to run.
    pub before_park: Park,
    /// Called when it goes on.
    pub after_park: Unpark,
    /// Makes what it runs until it ends.
    pub root: Root,
}

/// A thread that was started.
#[derive(Debug)]
pub struct Thread(usize);

impl Thread {
    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        executor::is_finished(self.0)
    }

    /// It has ended.
    pub fn join(self) {}
}

impl<Park, Unpark, Root, Run> ShardThread<Park, Unpark, Root>
where
    Park: Fn() + 'static,
    Unpark: Fn() + 'static,
    Root: FnOnce() -> Run + 'static,
    Run: Future<Output = ()> + 'static,
{
    /// Starts it.
    ///
    /// # Errors
    /// None.
    pub fn start(self) -> io::Result<Thread> {
        let hooks = Hooks {
            before_park: Box::new(self.before_park),
            after_park: Box::new(self.after_park),
        };
        let index = executor::make(Order::Fifo, Some(hooks));
        executor::on_executor(index, || {
            let root = (self.root)();
            let (_, number) = executor::spawn(Box::pin(root));
            executor::set_root(index, number);
        });
        Ok(Thread(index))
    }
}

/// Does it on a thread of its own.
pub fn aside(_name: &str, job: impl FnOnce() + 'static) {
    let index = executor::executor(Order::Fifo);
    executor::on_executor(index, || {
        let (_, number) = executor::spawn(Box::pin(async move { job() }));
        executor::set_root(index, number);
    });
}

/// Does it behind what was given before, on a thread that is there for what takes long.
pub fn in_turn(job: impl FnOnce() + 'static) {
    let index = crate::with(|world| world.worker.get()).unwrap_or_else(|| {
        let index = executor::executor(Order::Fifo);
        crate::with(|world| world.worker.set(Some(index)));
        index
    });
    executor::on_executor(index, || executor::spawn(Box::pin(async move { job() })));
}

/// The caller waits: the others go on.
pub fn sleep(duration: Duration) {
    crate::run_for(duration.as_nanos() as u64);
}

/// Others may go on, at once or later.
pub fn yield_now() {}
