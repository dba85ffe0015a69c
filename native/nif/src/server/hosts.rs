//! The hosts of all servers and clients, by id.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rustler::LocalPid;
use sockeye_engine::Engine;

use crate::server::desk::Desk;
use crate::server::owner::Host;

static HOSTS: Mutex<Option<HashMap<u64, Arc<Host>>>> = Mutex::new(None);

fn hosts<T>(work: impl FnOnce(&mut HashMap<u64, Arc<Host>>) -> T) -> T {
    work(
        HOSTS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_default(),
    )
}

pub(crate) fn remember(id: u64, host: &Arc<Host>) {
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
pub(crate) fn forget(id: u64, host: &Arc<Host>) {
    hosts(|all| all.remove(&id));
    host.forget_owners();
}
