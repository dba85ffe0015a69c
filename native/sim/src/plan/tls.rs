//! TLS between clients and the server.

use sockeye_world::Chance;

#[derive(Clone, Copy, Debug)]
pub struct TlsPlan {
    /// TLS 1.2, and not 1.3.
    pub is_old: bool,
    /// Sessions are resumed.
    pub resumes: bool,
}

/// The TLS of clients.
pub(super) fn draw(chance: &mut Chance) -> TlsPlan {
    TlsPlan {
        is_old: chance.is(1, 3),
        resumes: chance.is(1, 2),
    }
}
