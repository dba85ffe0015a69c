//! What the VM knows of each server and client, by id.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use rustler::LocalPid;
use sockeye_engine::Engine;

use crate::server::owner_inbox::OwnerInbox;
use crate::server::vm_server::VmServer;
use crate::vm::lock;

static SERVERS: Mutex<Option<HashMap<u64, Arc<VmServer>>>> = Mutex::new(None);

fn servers<T>(work: impl FnOnce(&mut HashMap<u64, Arc<VmServer>>) -> T) -> T {
    work(lock(&SERVERS).get_or_insert_default())
}

pub(crate) fn register(id: u64, host: &Arc<VmServer>) {
    servers(|all| all.insert(id, host.clone()));
}

/// The processes of this engine's servers and clients.
pub(crate) fn pids_of(engine: &Arc<Engine>) -> Vec<LocalPid> {
    servers(|all| {
        let ours = all.values().filter(|host| host.is_of(engine));
        ours.map(|host| host.pid).collect()
    })
}

pub(crate) fn find(id: u64) -> Option<Arc<VmServer>> {
    servers(|all| all.get(&id).cloned())
}

pub(crate) fn for_each_owner_inbox(mut work: impl FnMut(&Arc<OwnerInbox>)) {
    let all: Vec<_> = servers(|all| all.values().cloned().collect());
    all.iter()
        .for_each(|host| host.for_each_owner_inbox(&mut work));
}

/// The server is gone, and with it what was watched for it.
pub(crate) fn unregister(id: u64, host: &Arc<VmServer>) {
    servers(|all| all.remove(&id));
    host.forget_owners();
}
