//! The real system, where there is no simulation.

use std::sync::atomic::Ordering;

use super::Numbers;

pub(crate) mod time {
    pub(crate) use std::time::SystemTime;

    pub(crate) use tokio::time::{
        Instant, Sleep, error::Elapsed, sleep, sleep_until, timeout, timeout_at,
    };

    /// The time of day.
    pub(crate) fn system_now() -> SystemTime {
        SystemTime::now()
    }
}

pub(crate) mod task {
    pub(crate) use tokio::task::{AbortHandle, JoinHandle, JoinSet, spawn_blocking, spawn_local};

    pub(crate) use crate::world::task_group::TaskGroup;

    /// What one task may do at a time would be for all of its members, and who has had none of it would wait for ever.
    pub(in crate::world) fn spawn_unconstrained(task: impl Future<Output = ()> + 'static) {
        spawn_local(tokio::task::unconstrained(task));
    }
}

pub(crate) mod thread {
    //! Threads of shards, and what other threads do while they wait for them.

    use std::io;
    use std::sync::mpsc;

    pub(crate) use std::thread::{sleep, yield_now};

    /// Work of a thread that may wait for a disk or a resolver at once; more of that waits for them. They end when there is
    /// nothing to do.
    const BLOCKING: usize = 32;

    /// What a thread of a shard does.
    pub(crate) struct ShardThread<Park, Unpark, Root> {
        pub(crate) name: String,
        /// Called when it has nothing left to run.
        pub(crate) before_park: Park,
        /// Called when it goes on.
        pub(crate) after_park: Unpark,
        /// Makes, on the thread, what it runs until it ends. The tasks that this starts run beside it.
        pub(crate) root: Root,
    }

    /// A thread that was started.
    pub(crate) struct Thread(std::thread::JoinHandle<()>);

    impl Thread {
        /// Whether it has ended.
        pub(crate) fn is_finished(&self) -> bool {
            self.0.is_finished()
        }

        /// Waits for its end.
        pub(crate) fn join(self) {
            let _ = self.0.join();
        }
    }

    impl<Park, Unpark, Root, Run> ShardThread<Park, Unpark, Root>
    where
        Park: Fn() + Send + Sync + 'static,
        Unpark: Fn() + Send + Sync + 'static,
        Root: FnOnce() -> Run + Send + 'static,
        Run: Future<Output = ()> + 'static,
    {
        /// Starts it, and waits until it runs.
        pub(crate) fn start(self) -> io::Result<Thread> {
            let ShardThread {
                name,
                before_park,
                after_park,
                root,
            } = self;
            let (sender, started) = mpsc::sync_channel(1);
            let run = move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_io()
                    .enable_time()
                    .max_blocking_threads(BLOCKING)
                    .on_thread_park(before_park)
                    .on_thread_unpark(after_park)
                    .build_local(Default::default());
                let runtime = match runtime {
                    Ok(runtime) => runtime,
                    Err(e) => {
                        let _ = sender.try_send(Err(e));
                        return;
                    }
                };
                runtime.block_on(async {
                    let root = root();
                    let _ = sender.try_send(Ok(()));
                    root.await;
                });
                // The system may take its time to look up a host.
                runtime.shutdown_background();
            };
            let thread = std::thread::Builder::new().name(name).spawn(run)?;
            started
                .recv()
                .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))?;
            Ok(Thread(thread))
        }
    }
}

pub(crate) mod net {
    //! Sockets of TCP.

    use std::io;
    use std::net::SocketAddr;
    use std::time::Duration;

    use socket2::{Domain, Protocol, SockRef, Socket, Type};

    /// A socket that no runtime watches.
    pub(crate) use std::net::TcpListener as DetachedListener;
    pub(crate) use std::net::TcpStream as DetachedStream;
    pub(crate) use tokio::net::{TcpListener, TcpStream};

    /// Bytes that may wait in the kernel for a peer that is followed.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const AHEAD: u32 = 128 * 1024;

    /// Listens. `SO_REUSEADDR`, so that a restart need not wait for old connections; `SO_REUSEPORT`, which
    /// lets servers share a port without either being told, only when it is asked for.
    pub(crate) fn listen(
        address: SocketAddr,
        backlog: i32,
        reuse_port: bool,
    ) -> io::Result<DetachedListener> {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        #[cfg(not(windows))]
        socket.set_reuse_address(true)?;
        #[cfg(unix)]
        if reuse_port {
            socket.set_reuse_port(true)?;
        }
        #[cfg(not(unix))]
        let _ = reuse_port;
        socket.bind(&address.into())?;
        socket.listen(backlog)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    }

    /// The number of the socket's descriptor, where there is such a number.
    pub(crate) fn descriptor(socket: &TcpStream) -> Option<usize> {
        #[cfg(unix)]
        {
            use std::os::fd::AsRawFd;
            usize::try_from(socket.as_raw_fd()).ok()
        }
        #[cfg(not(unix))]
        {
            let _ = socket;
            None
        }
    }

    /// What can be written follows what the peer takes: the kernel keeps little ahead of it. Where there
    /// is no such setting, it does not.
    pub(crate) fn keep_little_ahead(socket: &TcpStream) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _ = SockRef::from(socket).set_tcp_notsent_lowat(AHEAD);
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let _ = socket;
    }

    /// Makes closing this socket reset it.
    pub(crate) fn reset_on_close(socket: &TcpStream) {
        let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
    }
}

pub(crate) mod names {
    /// The addresses of a host, by the system's resolver in a thread of a small pool.
    pub(crate) use tokio::net::lookup_host;
}

pub(crate) mod collections {
    //! Tables whose keys others may choose: they are hashed with a secret.

    pub(crate) use std::collections::{HashMap, HashSet};
    pub(crate) use std::hash::RandomState;
}

/// The next number of those that this counter gives out.
pub(crate) fn unique(counter: &Numbers) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed)
}
