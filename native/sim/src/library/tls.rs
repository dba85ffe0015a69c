//! TLS of servers, and of the engine's clients. The random numbers of TLS are not the seed's. Signatures of Ed25519 have one length, so nothing
//! that is seen here depends on them.

use std::sync::Arc;

use sockeye_simulated_engine::tls::{Identity, Tls, TlsSettings, Verify};
use sockeye_simulated_engine::{ClientTls, ClientTlsSettings};

use crate::vm::host_name::HOST_NAME;
use crate::vm::tls::{PEM, unlike_others};

/// For the server.
pub(super) fn server(http2: bool) -> Option<Arc<Tls>> {
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

/// For the engine's clients. Each run has sessions of its own.
pub(super) fn client() -> Option<ClientTls> {
    let settings = ClientTlsSettings {
        verify: false,
        name: Some(HOST_NAME.into()),
        // Not read, since nothing is verified.
        authorities: Some(unlike_others().into()),
        ..ClientTlsSettings::default()
    };
    ClientTls::new(&settings).ok()
}
