//! The socket of a client: plain, or with TLS above it.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use rustls::client::{ClientConfig, ClientConnection};
use rustls::pki_types::ServerName;
use sockeye_world::net::{TcpStream, reset_on_close};
use sockeye_world::{chance, draw};

use crate::vm::host_name::HOST_NAME;

/// Bytes of one read below TLS.
const READ: usize = 4096;

/// A socket.
pub(super) enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsSocket>),
}

impl Socket {
    /// What there is, at most so much; nothing at the end.
    pub(super) async fn read_some(&self, most: usize) -> io::Result<Vec<u8>> {
        match self {
            Socket::Plain(stream) => stream.read_some(most).await,
            Socket::Tls(tls) => tls.read_some(most).await,
        }
    }

    pub(super) async fn write_whole(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Socket::Plain(stream) => stream.write_whole(bytes).await,
            Socket::Tls(tls) => tls.write_whole(bytes).await,
        }
    }

    /// Writes to the network, below TLS.
    pub(super) async fn write_raw(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Socket::Plain(stream) => stream.write_whole(bytes).await,
            Socket::Tls(tls) => tls.stream.write_whole(bytes).await,
        }
    }

    /// Closes it for writing.
    pub(super) async fn finish_writing(&self) {
        match self {
            Socket::Plain(stream) => stream.finish_writing(),
            Socket::Tls(tls) => {
                tls.session.borrow_mut().send_close_notify();
                // Who reads finds out whether it arrives.
                let _ = tls.flush().await;
                tls.stream.finish_writing();
            }
        }
    }

    /// Dropping it resets it.
    pub(super) fn reset_on_close(&self) {
        match self {
            Socket::Plain(stream) => reset_on_close(stream),
            Socket::Tls(tls) => reset_on_close(&tls.stream),
        }
    }
}

/// A session of TLS above a socket. Reading never writes: after the handshake, TLS asks for nothing.
pub(super) struct TlsSocket {
    stream: TcpStream,
    session: RefCell<ClientConnection>,
    /// Read from the socket, and not taken by TLS.
    buffered: RefCell<Vec<u8>>,
}

impl TlsSocket {
    pub(super) fn new(stream: TcpStream, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let name = ServerName::try_from(HOST_NAME).map_err(io::Error::other)?;
        let session = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        Ok(TlsSocket {
            stream,
            session: RefCell::new(session),
            buffered: RefCell::default(),
        })
    }

    pub(super) async fn handshake(&self) -> io::Result<()> {
        self.flush().await?;
        while self.session.borrow().is_handshaking() {
            if !self.fill().await? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.flush().await?;
        }
        Ok(())
    }

    /// What TLS wants to write.
    fn pending_output(&self) -> io::Result<Vec<u8>> {
        let (mut session, mut bytes) = (self.session.borrow_mut(), Vec::new());
        while session.wants_write() {
            session.write_tls(&mut bytes)?;
        }
        Ok(bytes)
    }

    async fn flush(&self) -> io::Result<()> {
        let bytes = self.pending_output()?;
        self.stream.write_whole(&bytes).await
    }

    /// Gives some bytes of the socket to TLS. False at the end.
    async fn fill(&self) -> io::Result<bool> {
        if self.buffered.borrow().is_empty() {
            let bytes = self.stream.read_some(READ).await?;
            *self.buffered.borrow_mut() = bytes;
        }
        let (mut session, mut buffered) = (self.session.borrow_mut(), self.buffered.borrow_mut());
        let taken = session.read_tls(&mut buffered.as_slice())?;
        buffered.drain(..taken);
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
                // An end without close_notify is an error of the next call.
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

    /// Sends something else than a handshake, and reads until the server closes.
    pub(super) async fn send_invalid_handshake(&self) -> io::Error {
        let hello = self.pending_output().unwrap_or_default();
        let (half, rest) = hello.split_at(hello.len() / 2);
        let parts: &[&[u8]] = match draw(4) {
            0 => &[b"GET /text HTTP/1.1\r\nhost: sim\r\n\r\n"],
            1 => &[half],
            2 => &[half, half],
            _ => &[half, rest, b"\x17\x03\x03\x00\x05early"],
        };
        for part in parts {
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
