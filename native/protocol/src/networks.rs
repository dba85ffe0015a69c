//! Sets of addresses on the Internet.

use std::net::{IpAddr, SocketAddrV4};

/// Networks, each an address and the length of its prefix in bits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<(IpAddr, u8)>);

impl Networks {
    /// No network.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a network. False if no address has a prefix of this length.
    pub fn add(&mut self, address: IpAddr, prefix: u8) -> bool {
        let most = if address.is_ipv4() { 32 } else { 128 };
        if prefix > most {
            return false;
        }
        // The form in which IPv4 addresses come through an IPv6 socket means the same.
        let entry = match address.to_canonical() {
            short @ IpAddr::V4(_) if most == 128 && prefix >= 96 => (short, prefix - 96),
            _ => (address, prefix),
        };
        self.0.push(entry);
        true
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the address is in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|&(network, prefix)| {
            let (difference, bits) = match (address, network) {
                (IpAddr::V4(a), IpAddr::V4(n)) => ((a.to_bits() ^ n.to_bits()).into(), 32),
                (IpAddr::V6(a), IpAddr::V6(n)) => (a.to_bits() ^ n.to_bits(), 128),
                _ => return false,
            };
            // A shift by all bits would be none.
            let shift = bits - u32::from(prefix);
            difference.checked_shr(shift).unwrap_or(0) == 0
        })
    }
}

/// The client that `X-Forwarded-For` names: each proxy adds its own client at the right, so the
/// last entry that is not one of ours is who came to us. None if that can not be told.
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
