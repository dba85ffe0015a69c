//! Names of hosts.

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::{draw, time, with};

/// This name leads there, from now on; an empty list is a name without addresses.
pub fn set(name: &str, addresses: &[IpAddr]) {
    with(|world| {
        let mut names = world.names.borrow_mut();
        names.insert(name.into(), addresses.to_vec());
    });
}

/// The addresses of a host.
///
/// # Errors
/// There is no such host.
pub async fn lookup_host(
    (name, port): (&str, u16),
) -> io::Result<impl Iterator<Item = SocketAddr> + use<>> {
    let delay = draw(50_000_000);
    time::sleep(std::time::Duration::from_nanos(delay)).await;
    let found = with(|world| world.names.borrow().get(name).cloned());
    let found = found.ok_or(io::ErrorKind::NotFound)?;
    Ok(found.into_iter().map(move |ip| SocketAddr::new(ip, port)))
}
