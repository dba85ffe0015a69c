//! The PROXY protocol, versions 1 and 2: what a proxy writes before the bytes of its client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A line of version 1 is never longer, its end included.
const LINE: usize = 107;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The most that may follow the fixed part of version 2: addresses, and things that we skip.
const EXTRA: usize = 4096;

/// What a header tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The connection is from this source; its client connected to this destination.
    Proxied {
        /// The client.
        source: SocketAddr,
        /// Where the client connected to.
        destination: SocketAddr,
    },
    /// The proxy speaks for itself, as to see whether we live, or does not know its client, or
    /// knows it by something that is no address on the Internet.
    Local,
}

/// The bytes do not begin with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Reads a header from the beginning of `bytes`: `None` while it is incomplete, else what it
/// tells, and its length.
pub fn parse(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, Malformed> {
    match bytes.first() {
        None => Ok(None),
        Some(b'P') => line(bytes),
        Some(_) => binary(bytes),
    }
}

/// Whether these bytes are the beginning of that, or go beyond it.
fn begins(bytes: &[u8], with: &[u8]) -> Result<(), Malformed> {
    let same = bytes.iter().zip(with).all(|(a, b)| a == b);
    same.then_some(()).ok_or(Malformed)
}

fn line(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, Malformed> {
    begins(bytes, b"PROXY ")?;
    let within = &bytes[..bytes.len().min(LINE)];
    let Some(end) = within.iter().position(|&byte| byte == b'\n') else {
        return match bytes.len() < LINE {
            true => Ok(None),
            false => Err(Malformed),
        };
    };
    let text = within[..end].strip_suffix(b"\r").ok_or(Malformed)?;
    let text = std::str::from_utf8(text).map_err(|_| Malformed)?;
    let mut words = text.split(' ').skip(1);
    let mut word = || words.next().ok_or(Malformed);
    let header = match word()? {
        "UNKNOWN" => return Ok(Some((ProxyHeader::Local, end + 1))),
        family @ ("TCP4" | "TCP6") => {
            let (from, to) = (address(family, word()?)?, address(family, word()?)?);
            ProxyHeader::Proxied {
                source: SocketAddr::new(from, port(word()?)?),
                destination: SocketAddr::new(to, port(word()?)?),
            }
        }
        _ => return Err(Malformed),
    };
    match words.next() {
        None => Ok(Some((header, end + 1))),
        Some(_) => Err(Malformed),
    }
}

fn address(family: &str, text: &str) -> Result<IpAddr, Malformed> {
    let address = match family {
        "TCP4" => text.parse().map(IpAddr::V4),
        _ => text.parse().map(IpAddr::V6),
    };
    address.map_err(|_| Malformed)
}

fn port(text: &str) -> Result<u16, Malformed> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let padded = text.len() > 1 && text.starts_with('0');
    match text.parse() {
        Ok(port) if plain && !padded => Ok(port),
        _ => Err(Malformed),
    }
}

fn binary(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, Malformed> {
    begins(bytes, &SIGNATURE)?;
    let Some(&[command, family, high, low]) = bytes.get(12..16) else {
        return Ok(None);
    };
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len > EXTRA {
        return Err(Malformed);
    }
    let known = match command {
        0x20 => false,
        0x21 => true,
        _ => return Err(Malformed),
    };
    let Some(extra) = bytes.get(16..16 + len) else {
        return Ok(None);
    };
    let header = match family {
        0x11 if known => proxied(extra, |bytes: [u8; 4]| Ipv4Addr::from(bytes).into())?,
        0x21 if known => proxied(extra, |bytes: [u8; 16]| Ipv6Addr::from(bytes).into())?,
        // Whatever it is, it is no stream over the Internet.
        _ if family >> 4 <= 3 && family & 15 <= 2 => ProxyHeader::Local,
        _ => return Err(Malformed),
    };
    Ok(Some((header, 16 + len)))
}

/// Two addresses, then two ports. What follows is skipped.
fn proxied<const N: usize>(
    mut bytes: &[u8],
    address: impl Fn([u8; N]) -> IpAddr,
) -> Result<ProxyHeader, Malformed> {
    fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Malformed> {
        let (first, rest) = bytes.split_first_chunk().ok_or(Malformed)?;
        *bytes = rest;
        Ok(*first)
    }
    let (from, to) = (address(take(&mut bytes)?), address(take(&mut bytes)?));
    let mut port = || take(&mut bytes).map(u16::from_be_bytes);
    let (from_port, to_port) = (port()?, port()?);
    Ok(ProxyHeader::Proxied {
        source: SocketAddr::new(from, from_port),
        destination: SocketAddr::new(to, to_port),
    })
}
