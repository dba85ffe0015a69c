//! The closing handshake.

use sockeye_protocol::frame::Opcode;
use sockeye_protocol::{CloseReason, ClosedBy, Progress, Role};

use crate::support::*;

fn reason(code: u16, reason: &str, by: ClosedBy) -> CloseReason {
    CloseReason {
        code,
        reason: reason.into(),
        by,
    }
}

#[test]
fn both_ends_agree_whoever_begins() {
    for (first, second) in [(Role::Server, Role::Client), (Role::Client, Role::Server)] {
        let (mut a, mut b) = (End::new(first), End::new(second));
        assert!(a.session.close(4000, "enough", &mut a.out));
        assert!(!a.session.is_open());
        assert_eq!(a.session.progress(), Progress::Closing);
        let to_b = std::mem::take(&mut a.out);
        assert_eq!(
            finished(b.receive(&to_b)),
            reason(4000, "enough", ClosedBy::Peer)
        );
        assert_eq!(
            finished(a.receive(&b.out)),
            reason(4000, "", ClosedBy::Local)
        );
        assert!(a.out.is_empty());
    }
}

#[test]
fn an_empty_close_is_echoed_empty() {
    let mut server = End::new(Role::Server);
    let end = finished(server.receive(&to_server(Opcode::Close, b"")));
    assert_eq!(end, reason(1005, "", ClosedBy::Peer));
    assert_eq!(server.out, b"\x88\x00");
}

#[test]
fn closes_that_cross_end_both_sides() {
    let (mut server, mut client) = (End::new(Role::Server), End::new(Role::Client));
    server.session.close(1001, "", &mut server.out);
    client.session.close(1000, "", &mut client.out);
    let (from_server, from_client) = (server.out.clone(), client.out.clone());
    assert_eq!(
        finished(server.receive(&from_client)),
        reason(1000, "", ClosedBy::Local)
    );
    assert_eq!(
        finished(client.receive(&from_server)),
        reason(1001, "", ClosedBy::Local)
    );
    assert_eq!((server.out, client.out), (from_server, from_client));
}

#[test]
fn close_works_once_and_nothing_follows_it() {
    let mut server = End::new(Role::Server);
    assert!(server.session.close(1000, "", &mut server.out));
    let sent = server.out.clone();
    assert!(!server.session.close(1000, "", &mut server.out));
    // Neither pings are answered nor data delivered, whole, cut or fragmented.
    let wire = [
        to_server(Opcode::Ping, b"there?"),
        to_server(Opcode::Text, b"late"),
        fragment(Role::Server, Opcode::Binary, false, &[1; 300]),
        to_server(Opcode::Ping, b""),
        fragment(Role::Server, Opcode::Continuation, true, &[1; 300]),
    ]
    .concat();
    for sizes in [&[usize::MAX][..], &[1], &[100]] {
        assert_eq!(server.receive_cut(&wire, sizes), Progress::Closing);
        assert_eq!(server.out, sent);
        assert!(server.seen.events.is_empty());
        assert_eq!(server.session.buffered(), 0);
    }
    let answer = to_server(Opcode::Close, &close_body(1000, b""));
    assert_eq!(
        finished(server.receive(&answer)),
        reason(1000, "", ClosedBy::Local)
    );
}

#[test]
fn a_message_in_flight_is_dropped_by_close() {
    let mut server = End::new(Role::Server);
    let wire = [
        fragment(Role::Server, Opcode::Text, false, &[b'x'; 5000]),
        fragment(Role::Server, Opcode::Continuation, true, &[b'x'; 5000]),
    ]
    .concat();
    server.receive(&wire[..7000]);
    assert!(server.session.buffered() > 5000);
    server.session.close(1000, "", &mut server.out);
    assert!(server.session.buffered() < 1024);
    assert_eq!(server.receive(&wire[7000..]), Progress::Closing);
    assert_eq!(server.session.buffered(), 0);
    assert!(server.seen.events.is_empty());
    let end = finished(server.receive(&to_server(Opcode::Close, &close_body(1000, b""))));
    assert_eq!(end.by, ClosedBy::Local);
}

