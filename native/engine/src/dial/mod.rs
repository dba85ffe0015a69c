//! From a URL to a connection: the client's counterpart of [`crate::accept`].
//!
//! A client is a [`Server`] without a listener. Its settings, counters and receivers are the
//! same; each connection that it makes, one at a time, begins with a task here.

mod handshake;

use std::rc::Rc;
use std::sync::Arc;

use crate::model::id::ConnId;
use crate::net::fault::{DialError, RedirectError, TlsFault};
use crate::net::lookups::Lookups;
use crate::net::peer::{Peer, PeerInfo};
use crate::net::redirect::{self, is_redirect, trusts};
use crate::net::resolve;
use crate::net::transport::Transport;
use crate::net::url::{Destination, Url};
use crate::server::{Permit, Server};
use crate::settings::dial::Dial;
use crate::shard::Shard;
use crate::shard::opened::Opened;
use crate::world::time;

/// Tells the host what became of an attempt, whatever happens to its task.
struct Report(Option<Arc<Server>>);

impl Report {
    fn send(mut self, result: Result<ConnId, DialError>) {
        if let Some(server) = self.0.take() {
            server.host.dialled(result);
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Some(server) = self.0.take() {
            server.host.dialled(Err(DialError::Stopped));
        }
    }
}

/// Connects a client, in a task of its own.
pub(crate) fn start(shard: &Rc<Shard>, permit: Permit) {
    let server = permit.server.clone();
    let report = Report(Some(server.clone()));
    let Some(dial) = server.config.dial.clone() else {
        return;
    };
    if server.is_stopping() {
        return;
    }
    let work = {
        let (shard, server) = (shard.clone(), server.clone());
        async move {
            let attempt = attempt(&shard.lookups, &server, &dial);
            let result = match time::timeout(dial.connect_timeout, attempt).await {
                Ok(Ok(_)) if server.is_stopping() => Err(DialError::Stopped),
                Ok(Ok(opened)) => shard.adopt(permit, opened).ok_or(DialError::Stopped),
                Ok(Err(e)) => Err(e),
                Err(_) => Err(DialError::Timeout),
            };
            report.send(result);
        }
    };
    shard.spawn_for(&server, work);
}

async fn attempt(lookups: &Rc<Lookups>, server: &Server, dial: &Dial) -> Result<Opened, DialError> {
    let mut url = dial.url.clone();
    let mut secrets = true;
    for left in (0..=dial.redirects).rev() {
        let (transport, peer_info) = reach(lookups, &url, dial).await?;
        let attempt = handshake::Attempt {
            url: &url,
            dial,
            secrets,
        };
        match handshake::upgrade(transport, peer_info, attempt, &server.config).await {
            Err(DialError::Refused(answer)) if dial.redirects > 0 && is_redirect(answer.status) => {
                if left == 0 {
                    break;
                }
                let next = redirect::next(&url, &answer.headers).map_err(DialError::Redirect)?;
                if !trusts(&url, &next) && dial.tls.as_ref().is_some_and(|tls| tls.has_identity) {
                    return Err(DialError::Redirect(RedirectError::Insecure));
                }
                // Once they were left behind, they do not come back.
                secrets &= trusts(&url, &next);
                url = next;
            }
            result => return result,
        }
    }
    Err(DialError::Redirect(RedirectError::TooMany))
}

/// A byte stream to the server, and its two ends.
async fn reach(
    lookups: &Rc<Lookups>,
    url: &Url,
    dial: &Dial,
) -> Result<(Transport, PeerInfo), DialError> {
    let (host, port) = match &url.destination {
        Destination::Inet(host, port) => (host, *port),
        Destination::Unix(name) => {
            let ends = PeerInfo::new(Peer::Unix(name.as_slice().into()), Peer::Unix([].into()));
            return Ok((resolve::unix(name).await?, ends));
        }
    };
    let (first, first_port) = match &dial.proxy {
        Some(proxy) => (&proxy.host, proxy.port),
        None => (host, port),
    };
    let socket = resolve::connect(lookups, first, first_port).await?;
    // A message is one small packet: waiting for more to send would only delay it.
    socket.set_nodelay(true)?;
    let mut peer_info = PeerInfo::new(socket.peer_addr()?.into(), socket.local_addr()?.into());
    let mut transport = Transport::Tcp(socket);
    if let Some(proxy) = &dial.proxy {
        proxy.pass(&mut transport, host, port).await?;
    }
    if url.tls {
        let Some(tls) = &dial.tls else {
            return Err(DialError::Tls(TlsFault::Other, "no settings".into()));
        };
        let (secured, facts) = tls.connect(transport, host).await?;
        transport = secured;
        peer_info.tls = Some(Arc::new(facts));
    }
    Ok((transport, peer_info))
}
