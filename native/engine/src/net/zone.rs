//! IPv6 addresses with a zone, and the interface that it names.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs};

/// No such device. It has this number wherever there are numbers.
const ENODEV: i32 = 19;

/// Whether this may be the name of an interface, or its number.
pub(crate) fn is_zone(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_graphic() && !b"/%[]".contains(&b);
    !name.is_empty() && name.bytes().all(fits)
}

/// The address on this interface. May read files of the system; the error is `ENODEV` if there is no
/// such interface.
pub(crate) fn locate(ip: Ipv6Addr, zone: &str, port: u16) -> io::Result<SocketAddr> {
    if let Ok(number) = zone.parse() {
        return Ok(SocketAddrV6::new(ip, port, 0, number).into());
    }
    // Whoever looks up hosts knows interfaces as well.
    let found = (format!("{ip}%{zone}"), port).to_socket_addrs();
    let found = found.ok().and_then(|mut found| found.next());
    found.ok_or_else(|| io::Error::from_raw_os_error(ENODEV))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in ["eth0", "1", "en1.7", "a:b", "x-y_z~"] {
            assert!(is_zone(name), "{name}");
        }
        for name in ["", "a b", "a/b", "a%b", "[a]", "a\0", "\u{fc}"] {
            assert!(!is_zone(name), "{name:?}");
        }
    }

    #[test]
    fn numbers_are_taken_and_unknown_names_are_not() {
        let ip = "fe80::1".parse().unwrap();
        let SocketAddr::V6(found) = locate(ip, "7", 80).unwrap() else {
            panic!("not IPv6");
        };
        assert_eq!((found.ip(), found.port(), found.scope_id()), (&ip, 80, 7));
        let lost = locate(ip, "nosuchzone", 80).unwrap_err();
        assert_eq!(lost.raw_os_error(), Some(ENODEV));
    }
}
