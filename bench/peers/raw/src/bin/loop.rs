//! The price of the kernel in a fan-out: the frames that came from the publisher in one read go to each socket in one
//! write, in a plain loop on blocking sockets.

use std::io::{self, Read, Write};
use std::net::TcpStream;

fn main() -> io::Result<()> {
    let listener = peer_raw::listen()?;
    let mut subscribers = Vec::new();
    loop {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let Ok(head) = peer_raw::head(&mut stream) else {
            continue;
        };
        stream.write_all(peer_raw::ANSWER)?;
        if head.starts_with(b"GET /publish ") {
            publish(&mut stream, &mut subscribers)?;
            subscribers.clear();
        } else {
            subscribers.push(stream);
        }
    }
}

/// Until the publisher closes.
fn publish(from: &mut TcpStream, to: &mut [TcpStream]) -> io::Result<()> {
    let mut chunk = vec![0; 64 * 1024];
    let (mut input, mut out) = (Vec::new(), Vec::new());
    loop {
        let got = match from.read(&mut chunk) {
            Ok(0) | Err(_) => return Ok(()),
            Ok(got) => got,
        };
        input.extend_from_slice(&chunk[..got]);
        out.clear();
        let used = peer_raw::turn_round(&input, &mut out);
        input.drain(..used);
        for stream in &mut *to {
            // A subscriber that is gone is missed by the load.
            let _ = stream.write_all(&out);
        }
    }
}
