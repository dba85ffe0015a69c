//! Limits just below, at and just above, and what is held in memory meanwhile.

use sockeye_protocol::frame::Opcode;
use sockeye_protocol::{ClosedBy, Limits, Progress, Role};

use crate::support::*;

const N: usize = if cfg!(miri) { 300 } else { 1000 };

fn verdict(limits: Limits, wire: &[u8], sizes: &[usize]) -> Option<u16> {
    let mut server = End::with_limits(Role::Server, limits);
    match server.receive_cut(wire, sizes) {
        Progress::Open => {
            assert_eq!(server.seen.events.len(), 1);
            assert_eq!(server.session.buffered(), 0);
            None
        }
        other => {
            let end = finished(other);
            assert_eq!(end.by, ClosedBy::Violation);
            assert!(server.seen.events.is_empty());
            Some(end.code)
        }
    }
}

#[test]
fn message_size_in_one_frame() {
    let limits = Limits::default().max_message_size(N);
    for (size, want) in [(N - 1, None), (N, None), (N + 1, Some(1009))] {
        for op in [Opcode::Text, Opcode::Binary] {
            let wire = to_server(op, &vec![b'x'; size]);
            for sizes in [&[usize::MAX][..], &[1], &[700]] {
                assert_eq!(
                    verdict(limits, &wire, sizes),
                    want,
                    "{size} {op:?} {sizes:?}"
                );
            }
        }
    }
}

#[test]
fn message_size_over_fragments() {
    let limits = Limits::default().max_message_size(N);
    for (size, want) in [(N - 1, None), (N, None), (N + 1, Some(1009))] {
        let payload = vec![b'x'; size];
        let wire = [
            fragment(Role::Server, Opcode::Text, false, &payload[..N / 3]),
            fragment(
                Role::Server,
                Opcode::Continuation,
                false,
                &payload[N / 3..N - 1],
            ),
            fragment(Role::Server, Opcode::Continuation, true, &payload[N - 1..]),
        ]
        .concat();
        for sizes in [&[usize::MAX][..], &[1], &[411]] {
            assert_eq!(verdict(limits, &wire, sizes), want, "{size} {sizes:?}");
        }
    }
}

#[test]
fn frame_size() {
    let limits = Limits::default().max_frame_size(N);
    for (size, want) in [(N - 1, None), (N, None), (N + 1, Some(1009))] {
        let whole = to_server(Opcode::Binary, &vec![7; size]);
        let parts = [
            fragment(Role::Server, Opcode::Binary, false, &[7; N]),
            fragment(Role::Server, Opcode::Continuation, true, &vec![7; size]),
        ]
        .concat();
        for sizes in [&[usize::MAX][..], &[1], &[999]] {
            assert_eq!(verdict(limits, &whole, sizes), want, "{size} {sizes:?}");
            assert_eq!(verdict(limits, &parts, sizes), want, "{size} {sizes:?}");
        }
    }
}

#[test]
fn number_of_fragments() {
    let limits = Limits::default().max_fragments(10);
    for (count, want) in [(1, None), (9, None), (10, None), (11, Some(1008))] {
        let wire: Vec<u8> = (0..count)
            .flat_map(|i| {
                let op = if i == 0 {
                    Opcode::Text
                } else {
                    Opcode::Continuation
                };
                let ping = to_server(Opcode::Ping, b"");
                let frame = fragment(Role::Server, op, i == count - 1, b"");
                if i == 0 {
                    frame
                } else {
                    [ping, frame].concat()
                }
            })
            .collect();
        for sizes in [&[usize::MAX][..], &[1], &[5]] {
            let mut server = End::with_limits(Role::Server, limits);
            let progress = server.receive_cut(&wire, sizes);
            let messages = server
                .seen
                .events
                .iter()
                .filter(|e| matches!(e, Event::Message(..)));
            match want {
                None => assert_eq!((messages.count(), progress), (1, Progress::Open)),
                Some(code) => assert_eq!((messages.count(), finished(progress).code), (0, code)),
            }
        }
    }
}

