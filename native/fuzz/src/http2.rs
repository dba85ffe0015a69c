//! HTTP/2 on the port of a server: what any bytes get for an answer, and WebSockets on its streams beside those of HTTP/1.
//! The engine runs in a simulated world.

use sockeye_simulated_engine::{Routes, Target};

use crate::Choices;
use crate::world::{Got, Life, converse};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADER: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// Byte 0: bit 0 set: the rest is what a WebSocket on a stream says, else it is all that a client says, of HTTP/2 behind a
/// preface if bit 1 is set. Bits 2 to 7 and byte 1: the sizes of two cuts.
pub fn check(data: &[u8]) {
    let mut choices = Choices(data);
    let first = choices.byte();
    let sizes = [usize::from(first >> 2) + 1, usize::from(choices.byte()) + 1];
    match first & 3 {
        0 => anything(choices.0, sizes),
        2 => anything(
            &[PREFACE, &frame(SETTINGS, 0, 0, b""), choices.0].concat(),
            sizes,
        ),
        _ => websocket(choices.0, sizes),
    }
}

/// What a client hears, and what the receiver gets, until nothing is left.
fn say(bytes: &[u8], sizes: [usize; 2]) -> (Vec<u8>, Vec<Got>) {
    let life = Life::begin();
    let mut config = Life::config();
    config.http2_cleartext = true;
    config.max_body_size = 1000;
    let text = Target::Text(b"some text".into());
    let routes = vec![
        ("/text".to_owned(), text),
        ("/health".to_owned(), Target::Health),
        ("/ask".to_owned(), Target::Ask),
    ];
    config.routes = Routes::new(routes).expect("paths");
    let (server, address) = life.listen(config);
    let heard = converse(&life, address, bytes, sizes);
    (heard, life.end(&server))
}

/// It ends, whatever comes, with an answer that is well-formed.
fn anything(bytes: &[u8], sizes: [usize; 2]) {
    let (heard, got) = say(bytes, sizes);
    let opened = got.iter().filter(|got| **got == Got::Open).count();
    let closed = got.iter().filter(|got| matches!(got, Got::Closed(_)));
    assert_eq!(opened, closed.count());
    if heard.is_empty() || heard.starts_with(b"HTTP/1.") {
        return;
    }
    let mut ended = Vec::new();
    for (number, (kind, flags, stream, payload)) in frames(&heard).into_iter().enumerate() {
        assert!(
            (kind == SETTINGS && flags == 0) || number > 0,
            "no SETTINGS"
        );
        assert!(payload.len() <= 16_384, "a frame of {}", payload.len());
        match kind {
            DATA | HEADERS => {
                assert_eq!(stream % 2, 1, "{kind} on {stream}");
                assert!(!ended.contains(&stream), "{kind} behind the end");
                if flags & END_STREAM != 0 {
                    ended.push(stream);
                }
            }
            RST_STREAM => assert_ne!(stream, 0),
            _ => {}
        }
    }
}

/// A WebSocket on a stream is as one on a connection of its own.
fn websocket(bytes: &[u8], sizes: [usize; 2]) {
    let (heard, got) = say(&over_http_2(bytes, sizes), [usize::MAX; 2]);
    let mut answer = Vec::new();
    for (kind, flags, stream, payload) in frames(&heard) {
        if kind == DATA {
            assert_eq!((stream, flags & PADDED), (1, 0));
            answer.extend(payload);
        }
    }
    let head = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let (heard, expected) = say(&[head.as_bytes(), bytes].concat(), sizes);
    assert_eq!(got, expected, "HTTP/2 changes what is received");
    let end = heard.windows(4).position(|w| w == b"\r\n\r\n");
    let end = end.expect("an answer") + 4;
    let (ours, theirs) = (Answer::of(&answer), Answer::of(&heard[end..]));
    assert_eq!(ours.close, theirs.close);
    assert_eq!(ours.pongs, theirs.pongs);
    // What was received before something that breaks the rules may be answered or not.
    let (short, long) = match ours.messages.len() < theirs.messages.len() {
        true => (&ours.messages, &theirs.messages),
        false => (&theirs.messages, &ours.messages),
    };
    assert!(long.starts_with(short));
    let in_peace = matches!(got.last(), Some(Got::Closed(1000 | 1005 | 3000..)));
    assert!(short == long || !in_peace, "an answer is lost");
}

/// The frames that a server has said.
#[derive(Default)]
struct Answer {
    messages: Vec<Vec<u8>>,
    pongs: Vec<Vec<u8>>,
    close: Option<Vec<u8>>,
}

impl Answer {
    fn of(mut bytes: &[u8]) -> Self {
        let mut answer = Answer::default();
        while let [first, second, rest @ ..] = bytes {
            assert!(answer.close.is_none(), "a frame behind the Close frame");
            let (len, rest) = match second {
                0..126 => (usize::from(*second), rest),
                126 => (usize::from(rest[0]) << 8 | usize::from(rest[1]), &rest[2..]),
                _ => panic!("nothing here is so long"),
            };
            let (payload, behind) = rest.split_at(len);
            match first & 0xf {
                1 | 2 => answer.messages.push(payload.to_vec()),
                8 => answer.close = Some(payload.to_vec()),
                10 => answer.pongs.push(payload.to_vec()),
                op => panic!("opcode {op}"),
            }
            bytes = behind;
        }
        answer
    }
}

/// An extended CONNECT, and these bytes in frames of two sizes, with padding and other frames between.
fn over_http_2(bytes: &[u8], sizes: [usize; 2]) -> Vec<u8> {
    let mut head = Vec::new();
    for (name, value) in [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "a"),
        ("sec-websocket-version", "13"),
    ] {
        head.push(0);
        for text in [name, value] {
            head.push(text.len() as u8);
            head.extend(text.as_bytes());
        }
    }
    let mut out = [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat();
    out.extend(frame(HEADERS, END_HEADERS, 1, &head));
    for (number, piece) in crate::world::pieces(bytes, sizes).enumerate() {
        match (number + sizes[0]) % 5 {
            0 => {
                let pad = number % 7;
                let padded = [&[pad as u8], piece, &vec![0; pad]].concat();
                out.extend(frame(DATA, PADDED, 1, &padded));
                continue;
            }
            1 => out.extend(frame(PING, 0, 0, b"12345678")),
            2 => out.extend(frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])),
            3 => out.extend(frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 9])),
            _ => out.extend(frame(200, 0, 1, b"unknown")),
        }
        out.extend(frame(DATA, 0, 1, piece));
    }
    out.extend(frame(DATA, END_STREAM, 1, b""));
    out
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    let mut out = vec![a, b, c, kind, flags];
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// All frames: kind, flags, stream and payload. None is cut.
fn frames(mut bytes: &[u8]) -> Vec<(u8, u8, u32, &[u8])> {
    let mut found = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() {
        let [a, b, c, kind, flags, stream @ ..] = *header;
        let len = u32::from_be_bytes([0, a, b, c]) as usize;
        assert!(len <= rest.len(), "a frame is cut");
        let (payload, behind) = rest.split_at(len);
        found.push((kind, flags, u32::from_be_bytes(stream), payload));
        bytes = behind;
    }
    assert!(bytes.is_empty(), "a frame is cut");
    found
}
