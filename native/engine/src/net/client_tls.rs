//! The client's side of TLS.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::SingleCertAndKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    SupportedCipherSuite,
};
use tokio_rustls::TlsConnector;

use crate::net::fault::{DialError, TlsFault};
use crate::net::peer::TlsFacts;
use crate::net::secure::{PrefixedTransport, TlsTransport};
use crate::net::tls::{Identity, authorities, certified, versions};
use crate::net::transport::Transport;
use crate::net::url::Host;
use crate::world::collections::HashMap;

/// What a certificate must be, whoever has signed it: the SHA-256 of one or the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pin {
    /// Of the certificate's public key (`SubjectPublicKeyInfo`).
    Key([u8; 32]),
    /// Of the whole certificate.
    Certificate([u8; 32]),
}

/// What a client's TLS is made of. The default trusts whom the system trusts.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClientTlsSettings {
    /// Whether the server must prove who it is.
    pub verify: bool,
    /// Who signs the certificates of servers, PEM; the system's authorities if none.
    pub authorities: Option<Vec<u8>>,
    /// The certificate of the server must also be one of these, if there are any.
    pub pins: Vec<Pin>,
    /// What proves who we are.
    pub identity: Option<Identity>,
    /// The name to ask and check for, instead of the host of the URL.
    pub name: Option<String>,
    /// Whether the name is sent.
    pub sni: bool,
    /// TLS 1.2.
    pub tls12: bool,
    /// TLS 1.3.
    pub tls13: bool,
}

impl Default for ClientTlsSettings {
    fn default() -> Self {
        ClientTlsSettings {
            verify: true,
            authorities: None,
            pins: Vec::new(),
            identity: None,
            name: None,
            sni: true,
            tls12: true,
            tls13: true,
        }
    }
}

/// The TLS of clients, shared by those with equal settings.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
    /// It shows a certificate, which is not for every host.
    pub(crate) has_identity: bool,
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientTls")
    }
}

impl ClientTls {
    /// Reads the settings, or tells what is wrong with them. May read files of the system.
    pub fn new(settings: &ClientTlsSettings) -> Result<Self, String> {
        let name = settings.name.clone().map(ServerName::try_from).transpose();
        Ok(ClientTls {
            config: shared(settings)?,
            name: name.map_err(|_| "sni: not the name of a host")?,
            has_identity: settings.identity.is_some(),
        })
    }

    /// Shakes hands with a server.
    pub(crate) async fn connect(
        &self,
        transport: Transport,
        host: &Host,
    ) -> Result<(Transport, TlsFacts), DialError> {
        let name = match (&self.name, host) {
            (Some(name), _) => name.clone(),
            (None, Host::Ip(ip)) => ServerName::from(*ip),
            (None, Host::Zoned(ip, _)) => ServerName::from(IpAddr::V6(*ip)),
            (None, Host::Name(name)) => {
                // A dot at the end is for the look-up only.
                let name = name.strip_suffix('.').unwrap_or(name).to_owned();
                let fault = (TlsFault::BadHost, "not the name of a host".into());
                ServerName::try_from(name).map_err(|_| DialError::Tls(fault.0, fault.1))?
            }
        };
        let sni = match &name {
            ServerName::DnsName(name) if self.config.enable_sni => Some(name.as_ref().into()),
            _ => None,
        };
        let connector = TlsConnector::from(self.config.clone());
        let stream = connector.connect(name, PrefixedTransport::new(Vec::new(), transport));
        let secure = TlsTransport::new(stream.await?);
        let facts = secure.facts(sni);
        Ok((Transport::boxed(secure), facts))
    }
}

