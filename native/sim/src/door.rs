//! Where clients come in, and the socket that they get: plain, or with TLS above it.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, ClientConnection, Resumption};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use sockeye_world::chance;
use sockeye_world::net::{TcpStream, reset_on_close};

use crate::plan::Plan;

/// Bytes of one read below TLS.
const READ: usize = 4096;

/// Where a server listens.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Secrets>,
}

/// What clients of one world know of TLS there.
#[derive(Clone)]
pub(crate) struct Secrets {
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    /// Some do what no server takes.
    lies: bool,
}

/// What it is like.
#[derive(Clone, Copy, Debug)]
pub struct TlsPlan {
    /// TLS 1.2.
    pub is_old: bool,
    /// Sessions are taken up again.
    pub resumes: bool,
}

/// Takes any certificate: it is the server that is looked at.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
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

impl Secrets {
    /// Those of a world.
    pub(crate) fn new(plan: TlsPlan, lies: bool) -> Option<Self> {
        let config = |protocol: &[u8]| {
            let versions: &[_] = match plan.is_old {
                true => &[&rustls::version::TLS12],
                false => &[&rustls::version::TLS13, &rustls::version::TLS12],
            };
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider);
            let config = config.with_protocol_versions(versions).ok()?.dangerous();
            let config = config.with_custom_certificate_verifier(Arc::new(Anybody));
            let mut config = config.with_no_client_auth();
            config.alpn_protocols = vec![protocol.to_vec()];
            if !plan.resumes {
                config.resumption = Resumption::disabled();
            }
            Some(Arc::new(config))
        };
        Some(Secrets {
            http1: config(b"http/1.1")?,
            http2: config(b"h2")?,
            lies,
        })
    }
}

impl Door {
    /// The doors of a world: that of the server before the one which is looked at, and that of this one.
    pub(crate) fn of(
        plan: &Plan,
        own: SocketAddr,
        before: SocketAddr,
    ) -> impl Fn(bool) -> Door + use<> {
        let secrets = |tls: Option<TlsPlan>| tls.and_then(|tls| Secrets::new(tls, !plan.fair));
        let own = Door {
            address: own,
            tls: secrets(plan.tls),
        };
        let before = Door {
            address: before,
            tls: secrets(plan.front.map_or(plan.tls, |front| front.tls)),
        };
        move |behind| if behind { before.clone() } else { own.clone() }
    }

    /// Connects, from this address.
    pub(crate) async fn connect(&self, local: SocketAddr, is_http2: bool) -> io::Result<Socket> {
        let stream = TcpStream::connect_from(local, self.address).await?;
        let Some(secrets) = &self.tls else {
            return Ok(Socket::Plain(stream));
        };
        let config = match is_http2 {
            true => &secrets.http2,
            false => &secrets.http1,
        };
        let tls = Tls::new(stream, config)?;
        if secrets.lies && chance(1, 8) {
            return Err(tls.lie().await);
        }
        tls.shake_hands().await?;
        Ok(Socket::Tls(Box::new(tls)))
    }
}

pub(crate) enum Socket {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

impl Socket {
    /// What there is, at most so much; nothing at the end.
    pub(crate) async fn read_some(&self, most: usize) -> io::Result<Vec<u8>> {
        match self {
            Socket::Plain(stream) => stream.read_some(most).await,
            Socket::Tls(tls) => tls.read_some(most).await,
        }
    }

    pub(crate) async fn write_whole(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Socket::Plain(stream) => stream.write_whole(bytes).await,
            Socket::Tls(tls) => tls.write_whole(bytes).await,
        }
    }

