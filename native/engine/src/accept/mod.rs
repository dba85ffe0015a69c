//! From an accepted socket to a connection.
//!
//! It is a task of its own, so that its state does not stay with the connection.

pub(crate) mod adopt;
pub(crate) mod bind;
pub(crate) mod listener;
mod upgrade;

use std::io::IoSlice;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use sockeye_protocol::handshake::Refusal;
use tokio::io::AsyncReadExt;

use crate::admission::{ask, forwarded, gate, lingering};
use crate::http;
use crate::http::h2::Preface;
use crate::model::refused::RefusedFor;
use crate::net::peer::PeerInfo;
use crate::net::tls_accept;
use crate::net::transport::{Detached, Transport};
use crate::server::{Permit, Server, bump};
use crate::settings::options;
use crate::shard::Shard;
use crate::vm::host::Notice;
use crate::world::task;
use crate::world::time;
use upgrade::FirstRequest;

/// A socket that was let in.
pub(crate) struct AcceptedSocket<T> {
    pub(crate) permit: Permit,
    pub(crate) transport: T,
    pub(crate) peer_info: PeerInfo,
    /// What another server has read from it, if one has.
    pub(crate) read: Option<Vec<u8>>,
}

/// Takes over a socket that another shard accepted.
pub(crate) fn start(shard: &Rc<Shard>, socket: AcceptedSocket<Detached>) {
    if let Ok(transport) = socket.transport.attach() {
        let AcceptedSocket {
            permit,
            peer_info,
            read,
            ..
        } = socket;
        start_here(
            shard,
            AcceptedSocket {
                permit,
                transport,
                peer_info,
                read,
            },
        );
    }
}

/// Lets a socket in, or gives it back to be refused.
pub(crate) fn let_in(
    server: &Arc<Server>,
    transport: Transport,
    peer_info: PeerInfo,
    read: Option<Vec<u8>>,
) -> Result<AcceptedSocket<Transport>, Transport> {
    let most = server.config.max_descriptor;
    let (permit, reason) = if transport.descriptor().is_some_and(|number| number >= most) {
        bump(&server.counters.no_descriptor, 1);
        if server.descriptor_notices.is_due() {
            server.host.event(Notice::NoDescriptor(most));
        }
        (None, RefusedFor::NoDescriptor)
    } else {
        (server.permit(), RefusedFor::MaxConnections)
    };
    let Some(permit) = permit else {
        server.note_refused(reason);
        return Err(transport);
    };
    Ok(AcceptedSocket {
        permit,
        transport,
        peer_info,
        read,
    })
}

/// Serves a socket, in a task of its own.
pub(crate) fn start_here(shard: &Rc<Shard>, socket: AcceptedSocket<Transport>) {
    let AcceptedSocket {
        mut permit,
        transport,
        peer_info,
        read,
    } = socket;
    let server = permit.server.clone();
    if server.is_stopping() {
        return;
    }
    let work = {
        let (shard, server) = (shard.clone(), server.clone());
        async move {
            let mut limit = server.config.handshake_timeout;
            if server.config.asks {
                // The client is not to pay for our own thinking.
                limit = limit.saturating_add(ask::limit(&server));
                limit = limit.saturating_add(lingering::LINGER_TIMEOUT);
            }
            let handshake = handshake(&shard, &server, &mut permit, transport, peer_info, read);
            match time::timeout(limit, handshake).await {
                Ok(Ok(FirstRequest::Opened(opened))) => {
                    shard.adopt(permit, opened);
                }
                Ok(Ok(FirstRequest::Http(transport, peer_info, first, rest))) => {
                    // Boxed: the handshake of most is not to pay for its size.
                    let served =
                        http::h1::serve(&shard, &server, transport, peer_info, *first, rest);
                    let served = Box::pin(served);
                    if let Some(opened) = served.await {
                        shard.adopt(permit, opened);
                    }
                }
                Ok(Ok(FirstRequest::Http2(transport, peer_info, before))) => {
                    let shard = shard.clone();
                    task::spawn_local(async move {
                        let served =
                            http::h2::serve(shard.clone(), permit, transport, peer_info, before);
                        shard.attend_to(served).await;
                    });
                }
                Ok(Err(reason)) => server.note_refused(reason),
                Err(elapsed) => server.note_refused(elapsed.into()),
            }
        }
    };
    shard.spawn_for(&server, work);
}