/// Ten thousand clients with the same settings have one configuration, and resume each other's
/// sessions.
fn shared(settings: &ClientTlsSettings) -> Result<Arc<ClientConfig>, String> {
    static SHARED: Mutex<Option<HashMap<ClientTlsSettings, Weak<ClientConfig>>>> = Mutex::new(None);
    // The name is no part of it.
    let key = ClientTlsSettings {
        name: None,
        ..settings.clone()
    };
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let shared = shared.get_or_insert_default();
    if let Some(config) = shared.get(&key).and_then(Weak::upgrade) {
        return Ok(config);
    }
    shared.retain(|_, config| config.strong_count() > 0);
    let config = Arc::new(build(settings)?);
    shared.insert(key, Arc::downgrade(&config));
    Ok(config)
}

fn build(settings: &ClientTlsSettings) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = versions(settings.tls12, settings.tls13);
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions)
        .map_err(|e| e.to_string())?;
    let chain = if settings.verify {
        let roots = match &settings.authorities {
            Some(text) => authorities(text)?,
            None => system()?,
        };
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
        Some(verifier.build().map_err(|e| format!("cacertfile: {e}"))?)
    } else {
        None
    };
    let checker = Checker {
        chain,
        pins: settings.pins.clone(),
        algorithms: provider.signature_verification_algorithms,
    };
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(checker));
    let mut config = match &settings.identity {
        Some(identity) => {
            let key = certified(identity, &provider)?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
        }
        None => builder.with_no_client_auth(),
    };
    config.enable_sni = settings.sni;
    config.alpn_protocols.push(b"http/1.1".to_vec());
    Ok(config)
}

/// Whom the system trusts, read once.
fn system() -> Result<Arc<RootCertStore>, String> {
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = SYSTEM.get() {
        return Ok(roots.clone());
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Some systems hold certificates that are not valid.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err("the system has no certificate authorities: name some in cacertfile".into());
    }
    Ok(SYSTEM.get_or_init(|| Arc::new(roots)).clone())
}

/// Checks certificates: their chain, their pins, both or none.
#[derive(Debug)]
struct Checker {
    chain: Option<Arc<WebPkiServerVerifier>>,
    pins: Vec<Pin>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Checker {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(chain) = &self.chain {
            chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        }
        if !self.pins.is_empty() {
            let parsed = ParsedCertificate::try_from(end_entity)?;
            let key = sha256(parsed.subject_public_key_info().as_ref());
            let whole = sha256(end_entity.as_ref());
            let fits = |pin: &Pin| match pin {
                Pin::Key(hash) => hash[..] == key[..],
                Pin::Certificate(hash) => hash[..] == whole[..],
            };
            if !self.pins.iter().any(fits) {
                return Err(CertificateError::ApplicationVerificationFailure.into());
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// By the hash of a cipher suite that is there anyway.
fn sha256(bytes: &[u8]) -> Vec<u8> {
    match TLS13_AES_128_GCM_SHA256 {
        SupportedCipherSuite::Tls13(suite) => {
            let hash = suite.common.hash_provider.hash(bytes);
            hash.as_ref().to_vec()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_sha_256() {
        let hex: String = sha256(b"abc").iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            hex,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn equal_settings_share_a_configuration() {
        let one = ClientTlsSettings {
            verify: false,
            ..ClientTlsSettings::default()
        };
        let named = ClientTlsSettings {
            name: Some("a.example".into()),
            ..one.clone()
        };
        let other = ClientTlsSettings {
            sni: false,
            ..one.clone()
        };
        let [one, named, other] = [one, named, other].map(|s| ClientTls::new(&s).unwrap());
        assert!(Arc::ptr_eq(&one.config, &named.config));
        assert!(!Arc::ptr_eq(&one.config, &other.config));
    }

    #[test]
    fn bad_settings() {
        let bad = |change: fn(&mut ClientTlsSettings)| {
            let mut settings = ClientTlsSettings::default();
            change(&mut settings);
            ClientTls::new(&settings).unwrap_err()
        };
        let why = bad(|s| s.authorities = Some(b"x".to_vec()));
        assert!(why.starts_with("cacertfile"), "{why}");
        assert!(bad(|s| s.name = Some("a b".into())).starts_with("sni"));
    }
}
