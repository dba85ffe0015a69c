//! A WebSocket connection under epoll: whole frames in, bytes out.

use std::io::{ErrorKind, Read, Write};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::Result;
use crate::frame::{self, Incoming};

/// What all connections read into, in turn.
pub(crate) const READ_BUFFER: usize = 256 * 1024;

pub(crate) struct Wire {
    stream: TcpStream,
    pub(crate) out: Vec<u8>,
    written: usize,
    /// The beginning of a frame whose end has not come yet.
    spill: Vec<u8>,
}

impl Wire {
    /// Takes a connection whose handshake is done; its events carry the number `n`.
    pub(crate) fn new(stream: std::net::TcpStream, registry: &Registry, n: usize) -> Result<Wire> {
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut stream, Token(n), interest)?;
        Ok(Wire {
            stream,
            out: Vec::new(),
            written: 0,
            spill: Vec::new(),
        })
    }

    /// Reads all that is there and hands on the messages in it; the number of bytes. Pings are answered.
    pub(crate) fn read(
        &mut self,
        buffer: &mut [u8],
        mut take: impl FnMut(Incoming) -> Result<()>,
    ) -> Result<usize> {
        let mut sum = 0;
        loop {
            let got = match self.stream.read(buffer) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(got) => got,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(sum),
                Err(e) => return Err(e.into()),
            };
            sum += got;
            if self.spill.is_empty() {
                let used = self.messages(&buffer[..got], &mut take)?;
                self.spill.extend_from_slice(&buffer[used..got]);
            } else {
                let mut whole = std::mem::take(&mut self.spill);
                whole.extend_from_slice(&buffer[..got]);
                let used = self.messages(&whole, &mut take)?;
                whole.drain(..used);
                self.spill = whole;
            }
            if got < buffer.len() {
                // Short read: the socket is empty, and the next byte raises an edge.
                return Ok(sum);
            }
        }
    }

    /// Hands on all whole messages in `bytes`; the number of bytes that they took.
    fn messages(
        &mut self,
        bytes: &[u8],
        take: &mut impl FnMut(Incoming) -> Result<()>,
    ) -> Result<usize> {
        let mut used = 0;
        while let Some((incoming, size)) = frame::next(&bytes[used..])? {
            match incoming {
                Incoming::Ping(pong) => {
                    self.out.extend(pong);
                    self.flush()?;
                }
                Incoming::Close(code) => return Err(format!("closed with {code}").into()),
                message => take(message)?,
            }
            used += size;
        }
        Ok(used)
    }

    /// Writes what the socket takes of `out`.
    pub(crate) fn flush(&mut self) -> Result<()> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(n) => self.written += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }
}
