//! Every breach has its close code, whole or cut anywhere.

use sockeye_protocol::frame::Opcode;
use sockeye_protocol::{ClosedBy, Progress, Role};

use crate::support::*;

/// Bytes for a server that end in a breach, and the code that it is answered with.
fn breaches() -> Vec<(&'static str, u16, Vec<u8>)> {
    let frame = |op, fin, payload: &[u8]| fragment(Role::Server, op, fin, payload);
    let masked = |head: &[u8]| [head, &[1, 2, 3, 4]].concat();
    let with_first = |first: u8| {
        let mut bytes = frame(Opcode::Text, true, b"x");
        bytes[0] = first;
        bytes
    };
    let mut all = vec![
        ("unmasked", 1002, b"\x81\x01x".to_vec()),
        ("unmasked ping", 1002, b"\x89\x00".to_vec()),
        ("fragmented ping", 1002, frame(Opcode::Ping, false, b"")),
        ("fragmented pong", 1002, frame(Opcode::Pong, false, b"")),
        ("fragmented close", 1002, frame(Opcode::Close, false, b"")),
        ("ping of 126", 1002, frame(Opcode::Ping, true, &[0; 126])),
        (
            "close of 126",
            1002,
            frame(Opcode::Close, true, &close_body(1000, &[b'x'; 124])),
        ),
        (
            "pong of 65536",
            1002,
            frame(Opcode::Pong, true, &[0; 65_536]),
        ),
        ("125 in 16 bits", 1002, masked(b"\x82\xfe\x00\x7d")),
        ("0 in 16 bits", 1002, masked(b"\x82\xfe\x00\x00")),
        (
            "65535 in 64 bits",
            1002,
            masked(b"\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff"),
        ),
        (
            "0 in 64 bits",
            1002,
            masked(b"\x82\xff\x00\x00\x00\x00\x00\x00\x00\x00"),
        ),
        (
            "length of 2^63",
            1002,
            masked(b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00"),
        ),
        (
            "length of 2^64-1",
            1002,
            masked(b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        ),
        (
            "length of 2^63-1",
            1009,
            masked(b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff"),
        ),
        (
            "continuation first",
            1002,
            frame(Opcode::Continuation, true, b"x"),
        ),
        (
            "continuation first, more to come",
            1002,
            frame(Opcode::Continuation, false, b""),
        ),
        (
            "text within text",
            1002,
            [
                frame(Opcode::Text, false, b"a"),
                frame(Opcode::Text, true, b"b"),
            ]
            .concat(),
        ),
        (
            "binary within text",
            1002,
            [
                frame(Opcode::Text, false, b""),
                frame(Opcode::Binary, false, b""),
            ]
            .concat(),
        ),
        (
            "close of one byte",
            1002,
            frame(Opcode::Close, true, b"\x03"),
        ),
        (
            "close with bad text",
            1007,
            frame(Opcode::Close, true, &close_body(1000, b"\xff")),
        ),
        (
            "close with cut text",
            1007,
            frame(Opcode::Close, true, &close_body(1000, b"\xe4\xb8")),
        ),
        ("bad text", 1007, frame(Opcode::Text, true, b"ab\xffcd")),
        (
            "surrogate",
            1007,
            frame(Opcode::Text, true, b"\xed\xa0\x80"),
        ),
        ("cut text", 1007, frame(Opcode::Text, true, b"ok\xe4\xb8")),
        (
            "cut text at the end of fragments",
            1007,
            [
                frame(Opcode::Text, false, b"\xe4"),
                frame(Opcode::Continuation, true, b"\xb8"),
            ]
            .concat(),
        ),
        (
            "bad text over fragments",
            1007,
            [
                frame(Opcode::Text, false, b"\xe4"),
                frame(Opcode::Continuation, true, b"x"),
            ]
            .concat(),
        ),
    ];
    for first in [0x83, 0x84, 0x85, 0x86, 0x87, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f] {
        all.push(("reserved opcode", 1002, with_first(first)));
    }
    for first in [0xc1, 0xa1, 0x91, 0xf1, 0xc9, 0xc8, 0xc2, 0xd0] {
        all.push(("reserved bit", 1002, with_first(first)));
    }
    for code in [
        0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
    ] {
        all.push((
            "close code",
            1002,
            frame(Opcode::Close, true, &close_body(code, b"")),
        ));
    }
    all
}

#[test]
fn each_breach_is_answered_and_ends_the_session() {
    let good = to_server(Opcode::Text, b"good");
    let cuts = [&[2, 3][..], &[usize::MAX], &[1], &[good.len() + 1, 7]];
    let cuts = if cfg!(miri) { &cuts[..1] } else { &cuts };
    for (name, code, breach) in breaches() {
        let wire = [&good[..], &breach, &good].concat();
        for &sizes in cuts {
            let mut server = End::new(Role::Server);
            let end = finished(server.receive_cut(&wire, sizes));
            assert_eq!(
                (end.code, end.by),
                (code, ClosedBy::Violation),
                "{name}, cut {sizes:?}"
            );
            assert_eq!(server.seen.events, [text("good")], "{name}, cut {sizes:?}");
            assert!(!server.session.is_open());
            // The answer is one Close frame with that code, which a client understands.
            assert_eq!(server.out[0], 0x88, "{name}");
            let mut client = End::new(Role::Client);
            let told = finished(client.receive(&server.out));
            assert_eq!((told.code, told.by), (code, ClosedBy::Peer), "{name}");
            assert_eq!(told.reason, end.reason);
            // It stays over.
            let sent = server.out.len();
            assert_eq!(finished(server.receive(&good)), end);
            assert_eq!(server.out.len(), sent, "{name}");
            assert_eq!(server.session.eof(), end);
        }
    }
}

#[test]
fn a_client_refuses_masked_frames() {
    let mut client = End::new(Role::Client);
    let end = finished(client.receive(&to_server(Opcode::Text, b"x")));
    assert_eq!((end.code, end.by), (1002, ClosedBy::Violation));
    // Its own Close is masked.
    assert_eq!(client.out[1] & 0x80, 0x80);
    let mut server = End::new(Role::Server);
    assert_eq!(finished(server.receive(&client.out)).code, 1002);
}

#[test]
fn bad_text_fails_before_its_frame_is_complete() {
    let wire = to_server(Opcode::Text, b"hello \xf8 and a long tail");
    let mut server = End::new(Role::Server);
    assert_eq!(server.receive(&wire[..12]), Progress::Open);
    assert_eq!(finished(server.receive(&wire[12..13])).code, 1007);

    let first = fragment(Role::Server, Opcode::Text, false, b"\xf4");
    let second = fragment(Role::Server, Opcode::Continuation, false, b"\x90");
    let mut server = End::new(Role::Server);
    assert_eq!(server.receive(&first), Progress::Open);
    assert_eq!(finished(server.receive(&second)).code, 1007);
}

#[test]
fn codes_that_may_travel_are_no_breach() {
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999,
    ] {
        let mut server = End::new(Role::Server);
        let wire = to_server(Opcode::Close, &close_body(code, b"why"));
        let end = finished(server.receive(&wire));
        assert_eq!(
            (end.code, &*end.reason, end.by),
            (code, "why", ClosedBy::Peer)
        );
        assert_eq!(server.out, [&b"\x88\x02"[..], &code.to_be_bytes()].concat());
    }
}
