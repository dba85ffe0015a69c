//! Frames in and out, without a library and without a network.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;
use sockeye_protocol::handshake::HeadLimits;
use sockeye_protocol::hpack::Decoder;

use super::STREAMS;
use super::allowance::Allowance;
use super::frames::*;
use super::heads::*;
use super::streams::*;
use crate::world::time::Instant;

const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

const GET: &[u8] = b"\x82\x86\x84\x01\x01a";

struct Pipe {
    streams: Rc<RefCell<Streams>>,
    incoming: InboundFrames,
    outgoing: OutboundFrames,
}

impl Pipe {
    fn new(errors: u32) -> Self {
        let streams = Rc::new(RefCell::new(Streams::default()));
        let allowance = Allowance::new(errors, 0);
        let limits = HeadLimits::default();
        let mut pipe = Pipe {
            incoming: InboundFrames::new(streams.clone(), limits, allowance),
            outgoing: OutboundFrames::new(streams.clone()),
            streams,
        };
        assert_eq!(pipe.read(HELLO), HELLO);
        pipe
    }

    fn read(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.incoming.read(bytes, &mut out);
        out
    }

    fn take(&self, stream: u32) -> Option<HeadResult> {
        self.streams.borrow_mut().take(&format!("/{stream}"))
    }

    fn is_over(&self) -> bool {
        self.incoming.is_over()
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    FrameHeader::write(&mut out, kind, flags, stream, payload);
    out
}

fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, GET)
}

fn bad(stream: u32) -> Vec<u8> {
    let block = [GET, b"\x40\x01x\x01\0"].concat();
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
}

/// The frames that the library gets: kind, flags, stream and payload.
fn frames(mut bytes: &[u8]) -> Vec<(u8, u8, u32, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk() {
        let frame = FrameHeader::parse(*header);
        frames.push((
            frame.kind,
            frame.flags,
            frame.stream,
            rest[..frame.len].to_vec(),
        ));
        bytes = &rest[frame.len..];
    }
    frames
}

/// No test waits for so long.
const NEVER: Duration = Duration::from_secs(3600);

/// Streams whose answers have content, and the library has begun to send it.
fn answering(streams: &[u32]) -> Pipe {
    let mut pipe = Pipe::new(0);
    for stream in streams {
        pipe.read(&get(*stream));
        assert!(pipe.take(*stream).is_some());
        pipe.streams.borrow_mut().answer(*stream);
    }
    pipe
}

impl Pipe {
    fn give_up(&self, timeout: Duration) -> bool {
        self.streams.borrow_mut().give_up(timeout)
    }

    /// What the library gets to hear without a word from the client, and what the client does.
    fn heard_and_told(&mut self) -> (Vec<u8>, Vec<u8>) {
        let (mut heard, mut told) = (Vec::new(), Vec::new());
        self.incoming.give_up(&mut heard);
        self.outgoing.tell(&mut told);
        (heard, told)
    }
}

fn cancel(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])
}

#[test]
fn an_answer_of_which_nothing_is_taken_is_given_up() {
    let mut pipe = answering(&[1, 3]);
    assert!(pipe.give_up(NEVER));
    assert_eq!(pipe.heard_and_told(), (vec![], vec![]));
    // What is not there yet is not the client's fault.
    pipe.streams.borrow_mut().set_waits_for(3, WaitsFor::Server);
    assert!(!pipe.streams.borrow().is_waiting_for_process());
    assert!(pipe.give_up(Duration::ZERO));
    assert_eq!(pipe.heard_and_told(), (cancel(1), cancel(1)));
    assert_eq!(pipe.heard_and_told(), (vec![], vec![]), "once");
    pipe.streams
        .borrow_mut()
        .set_waits_for(3, WaitsFor::Process);
    assert!(pipe.streams.borrow().is_waiting_for_process());
    assert!(pipe.give_up(Duration::ZERO));
    assert_eq!(pipe.heard_and_told(), (vec![], vec![]));
    assert!(pipe.streams.borrow().is_answering());
    pipe.streams
        .borrow_mut()
        .set_waits_for(3, WaitsFor::Client(Instant::now()));
    assert!(pipe.give_up(Duration::ZERO));
    assert_eq!(pipe.heard_and_told(), (cancel(3), cancel(3)));
    assert!(!pipe.streams.borrow().is_answering());
    assert_eq!(pipe.streams.borrow().next_look(NEVER), None);
    // What the client sends before it has heard is no error.
    let late = frame(DATA, 0, 1, b"late");
    assert_eq!(pipe.read(&late), late);
    assert!(!pipe.is_over());
}

