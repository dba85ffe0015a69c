//! Processes whose death the engine must hear of.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustler::sys::{ErlNifPid, enif_whereis_pid};
use rustler::types::atom::Atom;
use rustler::{Env, LocalPid, Monitor, Resource, ResourceArc};
use sockeye_engine::{Engine, Inbox, Server};

use crate::courier::Desk;
use crate::owner::Host;
use crate::{process, running};

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
        host: Weak<Host>,
    },
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
static HOSTS: Mutex<Option<HashMap<u64, Arc<Host>>>> = Mutex::new(None);

fn watches<T>(work: impl FnOnce(&mut HashMap<u64, ResourceArc<Watch>>) -> T) -> T {
    work(
        WATCHES
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_default(),
    )
}

fn hosts<T>(work: impl FnOnce(&mut HashMap<u64, Arc<Host>>) -> T) -> T {
    work(
        HOSTS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_default(),
    )
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
    process::assert_foreign();
    let mut pid = std::mem::MaybeUninit::<ErlNifPid>::uninit();
    // SAFETY: the calling thread is not a scheduler, so there is no environment; the pid is set
    // when the result is not 0.
    unsafe {
        let found = enif_whereis_pid(std::ptr::null_mut(), name.as_c_arg(), pid.as_mut_ptr()) != 0;
        found.then(|| LocalPid::from_c_arg(pid.assume_init()))
    }
}

pub(crate) fn remember_host(id: u64, host: &Arc<Host>) {
    hosts(|all| all.insert(id, host.clone()));
}

/// The processes of this engine's servers and clients.
pub(crate) fn pids_of(engine: &Arc<Engine>) -> Vec<LocalPid> {
    hosts(|all| {
        let ours = all.values().filter(|host| host.is_of(engine));
        ours.map(|host| host.pid).collect()
    })
}

pub(crate) fn host(id: u64) -> Option<Arc<Host>> {
    hosts(|all| all.get(&id).cloned())
}

pub(crate) fn for_each_desk(mut work: impl FnMut(&Arc<Desk>)) {
    let all: Vec<_> = hosts(|all| all.values().cloned().collect());
    all.iter().for_each(|host| host.for_each_desk(&mut work));
}

/// The server is gone, and with it what was watched for it.
pub(crate) fn forget_host(id: u64, host: &Arc<Host>) {
    hosts(|all| all.remove(&id));
    host.forget_owners();
}

/// A receiver that died after its server did, or after the engine, made no mistake: its clients hear
/// what they hear of the server's end.
fn went_along(env: Env<'_>, engine: &Arc<Engine>, host: LocalPid, server: &Arc<Server>) {
    if !host.is_alive(env) || !running::is_alive(env, engine) {
        engine.stop_server(server, 1001, "server stopped");
    }
}

impl Resource for Watch {
    const IMPLEMENTS_DOWN: bool = true;

    fn down<'a>(&'a self, env: Env<'a>, pid: LocalPid, _monitor: Monitor) {
        let kept = watches(|all| all.remove(&self.key));
        match &self.watched {
            Watched::Engine(engine) => running::bury(engine),
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
                    went_along(env, &engine, *host, server);
                    engine.inbox_died(server, inbox);
                }
            }
            Watched::Owner { inbox, host } => {
                if let Some(host) = host.upgrade() {
                    if let Some((engine, server)) = host.server() {
                        went_along(env, &engine, host.pid, &server);
                    }
                    host.owner_died(&pid, inbox);
                }
            }
        }
        drop(kept);
    }
}
