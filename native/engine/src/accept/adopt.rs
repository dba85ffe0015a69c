//! Sockets on which another server has read a request.

use std::rc::Rc;
use std::sync::Arc;

use crate::accept;
use crate::admission::lingering;
use crate::net::transport::Detached;
use crate::server::{Server, bump};
use crate::shard::Shard;

/// Serves such a socket on this shard, from the request on.
pub(crate) fn adopt(shard: &Rc<Shard>, server: &Arc<Server>, socket: Detached, read: Vec<u8>) {
    // One that has ended meanwhile has no ends.
    let adopted = socket
        .attach()
        .and_then(|transport| transport.ends().map(|ends| (transport, ends)));
    match adopted {
        Ok((transport, ends)) => match accept::let_in(server, transport, ends, Some(read)) {
            Ok(socket) => accept::start_here(shard, socket),
            // Its client is in the middle of talking, and it had a descriptor before.
            Err(transport) => {
                let socket = server.count_socket();
                let this = shard.clone();
                shard.spawn_for(server, async move {
                    lingering::refuse(&this, transport, &accept::no_room()).await;
                    drop(socket);
                });
            }
        },
        Err(_) => bump(&server.counters.rejected, 1),
    }
}