    /// Writes below all that there is.
    pub(crate) async fn write_raw(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Socket::Plain(stream) => stream.write_whole(bytes).await,
            Socket::Tls(tls) => tls.stream.write_whole(bytes).await,
        }
    }

    /// Says that nothing more is written.
    pub(crate) async fn finish_writing(&self) {
        match self {
            Socket::Plain(stream) => stream.finish_writing(),
            Socket::Tls(tls) => {
                tls.session.borrow_mut().send_close_notify();
                // Whether it is heard is seen by who reads.
                let _ = tls.flush().await;
                tls.stream.finish_writing();
            }
        }
    }

    /// Whoever drops it resets it.
    pub(crate) fn reset_on_close(&self) {
        match self {
            Socket::Plain(stream) => reset_on_close(stream),
            Socket::Tls(tls) => reset_on_close(&tls.stream),
        }
    }
}

/// A session above a socket. Who reads it never writes: after the handshake, TLS asks for nothing.
pub(crate) struct Tls {
    stream: TcpStream,
    session: RefCell<ClientConnection>,
    /// What was read below, and TLS has not taken.
    ahead: RefCell<Vec<u8>>,
}

impl Tls {
    fn new(stream: TcpStream, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let name = ServerName::try_from("sim.test").map_err(io::Error::other)?;
        let session = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        Ok(Tls {
            stream,
            session: RefCell::new(session),
            ahead: RefCell::default(),
        })
    }

    async fn shake_hands(&self) -> io::Result<()> {
        self.flush().await?;
        while self.session.borrow().is_handshaking() {
            if !self.fill().await? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.flush().await?;
        }
        Ok(())
    }

    /// What TLS wants to have written.
    fn written(&self) -> io::Result<Vec<u8>> {
        let (mut session, mut bytes) = (self.session.borrow_mut(), Vec::new());
        while session.wants_write() {
            session.write_tls(&mut bytes)?;
        }
        Ok(bytes)
    }

    async fn flush(&self) -> io::Result<()> {
        let bytes = self.written()?;
        self.stream.write_whole(&bytes).await
    }

    /// Gives some of what stands below to TLS. False at the end.
    async fn fill(&self) -> io::Result<bool> {
        if self.ahead.borrow().is_empty() {
            let bytes = self.stream.read_some(READ).await?;
            *self.ahead.borrow_mut() = bytes;
        }
        let (mut session, mut ahead) = (self.session.borrow_mut(), self.ahead.borrow_mut());
        let taken = session.read_tls(&mut ahead.as_slice())?;
        ahead.drain(..taken);
        let read = session.process_new_packets();
        read.map_err(|_| io::Error::from(ErrorKind::InvalidData))?;
        Ok(taken > 0)
    }

    async fn read_some(&self, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; most.min(READ * 8)];
        loop {
            let read = self.session.borrow_mut().reader().read(&mut bytes);
            match read {
                Ok(len) => {
                    bytes.truncate(len);
                    return Ok(bytes);
                }
                // An end that nobody has said is an error of the next look.
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.fill().await?,
                Err(e) => return Err(e),
            };
        }
    }

    async fn write_whole(&self, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.chunks(READ * 4) {
            self.session.borrow_mut().writer().write_all(part)?;
            self.flush().await?;
        }
        Ok(())
    }

    /// Does something else than a handshake, and reads until the server has enough of it.
    async fn lie(&self) -> io::Error {
        let hello = self.written().unwrap_or_default();
        let (half, rest) = hello.split_at(hello.len() / 2);
        let said: &[&[u8]] = match sockeye_world::draw(4) {
            0 => &[b"GET /text HTTP/1.1\r\nhost: sim\r\n\r\n"],
            1 => &[half],
            2 => &[half, half],
            _ => &[half, rest, b"\x17\x03\x03\x00\x05early"],
        };
        for part in said {
            if let Err(e) = self.stream.write_whole(part).await {
                return e;
            }
        }
        if chance(1, 4) {
            return ErrorKind::BrokenPipe.into();
        }
        loop {
            match self.stream.read_some(READ).await {
                Ok(bytes) if bytes.is_empty() => return ErrorKind::UnexpectedEof.into(),
                Ok(_) => {}
                Err(e) => return e,
            }
        }
    }
}