#[test]
fn taken_bytes_are_noted_until_the_end() {
    let mut pipe = answering(&[1, 3]);
    let before = pipe.streams.borrow().last_taken();
    assert_eq!(before, None);
    // Of a stream that has no answer, as those of WebSockets, nothing is noted.
    pipe.read(&get(5));
    pipe.outgoing.wrote(&frame(DATA, 0, 5, b"x"));
    assert_eq!(pipe.streams.borrow().last_taken(), None);
    let bytes = frame(DATA, 0, 1, b"some");
    let (first, last) = bytes.split_at(11);
    pipe.outgoing.wrote(first);
    assert!(!pipe.outgoing.is_between());
    let some = pipe.streams.borrow().last_taken();
    assert!(some.is_some());
    pipe.outgoing.wrote(last);
    assert!(pipe.outgoing.is_between());
    assert!(pipe.streams.borrow().last_taken() >= some);
    for (stream, last) in [
        (1, frame(DATA, END_STREAM, 1, b"")),
        (3, frame(RST_STREAM, 0, 3, &[0; 4])),
    ] {
        pipe.outgoing.wrote(&last);
        assert_eq!(pipe.streams.borrow().is_answering(), stream == 1);
    }
    assert!(pipe.give_up(Duration::ZERO));
    assert_eq!(pipe.heard_and_told(), (vec![], vec![]));
}

#[test]
fn the_library_hears_of_it_between_two_frames() {
    let mut pipe = answering(&[1]);
    let post = frame(HEADERS, END_HEADERS, 3, GET);
    pipe.read(&post);
    let data = frame(DATA, 0, 3, b"some data");
    let (begin, end) = data.split_at(12);
    assert_eq!(pipe.read(begin), begin);
    assert!(pipe.give_up(Duration::ZERO));
    assert_eq!(pipe.heard_and_told(), (vec![], cancel(1)));
    assert!(pipe.streams.borrow().next_look(NEVER).is_some());
    // A client that stops there for as long again is given up as a whole.
    assert!(pipe.give_up(NEVER));
    assert!(!pipe.give_up(Duration::ZERO));
    assert_eq!(pipe.read(end), end);
    assert_eq!(pipe.heard_and_told(), (cancel(1), vec![]));
    assert!(pipe.give_up(Duration::ZERO));
    // Within a header nothing has been passed on, nor of a head that has begun.
    for partial in [&get(7)[..5], &frame(HEADERS, 0, 7, &GET[..3])] {
        let mut pipe = answering(&[1]);
        assert_eq!(pipe.read(partial), b"");
        assert!(pipe.give_up(Duration::ZERO));
        assert_eq!(pipe.heard_and_told(), (cancel(1), cancel(1)));
    }
}

#[test]
fn a_head_is_kept_and_another_stands_in_for_it() {
    let mut pipe = Pipe::new(0);
    let all = END_HEADERS | END_STREAM;
    let padded = [&[3u8, 0x80, 0, 0, 0, 5][..], GET, &[0; 3]].concat();
    for (stream, sent) in [
        (1, get(1)),
        (3, frame(HEADERS, all | PADDED | WITH_PRIORITY, 3, &padded)),
        (
            5,
            [
                frame(HEADERS, END_STREAM, 5, &GET[..3]),
                frame(CONTINUATION, 0, 5, &GET[3..4]),
                frame(CONTINUATION, END_HEADERS, 5, &GET[4..]),
            ]
            .concat(),
        ),
    ] {
        let got = frames(&pipe.read(&sent));
        let [(HEADERS, flags, on, block)] = &got[..] else {
            unreachable!("{got:?}")
        };
        assert_eq!((*flags, *on), (all, stream));
        let mut path = String::new();
        let read = Decoder::default().decode(block, 1000, |name, value| {
            if name == b":path" {
                path = String::from_utf8_lossy(value).into_owned();
            }
        });
        assert_eq!((read, path), (Ok(()), format!("/{stream}")));
        let found = pipe.take(stream);
        assert!(matches!(&found, Some(Ok((request, false))) if request.path() == "/"));
        assert!(pipe.take(stream).is_none(), "twice");
    }
}

#[test]
fn bytes_that_are_no_head_pass_unchanged() {
    let mut pipe = Pipe::new(0);
    let _ = pipe.read(&get(1));
    for sent in [
        frame(PING, 0, 0, b"12345678"),
        frame(4, 1, 0, &[]),
        frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 9]),
        frame(8, 0, 1, &[0, 0, 0, 9]),
        frame(DATA, END_STREAM, 1, b"data"),
        frame(99, 255, 7, b"unknown"),
        frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]),
    ] {
        assert_eq!(pipe.read(&sent), sent);
        for cut in 1..sent.len() {
            let mut got = pipe.read(&sent[..cut]);
            got.extend(pipe.read(&sent[cut..]));
            assert_eq!(got, sent, "cut at {cut}");
        }
    }
    assert!(!pipe.is_over());
}

