//! What takes long is done on a thread of its own, one thing after the other: no shard waits for it, and not the link.

use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

type Job = Box<dyn FnOnce() + Send>;

/// Does it soon.
pub(crate) fn run(job: impl FnOnce() + Send + 'static) {
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
