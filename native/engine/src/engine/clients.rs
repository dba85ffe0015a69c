//! The calls about clients.

use std::io;
use std::sync::Arc;

use crate::dial;
use crate::engine::Engine;
use crate::server::Server;
use crate::settings::config::ServerConfig;
use crate::shard::op::Control;
use crate::vm::host::ServerHost;

impl Engine {
    /// Makes a client, which does nothing until [`Engine::dial`]. `config` has a
    /// [`crate::Dial`]; it ends with [`Engine::stop_server`].
    pub fn client(
        &self,
        config: ServerConfig,
        host: impl FnOnce(u64) -> Box<dyn ServerHost>,
    ) -> io::Result<Arc<Server>> {
        if config.dial.is_none() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.enlist(config, host)
    }

    /// Connects a client. [`ServerHost::dialled`] tells what became of it, and
    /// [`ServerHost::disconnected`] when it is over; then it may be dialled again. False if it is
    /// no client, or stopping.
    pub fn dial(&self, client: &Arc<Server>) -> bool {
        let shard = client.number() as usize % self.shards();
        let permit = client.permit().filter(|_| client.is_client());
        match (permit, self.shard(shard)) {
            (Some(permit), Some(shard)) if !client.is_stopping() => {
                shard.control(Control::Run(Box::new(move |shard| {
                    dial::start(shard, permit)
                })));
                true
            }
            _ => false,
        }
    }
}
