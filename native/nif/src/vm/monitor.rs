//! Processes whose death the engine must hear of.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use rustler::sys::{ErlNifPid, enif_whereis_pid};
use rustler::types::atom::Atom;
use rustler::{Env, LocalPid, Monitor, Resource, ResourceArc};
use sockeye_engine::{Engine, Inbox, Server};

use crate::terms::scheduler::assert_foreign;
use crate::vm::{lock, running};

/// What ends with a process.
pub(crate) enum Watched {
    Engine(Arc<Engine>),
    Server {
        server: Arc<Server>,
        engine: Weak<Engine>,
    },
    Inbox {
        inbox: Arc<Inbox>,
        server: Arc<Server>,
        /// The server's process.
        host: LocalPid,
        engine: Weak<Engine>,
    },
    Owner {
        inbox: Arc<Inbox>,
        owners: Weak<dyn OwnerRegistry>,
    },
}

/// Knows the owners of a server.
pub(crate) trait OwnerRegistry: Send + Sync {
    /// The server, as long as the engine knows it, and its process.
    fn server(&self) -> Option<(Arc<Engine>, Arc<Server>, LocalPid)>;
    /// An owner is dead: its connections must know.
    fn owner_died(&self, pid: &LocalPid, inbox: &Arc<Inbox>);
}

/// The resource that carries the monitor. Kept in a table until the process dies: the VM drops
/// the monitors of a resource that nobody holds.
pub(crate) struct Watch {
    key: u64,
    watched: Watched,
}

/// Names a monitor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WatchKey(u64);

static NEXT: AtomicU64 = AtomicU64::new(1);
static WATCHES: Mutex<Option<HashMap<u64, ResourceArc<Watch>>>> = Mutex::new(None);

fn watches<T>(work: impl FnOnce(&mut HashMap<u64, ResourceArc<Watch>>) -> T) -> T {
    work(lock(&WATCHES).get_or_insert_default())
}

/// Monitors a process. None if it is dead already.
pub(crate) fn watch(env: Option<Env<'_>>, pid: &LocalPid, watched: Watched) -> Option<WatchKey> {
    let key = NEXT.fetch_add(1, Ordering::Relaxed);
    let watch = ResourceArc::new(Watch { key, watched });
    watches(|all| all.insert(key, watch.clone()));
    if watch.monitor(env, pid).is_some() {
        return Some(WatchKey(key));
    }
    unwatch(WatchKey(key));
    None
}

/// Ends a monitor.
pub(crate) fn unwatch(WatchKey(key): WatchKey) {
    // Dropped after the lock is free: the VM ends the monitors of a resource that is gone.
    drop(watches(|all| all.remove(&key)));
}

/// The process of this name.
pub(crate) fn whereis(name: Atom) -> Option<LocalPid> {
    assert_foreign();
    let mut pid = std::mem::MaybeUninit::<ErlNifPid>::uninit();
    // SAFETY: the calling thread is not a scheduler, so there is no environment; the pid is set
    // when the result is not 0.
    unsafe {
        let found = enif_whereis_pid(std::ptr::null_mut(), name.as_c_arg(), pid.as_mut_ptr()) != 0;
        found.then(|| LocalPid::from_c_arg(pid.assume_init()))
    }
}

/// A receiver that died after its server did, or after the engine, made no mistake: its clients hear
/// what they hear of the server's end.
fn died_with_server(env: Env<'_>, engine: &Arc<Engine>, host: LocalPid, server: &Arc<Server>) {
    if !host.is_alive(env) || !running::is_alive(env, engine) {
        engine.stop_server(server, 1001, "server stopped");
    }
}

impl Resource for Watch {
    const IMPLEMENTS_DOWN: bool = true;

    fn down<'a>(&'a self, env: Env<'a>, pid: LocalPid, _monitor: Monitor) {
        let kept = watches(|all| all.remove(&self.key));
        match &self.watched {
            Watched::Engine(engine) => running::end_in_background(engine),
            Watched::Server { server, engine } => {
                if let Some(engine) = engine.upgrade() {
                    engine.stop_server(server, 1001, "server stopped");
                }
            }
            Watched::Inbox {
                inbox,
                server,
                host,
                engine,
            } => {
                if let Some(engine) = engine.upgrade() {
                    died_with_server(env, &engine, *host, server);
                    engine.inbox_died(server, inbox);
                }
            }
            Watched::Owner { inbox, owners } => {
                if let Some(owners) = owners.upgrade() {
                    if let Some((engine, server, host)) = owners.server() {
                        died_with_server(env, &engine, host, &server);
                    }
                    owners.owner_died(&pid, inbox);
                }
            }
        }
        drop(kept);
    }
}