#[test]
fn errors_are_counted_and_streams_that_ended_are_not_forgotten_at_once() {
    for (kind, error) in [
        ("a bad head", bad(5)),
        ("data of nobody", frame(DATA, 0, 5, b"x")),
        ("data that is none", frame(DATA, 0, 5, b"")),
        (
            "a stream that depends on itself",
            frame(PRIORITY, 0, 5, &[0, 0, 0, 5, 0]),
        ),
    ] {
        for (errors, over) in [(0, true), (1, false)] {
            let mut pipe = Pipe::new(errors);
            let got = frames(&pipe.read(&error));
            assert_eq!(pipe.is_over(), over, "{kind}");
            if over {
                let continued = got.iter().filter(|(kind, ..)| *kind == CONTINUATION);
                assert!(continued.count() > CONTINUATIONS, "{kind}");
            }
        }
    }
    let mut pipe = Pipe::new(0);
    let _ = pipe.read(&get(1));
    pipe.outgoing
        .wrote(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x88]));
    let late = frame(DATA, 0, 1, b"late");
    assert_eq!(pipe.read(&late), late);
    // Until many others have ended.
    for stream in (3..).step_by(2).take(LATELY) {
        assert!(!pipe.is_over(), "{stream}");
        let _ = pipe.read(&[get(stream), frame(RST_STREAM, 0, stream, &[0; 4])].concat());
    }
    let _ = pipe.read(&late);
    assert!(pipe.is_over());
}

#[test]
fn a_stream_is_open_until_all_of_its_answer_is_sent() {
    let mut pipe = Pipe::new(0);
    let streams: Vec<u32> = (1..).step_by(2).take(STREAMS as usize).collect();
    for &stream in &streams {
        let _ = pipe.read(&get(stream));
    }
    assert_eq!(pipe.streams.borrow().open.len(), STREAMS as usize);
    // In pieces, beside others.
    let answer = [
        frame(HEADERS, END_HEADERS, 1, &[0x88]),
        frame(DATA, 0, 1, b"hello"),
        frame(DATA, END_STREAM, 1, b""),
        frame(RST_STREAM, 0, 3, &[0; 4]),
        frame(PING, END_STREAM, 0, &[0; 8]),
    ]
    .concat();
    for byte in answer.chunks(1) {
        pipe.outgoing.wrote(byte);
    }
    assert_eq!(pipe.streams.borrow().open.len(), STREAMS as usize - 2);
    let next = streams.last().map_or(1, |last| last + 2);
    let _ = pipe.read(&[get(next), get(next + 2)].concat());
    assert!(!pipe.is_over());
    // One more than may be open is an error.
    let _ = pipe.read(&get(next + 4));
    assert!(pipe.is_over());
}

#[test]
fn a_frame_within_a_head_ends_the_connection() {
    for other in [
        frame(PING, 0, 0, &[0; 8]),
        frame(HEADERS, END_HEADERS, 3, GET),
        frame(CONTINUATION, END_HEADERS, 3, GET),
        frame(99, 0, 1, &[]),
    ] {
        let mut pipe = Pipe::new(9);
        let _ = pipe.read(&frame(HEADERS, 0, 1, GET));
        let got = frames(&pipe.read(&other));
        assert!(matches!(got[..], [(HEADERS, 0, 1, _), (PING, ..)]));
        assert!(pipe.is_over());
        assert!(pipe.read(&get(5)).is_empty());
    }
}

#[test]
fn a_head_is_bounded_however_it_comes() {
    let mut pipe = Pipe::new(9);
    let _ = pipe.read(&frame(HEADERS, 0, 1, &[]));
    let most = HeadLimits::default().max_head_size * BLOCK;
    let piece = frame(CONTINUATION, 0, 1, &[0; FRAME]);
    let pieces = (0..).take_while(|_| {
        let _ = pipe.read(&piece);
        !pipe.is_over()
    });
    assert!(pieces.count() <= most / FRAME);
}

proptest! {
    /// However frames are cut, the library gets the same.
    #[test]
    fn cuts_change_nothing(order in prop::collection::vec(0usize..8, 1..12), cut in 1usize..40) {
        let mut stream = 1;
        let mut sent = Vec::new();
        for kind in order {
            sent.extend(match kind {
                0 => get(stream),
                1 => bad(stream),
                2 => frame(DATA, 0, stream, b"data"),
                3 => frame(PRIORITY, 0, stream, &[0, 0, 0, 9, 0]),
                4 => frame(RST_STREAM, 0, stream, &[0; 4]),
                5 => frame(HEADERS, END_HEADERS | END_STREAM, stream, b"\0\x01x\x01y"),
                6 => frame(HEADERS, 0, stream, GET),
                _ => frame(PING, 0, 0, &[0; 8]),
            });
            stream += if kind < 2 { 2 } else { 0 };
        }
        let whole = Pipe::new(5).read(&sent);
        let mut pipe = Pipe::new(5);
        let pieces: Vec<u8> = sent.chunks(cut).flat_map(|piece| pipe.read(piece)).collect();
        prop_assert_eq!(pieces, whole);
    }

    #[test]
    fn anything_is_survived(bytes in any::<Vec<u8>>(), sent in any::<Vec<u8>>()) {
        let mut pipe = Pipe::new(5);
        let _ = pipe.read(&bytes);
        pipe.outgoing.wrote(&sent);
    }
}
