//! The price of the kernel in an echo: one epoll loop, one read buffer for all connections, one write for the frames of
//! one read. The payload is unmasked and sent back as it is.

use std::io::{self, ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);
const READ_BUFFER: usize = 512 * 1024;

struct Conn {
    stream: TcpStream,
    upgraded: bool,
    /// The beginning of what is not whole yet.
    spill: Vec<u8>,
    /// What the socket did not take.
    rest: Vec<u8>,
}

fn main() -> io::Result<()> {
    let listener = peer_raw::listen()?;
    listener.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(listener);
    let mut poll = Poll::new()?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut conns: Vec<Option<Conn>> = Vec::new();
    let mut free = Vec::new();
    let mut events = Events::with_capacity(1024);
    let (mut buffer, mut out) = (vec![0; READ_BUFFER], Vec::new());
    loop {
        if let Err(e) = poll.poll(&mut events, None)
            && e.kind() != ErrorKind::Interrupted
        {
            return Err(e);
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let n = free.pop().unwrap_or(conns.len());
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut stream, Token(n), interest)?;
                    let conn = Some(Conn {
                        stream,
                        upgraded: false,
                        spill: Vec::new(),
                        rest: Vec::new(),
                    });
                    if n == conns.len() {
                        conns.push(conn);
                    } else {
                        conns[n] = conn;
                    }
                }
                continue;
            }
            let n = event.token().0;
            let Some(Some(conn)) = conns.get_mut(n) else {
                continue;
            };
            if conn.turn(&mut buffer, &mut out).is_err() {
                conns[n] = None;
                free.push(n);
            }
        }
    }
}

impl Conn {
    fn turn(&mut self, buffer: &mut [u8], out: &mut Vec<u8>) -> io::Result<()> {
        let rest = std::mem::take(&mut self.rest);
        self.write(&rest)?;
        loop {
            let got = match self.stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(got) => got,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            };
            out.clear();
            if self.spill.is_empty() {
                let used = self.answer(&buffer[..got], out);
                self.spill.extend_from_slice(&buffer[used..got]);
            } else {
                let mut whole = std::mem::take(&mut self.spill);
                whole.extend_from_slice(&buffer[..got]);
                let used = self.answer(&whole, out);
                whole.drain(..used);
                self.spill = whole;
            }
            self.write(out)?;
            if got < buffer.len() {
                return Ok(());
            }
        }
    }

    fn answer(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        if self.upgraded {
            return peer_raw::turn_round(input, out);
        }
        if !input.ends_with(b"\r\n\r\n") {
            return 0;
        }
        self.upgraded = true;
        out.extend_from_slice(peer_raw::ANSWER);
        input.len()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut done = 0;
        while self.rest.is_empty() && done < bytes.len() {
            match self.stream.write(&bytes[done..]) {
                Ok(n) => done += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        self.rest.extend_from_slice(&bytes[done..]);
        Ok(())
    }
}
