//! As much of WebSocket as the load generator speaks: not a server for anyone else.

use std::io::{self, Read};
use std::net::TcpListener;

/// The answer to RFC 6455's sample key, which the load always sends.
pub const ANSWER: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Says the port, and ends the program when standard input does.
pub fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    println!("READY {}", listener.local_addr()?.port());
    std::thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    Ok(listener)
}

/// Reads the head of a request to its end.
pub fn head(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            got => head.extend_from_slice(&chunk[..got]),
        }
    }
    Ok(head)
}

/// Turns all whole masked frames in `input` into a server's frames at the end of `out`; the number of bytes taken.
pub fn turn_round(input: &[u8], out: &mut Vec<u8>) -> usize {
    let mut used = 0;
    while let Some((len, start)) = measure(&input[used..]) {
        let frame = &input[used..used + start + 4 + len];
        let (head, rest) = frame.split_at(start);
        let (mask, body) = rest.split_at(4);
        out.push(head[0]);
        out.push(head[1] & 0x7f);
        out.extend_from_slice(&head[2..]);
        let at = out.len();
        out.extend_from_slice(body);
        unmask(&mut out[at..], [mask[0], mask[1], mask[2], mask[3]]);
        used += frame.len();
    }
    used
}

/// Length of the body and of the header before the mask, when the whole frame is there.
fn measure(input: &[u8]) -> Option<(usize, usize)> {
    let (len, start) = match input.get(1)? & 0x7f {
        126 => {
            let bytes = input.get(2..4)?.first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*bytes)), 4)
        }
        127 => {
            let bytes = input.get(2..10)?.first_chunk::<8>()?;
            (usize::try_from(u64::from_be_bytes(*bytes)).ok()?, 10)
        }
        len => (usize::from(len), 2),
    };
    (input.len() >= start + 4 + len).then_some((len, start))
}

fn unmask(body: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([
        mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3],
    ]);
    let mut words = body.chunks_exact_mut(8);
    for word in &mut words {
        if let Some(bytes) = word.first_chunk_mut::<8>() {
            *bytes = (u64::from_ne_bytes(*bytes) ^ wide).to_ne_bytes();
        }
    }
    for (byte, m) in words.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= m;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_unmasked_when_they_are_whole() {
        for size in [0, 5, 125, 126, 65535, 65536] {
            let text: Vec<u8> = (0..size).map(|n| n as u8).collect();
            let mask = [1, 2, 3, 4];
            let head = match size {
                0..=125 => vec![0x81, size as u8],
                126..=65535 => vec![0x81, 126, (size >> 8) as u8, size as u8],
                _ => [vec![0x81, 127], (size as u64).to_be_bytes().to_vec()].concat(),
            };
            let mut input = head.clone();
            input[1] |= 0x80;
            input.extend(mask);
            input.extend(text.iter().enumerate().map(|(n, b)| b ^ mask[n % 4]));
            let mut out = Vec::new();
            assert_eq!(turn_round(&input[..input.len() - 1], &mut out), 0);
            assert_eq!(turn_round(&input, &mut out), input.len());
            assert_eq!(out, [head, text].concat());
        }
    }
}
