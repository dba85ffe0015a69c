//! Both ends of a connection, as another server of the VM knows them.

use sockeye_engine::{Peer, PeerInfo};

use super::config::ip;
use crate::value::{BadArg, Read, Value};

/// Reads `#{peer := Endpoint, local := Endpoint}`.
///
/// # Errors
/// It is something else.
pub fn ends<P>(map: &Value<P>) -> Read<PeerInfo> {
    Ok(PeerInfo::new(
        end(map.get("peer")?)?,
        end(map.get("local")?)?,
    ))
}

fn end<P>(value: &Value<P>) -> Read<Peer> {
    match value.tuple()? {
        [tag, name] if tag.is("local") => Ok(Peer::Unix(name.bytes()?.into())),
        [address, port] => Ok(Peer::from(std::net::SocketAddr::new(
            ip(address)?,
            port.read()?,
        ))),
        _ => Err(BadArg),
    }
}
