//! Sets of addresses on the Internet.

use std::net::{IpAddr, SocketAddrV4};

use ipnet::IpNet;

/// Networks, each an address and the length of its prefix in bits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// No network.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a network. False if no address has a prefix of this length.
    pub fn add(&mut self, address: IpAddr, prefix: u8) -> bool {
        // The form in which IPv4 addresses come through an IPv6 socket means the same.
        let network = match address.to_canonical() {
            short @ IpAddr::V4(_) if address.is_ipv6() && prefix >= 96 => {
                IpNet::new(short, prefix - 96)
            }
            _ => IpNet::new(address, prefix),
        };
        network.map(|network| self.0.push(network)).is_ok()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the address is in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// The client that `X-Forwarded-For` names: each proxy adds its own client at the right, so the
/// last entry that is not one of ours is who came to us. None if that cannot be told.
pub fn forwarded<'a>(
    entries: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusted: &Networks,
) -> Option<IpAddr> {
    let mut client = None;
    for entry in entries.rev() {
        let address = address(entry)?;
        client = Some(address);
        if !trusted.contains(address) {
            break;
        }
    }
    client
}

/// An address, maybe with a port.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let address = match text.strip_prefix('[') {
        Some(rest) => {
            let (inner, port) = rest.split_once(']')?;
            let is_port = |text: &str| text.parse::<u16>().is_ok();
            let valid = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            IpAddr::V6(inner.parse().ok().filter(|_| valid)?)
        }
        None => match text.parse::<SocketAddrV4>() {
            Ok(socket) => IpAddr::V4(*socket.ip()),
            Err(_) => text.parse().ok()?,
        },
    };
    Some(address.to_canonical())
}
