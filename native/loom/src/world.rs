//! What the sources take from the world and is not real here: threads, pauses, and the socket to the VM.

/// Bounds of bytes of `native/port` are so much smaller, so that a few bytes are many.
pub(crate) const SCALE: usize = 4096;

pub(crate) mod thread {
    use std::io;

    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicBool, Ordering};

    pub(crate) use std::thread::yield_now;

    /// Does it on another thread.
    pub(crate) fn in_turn(job: impl FnOnce() + 'static) {
        loom::thread::spawn(job);
    }

    /// No time passes here: others go on.
    pub(crate) fn sleep(_time: std::time::Duration) {
        loom::thread::yield_now();
    }

    /// A thread that was started.
    pub(crate) struct Thread {
        thread: loom::thread::JoinHandle<()>,
        finished: Arc<AtomicBool>,
    }

    impl Thread {
        pub(crate) fn spawn(work: impl FnOnce() + 'static) -> Self {
            let finished = Arc::new(AtomicBool::new(false));
            let at_end = finished.clone();
            let thread = loom::thread::spawn(move || {
                work();
                at_end.store(true, Ordering::Release);
            });
            Thread { thread, finished }
        }

        /// As the standard library: it orders nothing.
        pub(crate) fn is_finished(&self) -> bool {
            self.finished.load(Ordering::Relaxed)
        }

        pub(crate) fn join(self) {
            let _ = self.thread.join();
        }
    }

    /// What a thread of a shard does. Here the checks do it.
    pub(crate) struct ShardThread<Park, Unpark, Root> {
        pub(crate) name: String,
        pub(crate) before_park: Park,
        pub(crate) after_park: Unpark,
        pub(crate) root: Root,
    }

    impl<Park, Unpark, Root> ShardThread<Park, Unpark, Root> {
        pub(crate) fn start(self) -> io::Result<Thread> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
}

pub(crate) mod task {
    use std::cell::Cell;
    use std::pin::Pin;
    use std::task::Poll;

    pub(crate) use crate::world::system::task::*;

    type Task = Pin<Box<dyn Future<Output = ()>>>;

    thread_local! {
        static SPAWNED: Cell<Option<Task>> = const { Cell::new(None) };
    }

    /// The check runs it.
    pub(in crate::world) fn spawn_unconstrained(task: impl Future<Output = ()> + 'static) {
        SPAWNED.set(Some(Box::pin(task)));
    }

    /// The last one.
    pub(crate) fn spawned() -> Option<Task> {
        SPAWNED.take()
    }

    /// As tokio's: the task goes on when its thread has looked at its others. The thread itself need not wait for other threads, as it
    /// would with loom's own.
    pub(crate) async fn yield_now() {
        let mut has_yielded = false;
        std::future::poll_fn(|cx| {
            if std::mem::replace(&mut has_yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

pub(crate) mod net {
    use std::io;
    use std::sync::Arc;

    use crate::world::sync::{Mutex, Notify};
    pub(crate) use crate::world::system::net::*;

    struct Socket {
        /// So many bytes fit.
        room: Mutex<usize>,
        bytes: Mutex<Vec<u8>>,
        has_room: Notify,
        has_bytes: Notify,
    }

    /// The engine's half of the socket to the VM, which takes so many bytes before they are read.
    pub(crate) struct OwnedWriteHalf(Arc<Socket>);

    /// The VM's.
    pub(crate) struct ReadHalf(Arc<Socket>);

    pub(crate) fn socket(room: usize) -> (OwnedWriteHalf, ReadHalf) {
        let socket = Arc::new(Socket {
            room: Mutex::new(room),
            bytes: Mutex::new(Vec::new()),
            has_room: Notify::default(),
            has_bytes: Notify::default(),
        });
        (OwnedWriteHalf(socket.clone()), ReadHalf(socket))
    }

    impl OwnedWriteHalf {
        pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
            let socket = &self.0;
            let mut room = socket.room.lock().map_err(|_| io::ErrorKind::Other)?;
            let written = bytes.len().min(*room);
            if written == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            *room -= written;
            drop(room);
            if let (Ok(mut all), Some(bytes)) = (socket.bytes.lock(), bytes.get(..written)) {
                all.extend_from_slice(bytes);
            }
            socket.has_bytes.notify_one();
            Ok(written)
        }

        /// Waits for room. Who asks may find that there is none.
        pub(crate) async fn writable(&self) -> io::Result<()> {
            self.0.has_room.notified().await;
            Ok(())
        }
    }

    impl ReadHalf {
        /// All that has been written, as soon as there is some.
        pub(crate) async fn read(&self) -> Vec<u8> {
            loop {
                let bytes = self.take();
                if !bytes.is_empty() {
                    return bytes;
                }
                self.0.has_bytes.notified().await;
            }
        }

        /// What has been written.
        pub(crate) fn take(&self) -> Vec<u8> {
            let bytes = self.0.bytes.lock().map(|mut all| std::mem::take(&mut *all));
            let bytes = bytes.unwrap_or_default();
            if let Ok(mut room) = self.0.room.lock() {
                *room += bytes.len();
            }
            if !bytes.is_empty() {
                self.0.has_room.notify_one();
            }
            bytes
        }
    }
}
