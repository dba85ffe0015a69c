//! Sockets that other servers hand over.

use std::sync::Arc;

use crate::accept::adopt;
use crate::engine::Engine;
use crate::net::transport::Detached;
use crate::server::Server;
use crate::shard::op::Control;
use crate::world::{Numbers, unique};

/// Which shard is next.
static ADOPTED: Numbers = Numbers::new(0);

impl Engine {
    /// Serves a socket from which another server has read these bytes: the beginning of a request, or more. What holds for accepted sockets
    /// holds for it, but for TLS and the PROXY protocol, which are the other server's.
    pub fn adopt(&self, server: &Arc<Server>, socket: Detached, read: Vec<u8>) {
        let next = unique(&ADOPTED) as usize % self.shards.len().max(1);
        if let Some(handle) = self.shard(next) {
            let server = server.clone();
            handle.control(Control::Run(Box::new(move |shard| {
                adopt::adopt(shard, &server, socket, read);
            })));
        }
    }
}