#[test]
fn too_big_is_known_from_the_header() {
    let limits = Limits::default().max_message_size(N);
    let wire = to_server(Opcode::Binary, &[0; N + 1]);
    let mut server = End::with_limits(Role::Server, limits);
    assert_eq!(server.receive(&wire[..7]), Progress::Open);
    assert_eq!(finished(server.receive(&wire[7..8])).code, 1009);
}

#[test]
fn a_claimed_length_is_not_allocated() {
    let limits = Limits::default().max_message_size(usize::MAX);
    let mut server = End::with_limits(Role::Server, limits);
    // A frame of 1 GiB, as its header says.
    server.receive(b"\x82\xff\x00\x00\x00\x00\x40\x00\x00\x00\x01\x02\x03\x04");
    assert!(server.session.buffered() < 1024);
    server.receive(&[0; 10]);
    assert!(server.session.buffered() < 8 * 1024);
    for _ in 0..16 {
        server.receive(&[0; 10_000]);
    }
    assert!(server.session.buffered() < 2 * 160_010 + 1024);
    assert_eq!(server.session.eof().code, 1006);
    assert!(server.session.buffered() < 1024);
}

#[test]
fn memory_stays_near_the_limit_and_goes_with_the_message() {
    let limits = Limits::default().max_message_size(N * 100);
    let wire = to_server(Opcode::Binary, &[9; N * 100]);
    let mut server = End::with_limits(Role::Server, limits);
    for piece in wire.chunks(777) {
        server.receive(piece);
        assert!(server.session.buffered() <= N * 100 + 512);
    }
    assert_eq!(server.seen.events.len(), 1);
    assert_eq!(server.session.buffered(), 0);
}

#[test]
fn a_control_frame_that_is_not_complete_is_counted() {
    let mut server = End::new(Role::Server);
    let ping = to_server(Opcode::Ping, &[1; 100]);
    server.receive(&ping[..1]);
    let head = server.session.buffered();
    server.receive(&ping[1..56]);
    let half = server.session.buffered();
    assert!(head > 0 && half >= head + 50, "{head} and {half}");
    server.receive(&ping[56..]);
    assert_eq!(server.session.buffered(), 0);
}

/// A vector that grows by each fragment is copied for each.
#[test]
fn a_message_in_many_fragments_is_not_copied_for_each() {
    const COUNT: usize = if cfg!(miri) { 500 } else { 10_000 };
    for whole in [true, false] {
        let limits = Limits::default()
            .max_message_size(COUNT)
            .max_fragments(u32::MAX);
        let mut server = End::with_limits(Role::Server, limits);
        let mut sizes = Vec::new();
        for n in 0..COUNT {
            let op = if n == 0 {
                Opcode::Binary
            } else {
                Opcode::Continuation
            };
            let fragment = fragment(Role::Server, op, n == COUNT - 1, &[7]);
            let cut = if whole { fragment.len() } else { 1 };
            for piece in fragment.chunks(cut) {
                server.receive(piece);
            }
            // What holds a message is not counted: it does not grow.
            sizes.push(server.session.buffered());
        }
        assert_eq!(server.seen.events.len(), 1);
        assert!(sizes.iter().all(|&size| size <= COUNT + 512));
        sizes.dedup();
        assert!(sizes.len() < 20, "{} sizes", sizes.len());
    }
}

#[test]
fn whole_frames_are_not_copied_and_leave_nothing_behind() {
    let wire: Vec<u8> = (0..50)
        .flat_map(|_| to_server(Opcode::Text, b"{\"type\":\"ping\"}"))
        .collect();
    let mut server = End::new(Role::Server);
    server.receive(&wire);
    assert_eq!((server.seen.events.len(), server.seen.borrowed), (50, 50));
    assert_eq!(server.session.buffered(), 0);
    assert!(size_of_val(&server.session) <= 16);
}

#[test]
fn a_cut_header_leaves_nothing_behind() {
    let wire = to_server(Opcode::Text, b"cut");
    for cut in 1..wire.len() {
        let mut server = End::new(Role::Server);
        server.receive(&wire[..cut]);
        assert!(server.session.buffered() > 0);
        server.receive(&wire[cut..]);
        assert_eq!(server.seen.events, [text("cut")]);
        assert_eq!(server.session.buffered(), 0, "cut at {cut}");
    }
}
