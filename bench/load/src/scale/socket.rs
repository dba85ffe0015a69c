//! A socket that never blocks, with TLS or without, and what waits to be written to it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use socket2::{Domain, Type};

use crate::Result;

/// Source addresses that connections are spread over.
const SOURCES: usize = 250;

pub(crate) struct Socket {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    pub(crate) out: Vec<u8>,
    written: usize,
    /// The beginning of what has not come whole yet.
    pub(crate) spill: Vec<u8>,
    /// Its clients: one, or one for each stream.
    pub(crate) first: usize,
    pub(crate) count: usize,
    /// The answer to the handshake has come, or the settings of HTTP/2.
    pub(crate) is_ready: bool,
    /// Bytes that HTTP/2 lets us send: on the connection, and on a new stream.
    pub(crate) window: i64,
    pub(crate) initial: i64,
}

pub(crate) enum Got {
    Bytes(usize),
    Nothing,
    End,
}

impl Socket {
    /// Begins to connect; its events carry the number `n`.
    pub(crate) fn connect(
        addr: SocketAddr,
        config: Option<&Arc<ClientConfig>>,
        registry: &Registry,
        n: usize,
        first: usize,
    ) -> Result<Socket> {
        let socket = socket2::Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        if addr.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) {
            // Ports of a server that was asked before may still be in TIME_WAIT.
            let [high, low] = addr.port().to_be_bytes();
            let source = Ipv4Addr::new(127, high, low, 1 + (n % SOURCES) as u8);
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        match socket.connect(&addr.into()) {
            Err(e) if e.raw_os_error() == Some(EINPROGRESS) => {}
            other => other?,
        }
        socket.set_tcp_nodelay(true)?;
        let mut stream = TcpStream::from_std(socket.into());
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut stream, Token(n), interest)?;
        let tls = match config {
            None => None,
            Some(config) => {
                let name = ServerName::try_from("localhost")?;
                let mut tls = ClientConnection::new(config.clone(), name)?;
                tls.set_buffer_limit(None);
                Some(Box::new(tls))
            }
        };
        Ok(Socket {
            stream,
            tls,
            out: Vec::new(),
            written: 0,
            spill: Vec::new(),
            first,
            count: 1,
            is_ready: false,
            window: 65_535,
            initial: 65_535,
        })
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Got {
        loop {
            let read = match &mut self.tls {
                None => self.stream.read(buffer),
                Some(tls) => tls.reader().read(buffer),
            };
            match (read, &mut self.tls) {
                (Ok(0), _) => return Got::End,
                (Ok(n), _) => return Got::Bytes(n),
                (Err(e), None) if e.kind() == ErrorKind::WouldBlock => return Got::Nothing,
                (Err(e), Some(tls)) if e.kind() == ErrorKind::WouldBlock => {
                    match tls.read_tls(&mut self.stream) {
                        Ok(0) => return Got::End,
                        Ok(_) if tls.process_new_packets().is_ok() => {}
                        Err(e) if e.kind() == ErrorKind::WouldBlock => return Got::Nothing,
                        _ => return Got::End,
                    }
                }
                _ => return Got::End,
            }
        }
    }

    /// Writes what the socket takes; false when it is broken.
    pub(crate) fn flush(&mut self) -> bool {
        let done = match &mut self.tls {
            None => write(&mut self.stream, &self.out, &mut self.written),
            Some(tls) => encrypt(tls, &mut self.stream, &self.out, &mut self.written),
        };
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        done.is_ok()
    }
}

/// Linux; other systems are not measured.
const EINPROGRESS: i32 = 115;

fn write(stream: &mut TcpStream, out: &[u8], written: &mut usize) -> io::Result<()> {
    while *written < out.len() {
        match stream.write(&out[*written..]) {
            Ok(n) => *written += n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn encrypt(
    tls: &mut ClientConnection,
    stream: &mut TcpStream,
    out: &[u8],
    written: &mut usize,
) -> io::Result<()> {
    tls.writer().write_all(&out[*written..])?;
    *written = out.len();
    while tls.wants_write() {
        match tls.write_tls(stream) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
