//! The name of the server, which the engine's own clients look up.

use std::net::{IpAddr, Ipv4Addr};

use sockeye_world::{chance, names};

/// The name.
pub(crate) const HOST_NAME: &str = "sim.test";

/// Has the name lead to the server, at times behind an address at which nobody answers.
pub(crate) fn register(server: IpAddr) {
    let nowhere = IpAddr::from(Ipv4Addr::new(192, 0, 2, 1));
    match chance(1, 2) {
        true => names::set(HOST_NAME, &[nowhere, server]),
        false => names::set(HOST_NAME, &[server]),
    }
}
