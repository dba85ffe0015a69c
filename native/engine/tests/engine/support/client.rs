//! Clients on blocking sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use sockeye_protocol::frame::{self, Opcode};
use sockeye_protocol::handshake::HeadLimits;
use sockeye_protocol::handshake::client::{self, ClientOptions, generate_key};

use super::LONG;

/// A client that does only what it is told: it answers no ping and no close.
pub struct Client {
    pub stream: TcpStream,
    ahead: Vec<u8>,
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_write_timeout(Some(LONG)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

pub fn request(key: &str) -> Vec<u8> {
    let options = ClientOptions {
        host: "localhost",
        path: "/path",
        subprotocols: &[],
        deflate: None,
        headers: &[],
    };
    client::request(&options, key).unwrap()
}

/// A frame of a client.
pub fn masked(op: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write(&mut out, op, payload, Some([1, 2, 3, 4]));
    out
}

pub fn close_payload(code: u16) -> Vec<u8> {
    code.to_be_bytes().to_vec()
}

/// What comes next on a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Frame(u8, Vec<u8>),
    /// The server closed its side.
    End,
    Reset,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let mut stream = connect(address);
        let key = generate_key();
        stream.write_all(&request(&key)).unwrap();
        Self::shaken(stream, &key)
    }

    /// Reads the answer to the handshake.
    pub fn shaken(mut stream: TcpStream, key: &str) -> Self {
        let mut ahead = Vec::new();
        loop {
            let mut buffer = [0; 4096];
            let n = stream.read(&mut buffer).unwrap();
            assert_ne!(n, 0, "no answer to the handshake");
            ahead.extend_from_slice(&buffer[..n]);
            let limits = HeadLimits::default();
            if let Some((_, len)) = client::verify(&ahead, key, &[], &limits).unwrap() {
                ahead.drain(..len);
                return Client { stream, ahead };
            }
        }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn send(&mut self, op: Opcode, payload: &[u8]) {
        self.write(&masked(op, payload));
    }

    pub fn text(&mut self, payload: &str) {
        self.send(Opcode::Text, payload.as_bytes());
    }

    pub fn close(&mut self, code: u16) {
        self.send(Opcode::Close, &close_payload(code));
    }

    /// True once so many bytes are there.
    fn fill(&mut self, len: usize) -> Result<bool, ErrorKind> {
        let mut buffer = [0; 65536];
        while self.ahead.len() < len {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(false),
                Ok(n) => self.ahead.extend_from_slice(&buffer[..n]),
                Err(e) => return Err(e.kind()),
            }
        }
        Ok(true)
    }

    fn read(&mut self) -> Result<Next, ErrorKind> {
        if !self.fill(2)? {
            return Ok(Next::End);
        }
        let (op, len) = (self.ahead[0], self.ahead[1]);
        let (head, len) = match len {
            126 => {
                assert!(self.fill(4)?);
                let len = u16::from_be_bytes([self.ahead[2], self.ahead[3]]);
                (4, usize::from(len))
            }
            127 => {
                assert!(self.fill(10)?);
                let bytes: [u8; 8] = self.ahead[2..10].try_into().unwrap();
                (10, u64::from_be_bytes(bytes) as usize)
            }
            len => (2, usize::from(len)),
        };
        assert!(self.fill(head + len)?, "a frame is cut");
        let payload = self.ahead[head..head + len].to_vec();
        self.ahead.drain(..head + len);
        Ok(Next::Frame(op & 0x0f, payload))
    }

    pub fn next(&mut self) -> Next {
        match self.read() {
            Ok(next) => next,
            Err(ErrorKind::ConnectionReset) => Next::Reset,
            Err(e) => panic!("{e}"),
        }
    }

    pub fn expect(&mut self, op: Opcode, payload: &[u8]) {
        let next = self.next();
        assert_eq!(next, Next::Frame(op as u8, payload.to_vec()));
    }

    /// Returns when the server has seen all that was sent.
    pub fn seen(&mut self) {
        self.send(Opcode::Ping, b"seen");
        self.expect(Opcode::Pong, b"seen");
    }

    /// Reads on to the close frame, and answers it. The code.
    pub fn closed(&mut self) -> u16 {
        loop {
            match self.next() {
                Next::Frame(8, payload) => {
                    let _ = self.stream.write_all(&masked(Opcode::Close, &payload));
                    return u16::from_be_bytes([payload[0], payload[1]]);
                }
                Next::Frame(..) => {}
                other => panic!("{other:?} and not a close frame"),
            }
        }
    }

    /// Reads to the end of the stream, whichever it is.
    pub fn drained(&mut self) {
        while let Next::Frame(..) = self.next() {}
    }

    pub fn finish_writing(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Goes away without a word.
    pub fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
}