async fn handshake(
    shard: &Shard,
    server: &Server,
    permit: &mut Permit,
    mut transport: Transport,
    mut peer_info: PeerInfo,
    read: Option<Vec<u8>>,
) -> Result<FirstRequest, RefusedFor> {
    transport.set_nodelay()?;
    // For all that the client sends before it is a connection.
    let deadline = options::deadline(server.config.handshake_timeout);
    // Who has read the request has seen to what stands before it.
    let is_adopted = read.is_some();
    let mut ahead = read.unwrap_or_default();
    if server.config.proxy_protocol && !is_adopted {
        let known = forwarded::introduce(server, &mut transport, &mut peer_info, &mut ahead);
        let known = time::timeout_at(deadline, known).await?;
        known.ok_or(RefusedFor::BadRequest)?;
    }
    // A proxy that we trust is not a client: whom it brings is known with the request.
    if !forwarded::is_trusted(server, &peer_info)
        && let Err(refused) = permit.count_for(peer_info.peer.ip())
    {
        // To say so over TLS would cost what the limit is to save.
        if server.config.tls.is_none() || is_adopted {
            lingering::refuse(shard, transport, &refused.answer).await;
        }
        return Err(refused.reason);
    }
    if let Some(tls) = server.config.tls.as_ref().filter(|_| !is_adopted) {
        if ahead.is_empty() {
            let first = time::timeout_at(deadline, transport.read_buf(&mut ahead));
            if first.await?? == 0 {
                return Err(RefusedFor::Left);
            }
        }
        if tls_accept::is_plain_http(&ahead) {
            let refusal = Refusal::new(400, "This port speaks HTTPS.\n");
            let method = ahead.split(|&byte| byte == b' ').next();
            let refusal = refusal.to(method.unwrap_or_default());
            lingering::refuse(shard, transport, &refusal).await;
            return Err(RefusedFor::Tls);
        }
        // Boxed: its state is most of a handshake, and would lie where what stays is to lie.
        let accepted = tls_accept::accept(tls, transport, std::mem::take(&mut ahead));
        let accepted = time::timeout_at(deadline, Box::pin(accepted));
        match accepted.await? {
            Ok((secure, facts)) => {
                transport = secure;
                let http2 = facts.alpn.as_deref() == Some(b"h2");
                peer_info.tls = Some(facts);
                if http2 {
                    return Ok(FirstRequest::Http2(transport, peer_info, ahead));
                }
            }
            Err(left) => {
                if let Some(transport) = left {
                    lingering::close(shard, transport).await;
                }
                return Err(RefusedFor::Tls);
            }
        }
    }
    if server.config.http2_cleartext && !is_adopted {
        loop {
            match http::h2::is_preface(&ahead) {
                Preface::Yes => return Ok(FirstRequest::Http2(transport, peer_info, ahead)),
                Preface::No => break,
                Preface::Maybe => {
                    let more = time::timeout_at(deadline, transport.read_buf(&mut ahead));
                    if more.await?? == 0 {
                        return Err(RefusedFor::Left);
                    }
                }
            }
        }
    }
    upgrade::shake_hands(shard, server, permit, transport, peer_info, ahead, deadline).await
}

/// Tells a client that there is no room, as far as that goes without waiting.
pub(crate) fn refuse(mut transport: Transport) {
    let response = gate::no_room().response();
    let _ = transport.try_write(&[IoSlice::new(&response)], Waker::noop());
}
