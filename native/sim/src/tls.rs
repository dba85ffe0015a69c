//! TLS of a server, and of the engine's clients. Its random numbers are not the seed's; with a key whose signatures are all of
//! one length, nothing depends on them that is seen here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sockeye_simulated_engine::tls::{Identity, Tls, TlsSettings, Verify};
use sockeye_simulated_engine::{ClientTls, ClientTlsSettings};
use sockeye_world::Chance;

use crate::dial::NAME;
use crate::door::TlsPlan;

/// A certificate and a key of Ed25519, for nobody.
pub(crate) const PEM: &str = include_str!("tls.pem");

/// What it is like, where there is TLS.
pub(crate) fn draw(chance: &mut Chance) -> TlsPlan {
    TlsPlan {
        is_old: chance.is(1, 3),
        resumes: chance.is(1, 2),
    }
}

/// For the server.
pub(crate) fn server(http2: bool) -> Option<Arc<Tls>> {
    let identity = Identity {
        certificates: PEM.into(),
        key: PEM.into(),
    };
    let settings = TlsSettings {
        identity: Some(identity),
        hosts: Vec::new(),
        authorities: None,
        verify: Verify::None,
        tls12: true,
        tls13: true,
        http2,
    };
    Tls::new(&settings).ok().map(Arc::new)
}

/// Another one each time, of the same length: it goes over links, whose bytes are counted.
pub(crate) fn unlike_others() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{:020}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// For its clients. Worlds that live at the same time share no sessions, and two may have one seed.
pub(crate) fn client() -> Option<ClientTls> {
    let settings = ClientTlsSettings {
        verify: false,
        name: Some(NAME.into()),
        // Nobody reads it.
        authorities: Some(unlike_others().into()),
        ..ClientTlsSettings::default()
    };
    ClientTls::new(&settings).ok()
}
