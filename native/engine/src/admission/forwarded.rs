//! The client behind a trusted proxy, as the headers of the proxy name it.

use std::borrow::Cow;

use sockeye_protocol::handshake::{Request, Site};
use sockeye_protocol::networks;
use sockeye_protocol::proxy::{ProxyHeader, parse};
use tokio::io::AsyncReadExt;

use crate::net::peer::{Peer, PeerInfo};
use crate::net::transport::Transport;
use crate::server::Server;

/// Whether to believe what this peer says of others. Who may connect to a Unix socket is a
/// matter of its folder, so where there are proxies at all, there they are.
pub(crate) fn is_trusted(server: &Server, peer_info: &PeerInfo) -> bool {
    let trusted = &server.config.trusted_proxies;
    match &peer_info.peer {
        Peer::Inet(address, _) => trusted.contains(*address),
        Peer::Unix(_) => !trusted.is_empty(),
    }
}

/// Reads what the proxy writes before its client's bytes, and leaves those in `ahead`. None if
/// it is no proxy that we trust, or not its protocol.
pub(crate) async fn introduce(
    server: &Server,
    transport: &mut Transport,
    peer_info: &mut PeerInfo,
    ahead: &mut Vec<u8>,
) -> Option<()> {
    if !is_trusted(server, peer_info) {
        return None;
    }
    loop {
        if transport.read_buf(ahead).await.ok()? == 0 {
            return None;
        }
        let Some((header, len)) = parse(ahead).ok()? else {
            continue;
        };
        if let ProxyHeader::Proxied {
            source,
            destination,
        } = header
        {
            peer_info.peer = Peer::from(source);
            peer_info.local = Peer::from(destination);
        }
        ahead.drain(..len.min(ahead.len()));
        return Some(());
    }
}

/// The site that a request is for, as its sender sees it. A proxy that we trust may tell: of several values
/// the last counts, which is that of the nearest proxy.
pub(crate) fn site<'a>(server: &Server, carrier: &PeerInfo, request: &'a Request) -> Site<'a> {
    let own = Site::of(request);
    if server.config.trusted_proxies.is_empty() || !is_trusted(server, carrier) {
        return Site {
            // Without TLS there may be a proxy that speaks it.
            is_secure: carrier.tls.is_some().then_some(true),
            ..own
        };
    }
    let headers = request.headers();
    let scheme = headers.list("x-forwarded-proto").last();
    let is = |name: &str| scheme.is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes()));
    Site {
        host: headers.list("x-forwarded-host").last().or(own.host),
        is_secure: match () {
            () if is("https") || is("wss") => Some(true),
            () if is("http") || is("ws") => Some(false),
            () => None,
        },
    }
}

/// The peer that sent a request: the one that `X-Forwarded-For` names, if a proxy that we
/// trust sends it. Its port is not known, and 0.
pub(crate) fn sender<'a>(
    server: &Server,
    peer_info: &'a PeerInfo,
    request: &Request,
) -> Cow<'a, PeerInfo> {
    let trusted = &server.config.trusted_proxies;
    if !trusted.is_empty() && is_trusted(server, peer_info) {
        let entries: Vec<_> = request.headers().list("x-forwarded-for").collect();
        if let Some(client) = networks::forwarded(entries.into_iter(), trusted) {
            return Cow::Owned(PeerInfo {
                peer: Peer::Inet(client, 0),
                ..peer_info.clone()
            });
        }
    }
    Cow::Borrowed(peer_info)
}

#[cfg(test)]
#[path = "forwarded_tests.rs"]
#[allow(clippy::unwrap_used)]
mod tests;
