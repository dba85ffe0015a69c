//! Sockets that other servers hand over.

use std::sync::Arc;

use crate::accept::adopt;
use crate::admission::gate;
use crate::engine::Engine;
use crate::net::peer::PeerInfo;
use crate::net::transport::Detached;
use crate::server::Server;
use crate::server::admitted::{Verdict, VerdictReply};
use crate::shard::Shard;
use crate::shard::op::Control;
use crate::world::{Numbers, unique};
use std::rc::Rc;

/// Which shard is next.
static ADOPTED: Numbers = Numbers::new(0);

impl Engine {
    /// Serves a socket from which another server has read these bytes: the beginning of a request, or more. What holds for accepted sockets
    /// holds for it, but for TLS and the PROXY protocol, which are the other server's.
    pub fn adopt(&self, server: &Arc<Server>, socket: Detached, read: Vec<u8>) {
        let server = server.clone();
        self.on_next_shard(move |shard| adopt::adopt(shard, &server, socket, read));
    }

    /// The same in two steps, where the other server answers the request. `reply` is told what to answer, on a thread of the engine; an
    /// accepted request waits for [`Engine::settle`] as long as a handshake may take.
    pub fn admit(
        &self,
        server: &Arc<Server>,
        head: Vec<u8>,
        ends: PeerInfo,
        reply: Box<dyn FnOnce(Verdict) + Send>,
    ) {
        let server = server.clone();
        let reply = VerdictReply::new(reply, || gate::draining().answer.response());
        self.on_next_shard(move |shard| adopt::admit(shard, &server, head, ends, reply));
    }

    /// The socket of a request that was accepted and has been answered; `read` came behind the request. False if nobody waits for it
    /// any more.
    pub fn settle(
        &self,
        server: &Arc<Server>,
        ticket: u64,
        socket: Detached,
        read: Vec<u8>,
    ) -> bool {
        server.admitted.settle(ticket, socket, read)
    }

    fn on_next_shard(&self, work: impl FnOnce(&Rc<Shard>) + Send + 'static) {
        let next = unique(&ADOPTED) as usize % self.shards.len().max(1);
        if let Some(handle) = self.shard(next) {
            handle.control(Control::Run(Box::new(work)));
        }
    }
}
