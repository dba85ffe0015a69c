//! Blocking connections, with TLS or without.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use crate::{Result, Target, conn};

/// An open WebSocket connection.
pub(crate) enum Link {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Link {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Link::Plain(stream) => stream.read(buf),
            Link::Tls(stream) => stream.read(buf),
        }
    }
}

impl Write for Link {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Link::Plain(stream) => stream.write(buf),
            Link::Tls(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Link::Plain(stream) => stream.flush(),
            Link::Tls(stream) => stream.flush(),
        }
    }
}

pub(crate) fn open(target: &Target, count: usize) -> Result<Vec<Link>> {
    if !target.tls {
        let plain = conn::open(target, count, None)?;
        return Ok(plain.into_iter().map(Link::Plain).collect());
    }
    let config = config()?;
    let mut open = Vec::with_capacity(count);
    while open.len() < count {
        let first = open.len();
        let group = first..count.min(first + conn::AT_ONCE);
        let mut streams = group
            .map(|n| hello(target, &config, n))
            .collect::<Result<Vec<_>>>()?;
        for tls in &mut streams {
            tls.write_all(conn::request(target).as_bytes())?;
        }
        for tls in streams {
            open.push(answered(target, tls)?);
        }
    }
    Ok(open)
}

/// Any server's certificate will do.
pub(crate) fn config() -> Result<Arc<ClientConfig>> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer(ring::default_provider())))
        .with_no_client_auth();
    // Ten thousand different clients, not one that comes back.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

fn hello(target: &Target, config: &Arc<ClientConfig>, n: usize) -> Result<Stream> {
    let mut stream = conn::connect(target.addr, n, None)?;
    let mut tls = ClientConnection::new(config.clone(), ServerName::try_from("localhost")?)?;
    while tls.wants_write() {
        tls.write_tls(&mut stream)?;
    }
    Ok(StreamOwned::new(tls, stream))
}

fn answered(target: &Target, mut tls: Stream) -> Result<Link> {
    let mut head = Vec::with_capacity(512);
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        tls.read_exact(&mut byte)?;
        head.extend(byte);
    }
    conn::check(target, &head)?;
    Ok(Link::Tls(Box::new(tls)))
}

/// The bench serves a certificate that nobody has signed.
#[derive(Debug)]
struct AnyServer(CryptoProvider);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
