//! Sockets on which another server has read a request.

use std::rc::Rc;
use std::sync::Arc;

use sockeye_protocol::handshake::{Refusal, Request};

use crate::accept;
use crate::accept::upgrade;
use crate::admission::gate::{self, AcceptedUpgrade, draining};
use crate::admission::{ask, lingering};
use crate::model::refused::{Refused, RefusedFor};
use crate::net::peer::PeerInfo;
use crate::net::transport::Detached;
use crate::server::admitted::{Verdict, VerdictReply};
use crate::server::{Permit, Server, bump};
use crate::shard::Shard;
use crate::shard::opened::Opened;
use crate::world::time;

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
                    lingering::refuse(&this, transport, &gate::no_room()).await;
                    drop(socket);
                });
            }
        },
        Err(_) => server.note_refused(RefusedFor::Left),
    }
}

/// Says what becomes of a request that another server has read and will answer. If it is accepted, a place is kept until its socket comes.
pub(crate) fn admit(
    shard: &Rc<Shard>,
    server: &Arc<Server>,
    head: Vec<u8>,
    ends: PeerInfo,
    reply: VerdictReply,
) {
    if server.is_stopping() {
        return reply.give(Verdict::Refused(draining().answer.response()));
    }
    let work = {
        let (shard, server) = (shard.clone(), server.clone());
        async move {
            let limit = ask::limit(&server);
            let judged = time::timeout(limit, judge(&server, &head, ends)).await;
            let opened = match judged {
                Ok(Ok((permit, head, accepted))) => {
                    let opened = await_socket(&server, head, accepted, reply).await;
                    opened.map(|opened| (permit, opened))
                }
                Ok(Err(refused)) => {
                    server.note_refused(refused.reason);
                    return reply.give(Verdict::Refused(refused.answer.response()));
                }
                // Whoever waits hears of it when the reply is dropped.
                Err(elapsed) => Err(elapsed.into()),
            };
            match opened {
                Ok((permit, opened)) => {
                    shard.adopt(permit, opened);
                }
                Err(reason) => server.note_refused(reason),
            }
        }
    };
    shard.spawn_for(server, work);
}

async fn judge(
    server: &Arc<Server>,
    head: &[u8],
    carrier: PeerInfo,
) -> Result<(Permit, Vec<u8>, AcceptedUpgrade), Refused> {
    let mut permit = server.permit().ok_or_else(gate::full)?;
    let request = match Request::parse(head, &server.config.head_limits)? {
        Some((request, _)) => request,
        None => return Err(Refusal::new(400, "The request is not complete.\n").into()),
    };
    let (head, accepted) = upgrade::admit(server, &mut permit, carrier, request).await?;
    Ok((permit, head, accepted))
}

/// The connection, when its socket has come.
async fn await_socket(
    server: &Arc<Server>,
    head: Vec<u8>,
    accepted: AcceptedUpgrade,
    reply: VerdictReply,
) -> Result<Opened, RefusedFor> {
    let (ticket, socket) = server.admitted.open();
    let _kept = server.admitted.kept(ticket);
    reply.give(Verdict::Accepted { ticket, head });
    let came = time::timeout(server.config.handshake_timeout, socket).await;
    let (socket, rest) = came?.map_err(|_| RefusedFor::Left)?;
    let transport = socket.attach()?;
    transport.set_nodelay()?;
    let most = server.config.max_descriptor;
    if transport.descriptor().is_some_and(|number| number >= most) {
        // It has its 101 already.
        bump(&server.counters.no_descriptor, 1);
        return Err(RefusedFor::NoDescriptor);
    }
    Ok(accepted.open(transport, rest))
}
