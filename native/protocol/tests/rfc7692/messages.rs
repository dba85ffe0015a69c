//! Compressed messages: the examples of the RFC, limits, and what is against the rules.

use sockeye_protocol::deflate::{Codecs, Policy};
use sockeye_protocol::frame::{self, Opcode};
use sockeye_protocol::{Kind, Limits, Payload, Role, Sink};

use crate::support::*;

fn hello() -> Message {
    (Kind::Text, b"Hello".to_vec())
}

#[test]
fn the_examples_of_the_rfc() {
    // One frame, and two.
    let mut end = client(false);
    end.receive(b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00");
    end.receive(b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00");
    assert_eq!(end.seen.0, [hello(), hello()]);
    // The second message refers to the first.
    let mut end = client(true);
    end.receive(b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x05\xf2\x00\x11\x00\x00");
    assert_eq!(end.seen.0, [hello(), hello()]);
    // Not compressed at all.
    let stored = b"\xc1\x0b\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00";
    // A last block, and two blocks.
    let last = b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00";
    let two = b"\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00";
    for takeover in [false, true] {
        let mut end = client(takeover);
        for message in [&stored[..], last, two, last, stored] {
            assert_eq!(code(end.receive(message)), None, "{message:x?}");
        }
        assert_eq!(end.seen.0, vec![hello(); 5]);
    }
}

#[test]
fn an_empty_message() {
    for takeover in [false, true] {
        let mut end = client(takeover);
        // As the RFC has it, as zlib does it, and in fragments.
        end.receive(b"\xc1\x01\x00");
        end.receive(b"\xc1\x02\x02\x00");
        end.receive(b"\x42\x00\x00\x00\x80\x01\x00");
        let empty = |kind| (kind, Vec::new());
        let want = [Kind::Text, Kind::Text, Kind::Binary].map(empty);
        assert_eq!(end.seen.0, want);
    }
}

#[test]
fn noise_is_sent_as_it_is_whatever_the_settings() {
    let lens = [1, 100, 600, 9000, 70_000];
    let (lens, step) = if cfg!(miri) {
        (&lens[..3], 8)
    } else {
        (&lens[..], 1)
    };
    for level in (1..=9).step_by(step) {
        for mem_level in (1..=9).step_by(step) {
            for takeover in [false, true] {
                let mut policy = policy(takeover, takeover, (9, 9));
                (policy.tuning.level, policy.tuning.mem_level) = (level, mem_level);
                let mut server = End::new(Role::Server, policy);
                for &len in lens {
                    let (wire, compressed) = server.send(Kind::Binary, &noise(len));
                    assert!(!compressed && wire.ends_with(&noise(len)));
                }
            }
        }
    }
}

#[test]
fn the_second_of_two_equal_messages_is_tiny() {
    let mut server = End::new(Role::Server, policy(true, false, (15, 15)));
    let text = prose(1000);
    let (first, _) = server.send(Kind::Text, &text);
    let (second, compressed) = server.send(Kind::Text, &text);
    assert!(compressed && second.len() < 30 && second.len() < first.len() / 3);
    let mut client = client(true);
    client.receive(&[first, second].concat());
    assert_eq!(client.seen.0, vec![(Kind::Text, text); 2]);
}

/// What comes again within the window is referred to; beyond it that would not be read.
#[test]
#[cfg_attr(miri, ignore = "to compress 400 KB takes a quarter of an hour there")]
fn a_window_reaches_as_far_as_was_agreed() {
    for bits in 9..=15 {
        // The library looks back a little less far than the window is large.
        let window = 1 << bits;
        for (distance, reaches) in [(window - 300, true), (window + 1, false)] {
            let twice = noise(distance).repeat(2);
            for takeover in [false, true] {
                for (role, both) in [(Role::Server, (bits, 15)), (Role::Client, (15, bits))] {
                    let mut end = End::new(role, policy(takeover, takeover, both));
                    let (wire, compressed) = end.send(Kind::Binary, &twice);
                    let what = format!("{role:?}, {bits} bits, {distance}, {takeover}");
                    assert_eq!(compressed, reaches, "{what}");
                    assert!(!reaches || wire.len() < distance + distance / 2, "{what}");
                }
            }
        }
    }
}

#[test]
fn unsent_data_is_not_referenced() {
    let mut server = End::new(Role::Server, policy(true, true, (15, 15)));
    let mut client = client(true);
    for payload in [prose(300), noise(300), noise(300), prose(300)] {
        let (wire, compressed) = server.send(Kind::Binary, &payload);
        assert_eq!(compressed, wire.len() < 300);
        client.receive(&wire);
        assert_eq!(client.seen.0.pop(), Some((Kind::Binary, payload)));
    }
}

/// Bytes that grow a thousand times, and stop.
fn bomb(len: usize) -> Vec<u8> {
    let mut server = End::new(Role::Server, policy(false, false, (15, 15)));
    let (wire, _) = server.send(Kind::Binary, &vec![0; len]);
    let head = wire.len() - wire[2..].len();
    assert!(wire.len() < len / 500, "{head}");
    wire
}

#[test]
#[cfg_attr(miri, ignore = "to compress 64 MB takes days there")]
fn a_bomb_costs_no_more_than_the_limit() {
    let wire = bomb(64 << 20);
    for takeover in [false, true] {
        let mut end = client(takeover);
        end.limits = Limits::default().max_message_size(100_000);
        assert_eq!(code(end.receive(&wire)), Some(1009));
        assert!(end.seen.0.is_empty());
        // The buffer is given back.
        assert!(format!("{:?}", end.codecs).contains("buffer: 0"));
    }
}

#[test]
fn compressed_bytes_are_bounded_as_they_come() {
    // A peer that never ends a message, in fragments of stored blocks with nothing in them.
    let mut end = client(false);
    end.limits = Limits::default()
        .max_message_size(1000)
        .max_fragments(u32::MAX);
    let empty = b"\x00\x00\x00\xff\xff".repeat(20);
    let mut wire = raw(0x42, &empty);
    let mut sent = 0;
    while code(end.receive(&wire)).is_none() {
        sent += empty.len();
        assert!(sent < 1300);
        wire = raw(0x00, &empty);
    }
    assert_eq!(code(end.session.progress()), Some(1009));
}

#[test]
fn a_frame_limit_of_its_own_counts_what_travels() {
    let text = prose(1000);
    let mut server = End::new(Role::Server, policy(false, false, (15, 15)));
    let (wire, _) = server.send(Kind::Text, &text);
    for (more, want) in [(1, Some(1009)), (0, None)] {
        let mut end = client(false);
        end.limits = Limits::default().max_frame_size(wire.len() - 2 - more);
        assert_eq!(code(end.receive(&wire)), want);
    }
}

/// What is behind a message that was inflated waits where the sink is full, and only there.
#[test]
fn a_full_sink_is_asked_behind_each_message() {
    struct Full(usize, usize);
    impl Sink for Full {
        fn message(&mut self, _: Kind, _: Payload<'_>) {
            self.0 += 1;
        }
        fn is_full(&self) -> bool {
            self.0 >= self.1
        }
    }
    let mut server = End::new(Role::Server, policy(false, false, (15, 15)));
    let wires: Vec<_> = (1..=3)
        .map(|n| server.send(Kind::Text, &prose(n * 200)).0)
        .collect();
    for (most, taken) in [(1, 1), (2, 2), (3, 3), (4, 3)] {
        let End {
            mut session,
            limits,
            mut codecs,
            mut out,
            ..
        } = client(false);
        let mut sink = Full(0, most);
        let mut all = wires.concat();
        let (_, left) = session.receive_some(&mut all, &limits, &mut codecs, &mut out, &mut sink);
        assert_eq!(sink.0, taken, "{most}");
        assert_eq!(left, wires[taken..].concat().len(), "{most}");
    }
    // Who takes all is not asked.
    let mut session = client(false);
    let mut sink = Full(0, 0);
    session.session.receive_with(
        &mut wires.concat(),
        &session.limits,
        &mut session.codecs,
        &mut session.out,
        &mut sink,
    );
    assert_eq!(sink.0, 3);
}

/// No compressor makes it, but others take it: a compressed message in which nothing has come.
#[test]
fn no_bytes_at_all_are_an_empty_message() {
    for (role, mask) in [
        (Role::Client, None),
        (Role::Server, Some([0x37, 0xfa, 0x21, 0x3d])),
    ] {
        let frame = |first: u8, payload: &[u8]| {
            let mut wire = Vec::new();
            frame::write(&mut wire, Opcode::Binary, payload, mask);
            wire[0] = first;
            wire
        };
        for (kind, wire) in [
            (Kind::Text, frame(0xc1, b"")),
            (Kind::Binary, frame(0xc2, b"")),
            (Kind::Text, [frame(0x41, b""), frame(0x80, b"")].concat()),
            (
                Kind::Binary,
                [frame(0x42, b""), frame(0x00, b""), frame(0x80, b"")].concat(),
            ),
        ] {
            for takeover in [false, true] {
                for cut in [1, 3, 100] {
                    let policy = policy(takeover, takeover, (15, 15));
                    let mut end = End::new(role, policy);
                    let other = match role {
                        Role::Client => Role::Server,
                        Role::Server => Role::Client,
                    };
                    // What comes before and after refers to each other, not to what is between.
                    let mut other = End::new(other, policy);
                    let (before, _) = other.send(Kind::Binary, &prose(300));
                    let (after, _) = other.send(Kind::Binary, &prose(300));
                    for piece in [before, wire.clone(), after].concat().chunks(cut) {
                        assert_eq!(code(end.receive(piece)), None);
                    }
                    let prose = (Kind::Binary, prose(300));
                    let want = [prose.clone(), (kind, Vec::new()), prose];
                    assert_eq!(end.seen.0, want);
                    assert!(end.out.is_empty());
                }
            }
        }
    }
}

#[test]
fn invalid_deflate_data_is_1007() {
    let truncated = b"\xf2\x48\xcd\xc9";
    for (payload, fresh, kept) in [
        (&b"\xff\xff\xff\xff"[..], Some(1007), Some(1007)),
        // A block type that does not exist.
        (b"\x07", Some(1007), Some(1007)),
        // A stored block whose lengths do not agree.
        (b"\x00\x05\x00\x05\x00Hello\x00", Some(1007), Some(1007)),
        // A reference to what was never sent.
        (b"\xf2\x00\x11\x00\x00", Some(1007), Some(1007)),
        // Cut off within a block: with a window of its own that may show only later.
        (truncated, Some(1007), None),
    ] {
        for (takeover, want) in [(false, fresh), (true, kept)] {
            let mut end = client(takeover);
            let got = code(end.receive(&raw(0xc2, payload)));
            if want.is_some() {
                assert_eq!(got, want, "{payload:x?}");
                assert!(end.seen.0.is_empty());
            }
        }
    }
}

#[test]
fn text_is_checked_as_it_comes_out() {
    for (payload, want) in [
        ("\u{fc}".repeat(100).into_bytes(), None),
        (vec![0xfc; 200], Some(1007)),
    ] {
        let mut server = End::new(Role::Server, policy(false, false, (15, 15)));
        let (mut wire, compressed) = server.send(Kind::Binary, &payload);
        assert!(compressed);
        wire[0] = 0xc1;
        let mut end = client(false);
        assert_eq!(code(end.receive(&wire)), want);
    }
}

#[test]
fn the_bit_belongs_to_the_first_frame_of_a_message() {
    for wire in [
        raw(0xc0, b"\0"),
        raw(0xc8, b""),
        raw(0xc9, b""),
        raw(0xca, b""),
        raw(0xa1, b""),
        raw(0x91, b""),
        [raw(0x41, b"\xf2\x48\xcd"), raw(0xc0, b"\xc9\xc9\x07\x00")].concat(),
        [raw(0x01, b"Hel"), raw(0xc0, b"lo")].concat(),
    ] {
        let mut end = client(false);
        assert_eq!(code(end.receive(&wire)), Some(1002), "{wire:x?}");
    }
    // Plain messages are still allowed, and may be fragmented.
    let mut end = client(true);
    end.receive(&[raw(0x81, b"Hello"), raw(0x01, b"Hel"), raw(0x80, b"lo")].concat());
    assert_eq!(end.seen.0, [hello(), hello()]);
}

#[test]
fn a_control_frame_between_compressed_fragments() {
    let mut end = client(false);
    end.receive(b"\x41\x03\xf2\x48\xcd");
    end.receive(&raw(0x89, b"ping"));
    end.receive(b"\x80\x04\xc9\xc9\x07\x00");
    assert_eq!(end.seen.0, [hello()]);
    let mut pongs = Vec::new();
    frame::write(&mut pongs, Opcode::Pong, b"ping", None);
    assert_eq!(end.out.len(), pongs.len() + 4, "masked");
}

#[test]
fn nothing_stays_with_a_session_that_keeps_no_window() {
    let mut server = End::new(Role::Server, Policy::default());
    let mut client = End::new(Role::Client, Policy::default());
    assert!(!server.session.keeps_window());
    let keeping = End::new(Role::Server, policy(true, false, (15, 15)));
    assert!(keeping.session.keeps_window());
    let (wire, _) = server.send(Kind::Text, &prose(5000));
    for piece in wire.chunks(11) {
        client.receive(piece);
    }
    assert_eq!(client.seen.0.len(), 1);
    assert_eq!(server.session.buffered(), 0);
    assert_eq!(client.session.buffered(), 0);
}

/// The length of such a frame takes more than 16 bits, but for Miri.
const LONG: usize = if cfg!(miri) { 3_000 } else { 70_000 };

#[test]
fn frames_of_others_are_compressed_where_they_lie() {
    let tuning = Policy::default().tuning;
    let (mut codecs, mut wire) = (Codecs::default(), b"before".to_vec());
    frame::write(&mut wire, Opcode::Text, &prose(LONG), None);
    let plain = wire.clone();
    assert!(codecs.compress_frame(&mut wire, 6, &tuning, 15));
    assert!(wire.len() < 2000 && wire.starts_with(b"before\xc1"));
    let mut end = client(false);
    end.receive(&wire[6..]);
    assert_eq!(end.seen.0, [(Kind::Text, prose(LONG))]);
    // Once is enough; and not what is too small, noise, a control frame or a fragment.
    let mut again = wire.clone();
    assert!(!codecs.compress_frame(&mut again, 6, &tuning, 15));
    assert_eq!(again, wire);
    for (op, fin, payload) in [
        (Opcode::Text, true, prose(63)),
        (Opcode::Text, true, Vec::new()),
        (Opcode::Binary, true, noise(1000)),
        (Opcode::Ping, true, vec![0; 100]),
        (Opcode::Text, false, prose(1000)),
        (Opcode::Continuation, true, prose(1000)),
    ] {
        let mut wire = Vec::new();
        frame::write_fragment(&mut wire, op, fin, &payload, None);
        let before = wire.clone();
        assert!(!codecs.compress_frame(&mut wire, 0, &tuning, 15));
        assert_eq!(wire, before);
    }
    // As small as may be.
    let mut smallest = Vec::new();
    frame::write(&mut smallest, Opcode::Text, &prose(64), None);
    frame::write(&mut smallest, Opcode::Text, &[b'a'; 64], None);
    let start = smallest.len() / 2;
    assert!(codecs.compress_frame(&mut smallest, start, &tuning, 15));
    // Many frames, for a connection that keeps its window.
    let mut frames = plain[6..].to_vec();
    frame::write(&mut frames, Opcode::Ping, b"between", None);
    frame::write_fragment(&mut frames, Opcode::Text, false, &prose(100), None);
    frame::write_fragment(&mut frames, Opcode::Continuation, true, b"end", None);
    frame::write(&mut frames, Opcode::Binary, &prose(300), None);
    let mut server = End::new(Role::Server, policy(true, false, (15, 15)));
    let mut out = Vec::new();
    server
        .session
        .encode_frames(&frames, &tuning, &mut codecs, &mut out);
    assert!(out.len() < 2000);
    let mut end = client(true);
    end.receive(&out);
    let fragments = (Kind::Text, [prose(100), b"end".to_vec()].concat());
    assert_eq!(
        end.seen.0,
        [
            (Kind::Text, prose(LONG)),
            fragments,
            (Kind::Binary, prose(300))
        ]
    );
}

/// What is cut off the end of a message would make a whole last block of these.
#[test]
fn the_end_that_does_not_travel_ends_no_block_that_did() {
    for takeover in [false, true] {
        for payload in [&b"\x01"[..], b"\x00\x05\x00\xfa\xffHello\x01"] {
            let mut end = client(takeover);
            let progress = end.receive(&raw(0xc2, payload));
            assert_eq!(code(progress), Some(1007), "{payload:x?}");
            assert!(end.seen.0.is_empty());
        }
    }
}

/// Each costs a window to set up, for two bytes.
#[test]
fn streams_within_a_message_are_bounded() {
    for takeover in [false, true] {
        for (streams, closed) in [(1023, None), (1024, None), (1025, Some(1007))] {
            let mut end = client(takeover);
            let empty_last_blocks = b"\x03\0".repeat(streams);
            let progress = end.receive(&raw(0xc2, &empty_last_blocks));
            assert_eq!(code(progress), closed, "{streams}");
            assert_eq!(end.seen.0.len(), usize::from(closed.is_none()));
        }
    }
}

/// Each stream begins with nothing before it for a library; for a sender the window goes on.
#[test]
fn data_behind_a_last_block_may_reference_earlier_data() {
    // Stored "abc" as a last block, then three bytes from three back, also as a last block.
    let twice = b"\x01\x03\x00\xfc\xffabc\x03\x22\x00";
    for takeover in [false, true] {
        let mut end = client(takeover);
        assert_eq!(code(end.receive(&raw(0xc2, twice))), None);
        assert_eq!(end.seen.0, [(Kind::Binary, b"abcabc".to_vec())]);
    }
    // The same over two messages.
    let mut end = client(true);
    end.receive(b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00");
    end.receive(b"\xc1\x05\xf2\x00\x11\x00\x00");
    assert_eq!(end.seen.0, [hello(), hello()]);
}