#[test]
fn input_behind_a_close_is_ignored() {
    let wire = [
        to_server(Opcode::Text, b"last"),
        to_server(Opcode::Close, &close_body(1000, b"")),
        to_server(Opcode::Ping, b"x"),
        b"\xff\xff\xff".to_vec(),
    ]
    .concat();
    for sizes in [&[usize::MAX][..], &[1]] {
        let mut server = End::new(Role::Server);
        assert_eq!(
            finished(server.receive_cut(&wire, sizes)),
            reason(1000, "", ClosedBy::Peer)
        );
        assert_eq!(server.seen.events, [text("last")]);
        assert_eq!(server.out, b"\x88\x02\x03\xe8");
    }
}

#[test]
fn the_transport_may_end_at_any_time() {
    let mut server = End::new(Role::Server);
    assert_eq!(server.session.eof(), reason(1006, "", ClosedBy::Transport));
    assert_eq!(finished(server.session.progress()).code, 1006);

    let mut server = End::new(Role::Server);
    server.session.close(1000, "", &mut server.out);
    assert_eq!(server.session.eof(), reason(1006, "", ClosedBy::Transport));

    let mut server = End::new(Role::Server);
    server.receive(&to_server(Opcode::Close, &close_body(3001, b"bye")));
    assert_eq!(server.session.eof(), reason(3001, "bye", ClosedBy::Peer));
}

#[test]
fn fail_does_not_wait_and_sends_one_close_at_most() {
    let mut server = End::new(Role::Server);
    server.session.fail(1007, "not JSON", &mut server.out);
    assert_eq!(
        finished(server.session.progress()),
        reason(1007, "not JSON", ClosedBy::Violation)
    );
    assert_eq!(server.out, b"\x88\x0a\x03\xefnot JSON");
    server.session.fail(1008, "", &mut server.out);
    assert_eq!(server.session.eof().code, 1007);
    assert_eq!(server.out.len(), 12);

    let mut server = End::new(Role::Server);
    server.session.close(1000, "", &mut server.out);
    server.session.fail(1008, "too slow", &mut server.out);
    assert_eq!(server.out, b"\x88\x02\x03\xe8");
    assert_eq!(
        server.session.eof(),
        reason(1008, "too slow", ClosedBy::Violation)
    );
}

#[test]
fn codes_that_may_not_travel_do_not() {
    for code in [0, 1005, 1006, 1015, 2000, 5000] {
        let mut server = End::new(Role::Server);
        assert!(server.session.close(code, "ignored", &mut server.out));
        assert_eq!(server.out, b"\x88\x00");
    }
}

#[test]
fn a_violation_after_our_close_ends_it_silently() {
    let mut server = End::new(Role::Server);
    server.session.close(1000, "", &mut server.out);
    let sent = server.out.len();
    let end = finished(server.receive(b"\x81\x00"));
    assert_eq!(
        (end.code, end.by, server.out.len()),
        (1002, ClosedBy::Violation, sent)
    );
}

#[test]
fn every_ping_is_answered_in_order() {
    let wire = [
        to_server(Opcode::Ping, b"one"),
        fragment(Role::Server, Opcode::Text, false, b"He"),
        to_server(Opcode::Ping, b""),
        fragment(Role::Server, Opcode::Continuation, true, b"llo"),
        to_server(Opcode::Pong, b"unasked"),
        to_server(Opcode::Ping, &[7; 125]),
    ]
    .concat();
    let pongs = [&b"\x8a\x03one\x8a\x00\x8a\x7d"[..], &[7; 125]].concat();
    for sizes in [&[usize::MAX][..], &[1], &[4]] {
        let mut server = End::new(Role::Server);
        assert_eq!(server.receive_cut(&wire, sizes), Progress::Open);
        assert_eq!(server.out, pongs);
        let want = [
            Event::Ping(b"one".to_vec()),
            Event::Ping(Vec::new()),
            text("Hello"),
            Event::Pong(b"unasked".to_vec()),
            Event::Ping(vec![7; 125]),
        ];
        assert_eq!(server.seen.events, want);
    }
}

#[test]
fn a_client_masks_with_a_new_key_each_time() {
    let mut keys = std::collections::HashSet::new();
    for _ in 0..16 {
        let mut client = End::new(Role::Client);
        client.receive(&fragment(Role::Client, Opcode::Ping, true, b"ping"));
        assert_eq!(client.out[..2], [0x8a, 0x84]);
        keys.insert(client.out[2..6].to_vec());
        let mut server = End::new(Role::Server);
        server.receive(&client.out);
        assert_eq!(server.seen.events, [Event::Pong(b"ping".to_vec())]);
    }
    // Two equal keys among sixteen come once in forty million runs.
    assert_eq!(keys.len(), 16);
}
