//! The real system, where there is no simulation.

pub(crate) mod time {
    pub(crate) use std::time::Instant;
}

pub(crate) mod task {
    pub(crate) use tokio::task::yield_now;

    /// Starts a task beside the one that calls.
    pub(crate) fn start(work: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(work));
    }
}

pub(crate) mod thread {
    use std::sync::OnceLock;
    use std::sync::mpsc::{Sender, channel};

    pub(crate) use std::thread::sleep;

    type Job = Box<dyn FnOnce() + Send>;

    /// Does it on a thread of its own. No thread: whoever waits for it finds out by that.
    pub(crate) fn aside(name: &str, job: impl FnOnce() + Send + 'static) {
        let thread = std::thread::Builder::new().name(name.into());
        let _ = thread.spawn(job);
    }

    /// Does it soon, behind what was given before, on a thread that is there for what takes long.
    pub(crate) fn in_turn(job: impl FnOnce() + Send + 'static) {
        static THREAD: OnceLock<Option<Sender<Job>>> = OnceLock::new();
        let thread = THREAD.get_or_init(|| {
            let (sender, jobs) = channel::<Job>();
            let work = move || {
                for job in jobs {
                    // Told by the hook.
                    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
                }
            };
            let name = std::thread::Builder::new().name("sockeye-long".into());
            name.spawn(work).ok().map(|_| sender)
        });
        let job: Job = Box::new(job);
        match thread {
            Some(thread) => {
                let _ = thread.send(job);
            }
            None => job(),
        }
    }
}

pub(crate) mod net {
    //! The two halves of the socket to the VM.

    pub(crate) use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
}

pub(crate) mod collections {
    pub(crate) use std::collections::{HashMap, HashSet};
}
