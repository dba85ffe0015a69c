//! How many descriptors this process may have.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Takes as many as the system allows: all connections are here, and the limit of the VM is for the VM. How many that is.
pub(crate) fn take_all() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where that may not be, what there was stays.
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile)
        .current
        .unwrap_or(u64::from(u32::MAX))
}
