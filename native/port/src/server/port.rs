//! The state that calls of the VM act on: servers, grants and descriptors, beside the context.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sockeye_engine::{Engine, Server};

use crate::link::Link;
use crate::link::grants::Grants;
use crate::os::passed_descriptors::PassedDescriptors;
use crate::server::context::Context;
use crate::server::host::Host;
use crate::world::collections::HashMap;

pub(crate) struct Port {
    pub(crate) context: Arc<Context>,
    pub(crate) grants: Grants,
    servers: Mutex<Servers>,
    pub(crate) passed: Arc<PassedDescriptors>,
}

#[derive(Default)]
struct Servers {
    /// By the number that the VM gave. None while it is about to be.
    hosts: HashMap<u64, Option<Arc<Host>>>,
    /// That number, by the engine's.
    numbers: HashMap<u64, u64>,
}

impl Deref for Port {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.context
    }
}

impl Port {
    pub(crate) fn new(link: Arc<Link>) -> Arc<Self> {
        Arc::new(Port {
            context: Context::new(link.clone()),
            grants: Grants::new(link),
            servers: Mutex::default(),
            passed: Arc::default(),
        })
    }

    fn servers(&self) -> MutexGuard<'_, Servers> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Servers, by either number.
    #[cfg(sim)]
    pub(crate) fn servers_count(&self) -> (usize, usize) {
        let servers = self.servers();
        (servers.hosts.len(), servers.numbers.len())
    }

    /// Keeps a number for a server that is about to be. False if it is in use.
    pub(crate) fn keep_number(&self, number: u64) -> bool {
        let mut servers = self.servers();
        let free = !servers.hosts.contains_key(&number);
        if free {
            servers.hosts.insert(number, None);
        }
        free
    }

    /// There is a server of this number now, which the engine knows by `id`.
    pub(crate) fn remember(&self, id: u64, host: &Arc<Host>) {
        let mut servers = self.servers();
        servers.hosts.insert(host.number, Some(host.clone()));
        servers.numbers.insert(id, host.number);
    }

    pub(crate) fn forget_server(&self, number: u64) {
        let mut servers = self.servers();
        servers.hosts.remove(&number);
        servers.numbers.retain(|_, known| *known != number);
    }

    pub(crate) fn host(&self, number: u64) -> Option<Arc<Host>> {
        self.servers().hosts.get(&number)?.clone()
    }

    /// The server of this number, while it runs.
    pub(crate) fn server(&self, number: u64) -> Option<Arc<Server>> {
        self.host(number)?.find_server(self)
    }

    pub(crate) fn host_of(&self, server: &Server) -> Option<Arc<Host>> {
        let servers = self.servers();
        let number = servers.numbers.get(&server.id())?;
        servers.hosts.get(number)?.clone()
    }

    /// The processes that have servers.
    pub(crate) fn are_leaving(&self, engine: &Engine) -> bool {
        let servers = engine.all_servers();
        servers
            .iter()
            .any(|server| server.is_listening() && server.is_stopping())
    }
}
