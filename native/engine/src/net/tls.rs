//! TLS settings, made out of PEM text.

mod validity;

pub use validity::{OutOfTime, out_of_time};

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer};
use rustls::server::{
    ClientHello, NoClientAuth, ResolvesServerCert, ServerSessionMemoryCache, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, SupportedProtocolVersion, version};

use crate::model::lock::lock;
use crate::world::collections::HashMap;
use crate::world::sync::Mutex;

/// Sessions that clients without tickets may resume. The least recently used gives way.
const SESSIONS: usize = 1024;

/// A certificate with the chain that proves it, and its private key, both PEM.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The server's certificate first.
    pub certificates: Vec<u8>,
    /// PKCS #8, PKCS #1 or SEC 1, not encrypted.
    pub key: Vec<u8>,
}

/// Whether clients show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// They are not asked.
    #[default]
    None,
    /// They may; one that is not valid is refused.
    Optional,
    /// They must.
    Required,
}

/// What a server's TLS is made of.
#[derive(Clone)]
pub struct TlsSettings {
    /// For clients that name no host, or one that is not listed. Without it they are turned away, and
    /// there must be hosts.
    pub identity: Option<Identity>,
    /// For clients that name this host; `*.` stands for one label.
    pub hosts: Vec<(String, Identity)>,
    /// Who signs the certificates of clients, PEM.
    pub authorities: Option<Vec<u8>>,
    /// Whether clients show a certificate; needs `authorities`.
    pub verify: Verify,
    /// TLS 1.2.
    pub tls12: bool,
    /// TLS 1.3.
    pub tls13: bool,
    /// Offers HTTP/2 beside HTTP/1.1.
    pub http2: bool,
}

/// The TLS of a server. What it is made of can be replaced.
pub struct Tls {
    current: Mutex<CurrentTls>,
}

/// What handshakes that begin now are made with.
#[derive(Clone)]
pub(crate) struct CurrentTls {
    pub(crate) config: Arc<rustls::ServerConfig>,
    hosts: Arc<HostCertificates>,
}

impl CurrentTls {
    /// Whether there is a certificate for every client, whatever host it asks for.
    pub(crate) fn serves_all(&self) -> bool {
        self.hosts.default.is_some()
    }

    /// Whether there is a certificate for a client that asks for this host, or for none.
    pub(crate) fn serves(&self, host: Option<&str>) -> bool {
        self.hosts.find(host).is_some()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Reads the settings, or tells what is wrong with them.
    pub fn new(settings: &TlsSettings) -> Result<Self, String> {
        Ok(Tls {
            current: Mutex::new(build(settings)?),
        })
    }

    /// New handshakes use these settings, and no session from before is resumed. Connections
    /// that are open go on.
    pub fn replace(&self, settings: &TlsSettings) -> Result<(), String> {
        let next = build(settings)?;
        *lock(&self.current) = next;
        Ok(())
    }

    pub(crate) fn current(&self) -> CurrentTls {
        lock(&self.current).clone()
    }
}

/// The versions of TLS that are spoken.
pub(super) fn versions(tls12: bool, tls13: bool) -> Vec<&'static SupportedProtocolVersion> {
    let versions = [(tls12, &version::TLS12), (tls13, &version::TLS13)];
    let on = versions.into_iter().filter(|(on, _)| *on);
    on.map(|(_, version)| version).collect()
}

fn build(settings: &TlsSettings) -> Result<CurrentTls, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = versions(settings.tls12, settings.tls13);
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions)
        .map_err(|e| e.to_string())?;
    let verifier = match settings.verify {
        Verify::None => Arc::new(NoClientAuth),
        verify => {
            let roots = authorities(settings.authorities.as_deref().unwrap_or_default())?;
            let builder = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
            let builder = match verify {
                Verify::Required => builder,
                _ => builder.allow_unauthenticated(),
            };
            builder.build().map_err(|e| format!("cacertfile: {e}"))?
        }
    };
    let hosts = Arc::new(HostCertificates::read(settings, &provider)?);
    let mut config = builder
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(hosts.clone());
    // Tickets are sealed with keys of this process that change by themselves.
    config.ticketer =
        rustls::crypto::ring::Ticketer::new().map_err(|e| format!("no random numbers: {e}"))?;
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    if settings.http2 {
        config.alpn_protocols.push(b"h2".to_vec());
    }
    config.alpn_protocols.push(b"http/1.1".to_vec());
    Ok(CurrentTls {
        config: Arc::new(config),
        hosts,
    })
}

pub(crate) fn authorities(text: &[u8]) -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(text).map_err(|why| format!("cacertfile: {why}"))? {
        roots
            .add(certificate)
            .map_err(|e| format!("cacertfile: a certificate is not valid: {e}"))?;
    }
    Ok(Arc::new(roots))
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if found.is_empty() => Err("there is no certificate in it".into()),
        Ok(found) => Ok(found),
        Err(e) => Err(format!("it is not PEM: {e}")),
    }
}

fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let holds = |part: &[u8]| text.windows(part.len()).any(|window| window == part);
    if holds(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || holds(b"Proc-Type: 4,ENCRYPTED") {
        return Err("the private key is encrypted; only keys without a password are read".into());
    }
    match PrivateKeyDer::from_pem_slice(text) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => Err("there is no private key in it".into()),
        Err(e) => Err(format!("it is not PEM: {e}")),
    }
}

pub(crate) fn certified(
    identity: &Identity,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, String> {
    let chain = certificates(&identity.certificates).map_err(|why| format!("certfile: {why}"))?;
    let key = private_key(&identity.key).map_err(|why| format!("keyfile: {why}"))?;
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|e| format!("keyfile: the private key cannot be used: {e}"))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            Err("keyfile: the private key does not belong to the certificate".into())
        }
        Err(rustls::Error::InvalidCertificate(e)) => {
            Err(format!("certfile: the certificate is not valid: {e}"))
        }
        _ => Ok(Arc::new(certified)),
    }
}

/// The certificates by host.
#[derive(Debug)]
struct HostCertificates {
    default: Option<Arc<CertifiedKey>>,
    /// Names in lower case.
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// What follows the `*.`.
    wildcards: HashMap<String, Arc<CertifiedKey>>,
}

impl HostCertificates {
    fn read(settings: &TlsSettings, provider: &CryptoProvider) -> Result<Self, String> {
        let mut hosts = HostCertificates {
            default: match &settings.identity {
                Some(identity) => Some(certified(identity, provider)?),
                None => None,
            },
            exact: HashMap::default(),
            wildcards: HashMap::default(),
        };
        for (host, identity) in &settings.hosts {
            let host = host.to_ascii_lowercase();
            let about = |why: String| format!("sni_hosts {host}: {why}");
            let certified = certified(identity, provider).map_err(about)?;
            let (names, name) = match host.strip_prefix("*.") {
                Some(rest) => (&mut hosts.wildcards, rest),
                None => (&mut hosts.exact, host.as_str()),
            };
            DnsName::try_from(name)
                .map_err(|_| format!("sni_hosts: {host:?} is not the name of a host"))?;
            names.insert(name.into(), certified);
        }
        Ok(hosts)
    }

    fn find(&self, host: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        let host = host.unwrap_or_default().to_ascii_lowercase();
        let wildcard = || {
            let (_, parent) = host.split_once('.')?;
            self.wildcards.get(parent)
        };
        let named = self.exact.get(&host).or_else(wildcard);
        named.or(self.default.as_ref())
    }
}

impl ResolvesServerCert for HostCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name()).cloned()
    }
}
