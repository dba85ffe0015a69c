//! Where servers listen, for clients: the address, and the settings of TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, Resumption};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use sockeye_world::chance;
use sockeye_world::net::TcpStream;

use super::socket::{Socket, TlsSocket};
use crate::plan::Plan;
use crate::plan::tls::TlsPlan;

/// Where a server listens.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    pub(super) tls: Option<TlsConfigs>,
}

/// Settings of TLS, which all clients of a run share.
#[derive(Clone)]
pub(super) struct TlsConfigs {
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    /// Some clients send no proper handshake.
    has_invalid: bool,
}

/// Accepts any certificate.
#[derive(Debug)]
struct AcceptAny;

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl TlsConfigs {
    /// The settings of a run.
    fn new(plan: TlsPlan, has_invalid: bool) -> Option<Self> {
        let config = |protocol: &[u8]| {
            let versions: &[_] = match plan.is_old {
                true => &[&rustls::version::TLS12],
                false => &[&rustls::version::TLS13, &rustls::version::TLS12],
            };
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider);
            let config = config.with_protocol_versions(versions).ok()?.dangerous();
            let config = config.with_custom_certificate_verifier(Arc::new(AcceptAny));
            let mut config = config.with_no_client_auth();
            config.alpn_protocols = vec![protocol.to_vec()];
            if !plan.resumes {
                config.resumption = Resumption::disabled();
            }
            Some(Arc::new(config))
        };
        Some(TlsConfigs {
            http1: config(b"http/1.1")?,
            http2: config(b"h2")?,
            has_invalid,
        })
    }
}

impl Endpoint {
    /// That of the server under test.
    pub(super) fn of_server(plan: &Plan, address: SocketAddr) -> Self {
        Endpoint {
            address,
            tls: plan.tls.and_then(|tls| TlsConfigs::new(tls, !plan.fair)),
        }
    }

    /// That of the proxy.
    pub(super) fn of_proxy(plan: &Plan, address: SocketAddr) -> Self {
        let tls = plan.proxy.and_then(|proxy| proxy.tls);
        Endpoint {
            address,
            tls: tls.and_then(|tls| TlsConfigs::new(tls, !plan.fair)),
        }
    }

    /// Connects, from this address.
    pub(super) async fn connect(&self, local: SocketAddr, is_http2: bool) -> io::Result<Socket> {
        let stream = TcpStream::connect_from(local, self.address).await?;
        let Some(configs) = &self.tls else {
            return Ok(Socket::Plain(stream));
        };
        let config = match is_http2 {
            true => &configs.http2,
            false => &configs.http1,
        };
        let tls = TlsSocket::new(stream, config)?;
        if configs.has_invalid && chance(1, 8) {
            return Err(tls.send_invalid_handshake().await);
        }
        tls.handshake().await?;
        Ok(Socket::Tls(Box::new(tls)))
    }
}
