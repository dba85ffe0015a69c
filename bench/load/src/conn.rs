//! Opening connections: TCP from several source addresses, then the upgrade.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::{Result, Target};

/// The key of RFC 6455's example and the answer to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// Connections that are in their handshake at the same time.
pub(crate) const AT_ONCE: usize = 64;
/// One source address has some 28,000 ports, and those of a round that was closed are not free yet in the next.
const PER_SOURCE: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(20);

/// Opens the target's connections, blocking. `sndbuf` bounds what the kernel takes for a peer that does not read.
pub(crate) fn open_all(target: &Target, sndbuf: Option<usize>) -> Result<Vec<TcpStream>> {
    open(target, target.connections, sndbuf)
}

pub(crate) fn open(target: &Target, count: usize, sndbuf: Option<usize>) -> Result<Vec<TcpStream>> {
    let request = request(target);
    let mut open = Vec::with_capacity(count);
    while open.len() < count {
        let first = open.len();
        for n in first..count.min(first + AT_ONCE) {
            let mut stream = connect(target.addr, n, sndbuf)?;
            stream.write_all(request.as_bytes())?;
            open.push(stream);
        }
        for stream in &mut open[first..] {
            upgrade(target, stream)?;
        }
    }
    Ok(open)
}

/// One more, to another path.
pub(crate) fn open_at(target: &Target, path: &str, n: usize) -> Result<TcpStream> {
    let mut stream = connect(target.addr, n, None)?;
    stream.write_all(request_to(target, path).as_bytes())?;
    upgrade(target, &mut stream)?;
    Ok(stream)
}

/// The opening handshake of the target's clients.
pub(crate) fn request(target: &Target) -> String {
    request_to(target, &target.path)
}

pub(crate) fn request_to(target: &Target, path: &str) -> String {
    let extensions = if target.deflate {
        // What browsers offer: each server then does what it does for them.
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    } else {
        ""
    };
    format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{extensions}\r\n",
        path, target.addr
    )
}

pub(crate) fn connect(addr: SocketAddr, n: usize, sndbuf: Option<usize>) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    if let Some(bytes) = sndbuf {
        socket.set_send_buffer_size(bytes)?;
    }
    if addr.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) {
        // Addresses that no other server of the bench was asked from: the last one's ports are still in TIME_WAIT.
        let [high, low] = addr.port().to_be_bytes();
        let source = Ipv4Addr::new(127, high, low, 1 + (n / PER_SOURCE) as u8);
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    socket.connect(&addr.into())?;
    socket.set_tcp_nodelay(true)?;
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Reads the answer to its last byte and no further.
fn upgrade(target: &Target, stream: &mut TcpStream) -> Result<()> {
    let mut head = Vec::with_capacity(512);
    let mut chunk = [0; 512];
    loop {
        let peeked = stream.peek(&mut chunk)?;
        if peeked == 0 {
            return Err("closed during the handshake".into());
        }
        let before = head.len();
        head.extend_from_slice(&chunk[..peeked]);
        let end = head.windows(4).position(|w| w == b"\r\n\r\n");
        let take = end.map_or(peeked, |e| e + 4 - before);
        stream.read_exact(&mut chunk[..take])?;
        if end.is_some() {
            break;
        }
    }
    check(target, &head)
}

/// Whether the head is the answer that was asked for.
pub(crate) fn check(target: &Target, head: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(head);
    if !text.starts_with("HTTP/1.1 101") || !text.contains(ACCEPT) {
        return Err(format!("not upgraded: {text}").into());
    }
    if target.deflate && !text.contains("permessage-deflate") {
        return Err(format!("no compression agreed: {text}").into());
    }
    Ok(())
}
