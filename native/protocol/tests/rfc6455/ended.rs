//! The peer says no more, and what it said is answered before the last word.

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

/// A server that has received a message and then this, in one read.
fn after(bytes: &[u8]) -> (End, CloseReason) {
    let mut server = End::new(Role::Server);
    let wire = [&to_server(Opcode::Text, b"first")[..], bytes].concat();
    let progress = server.receive_some(&wire);
    assert_eq!(server.seen.events, [text("first")]);
    assert_eq!(progress, server.session.progress());
    match progress {
        Progress::Ended(reason) => (server, reason),
        other => panic!("{other:?}"),
    }
}

fn close() -> Vec<u8> {
    to_server(Opcode::Close, &close_body(4000, b"bye"))
}

#[test]
fn a_close_is_answered_when_asked_for() {
    let (mut server, end) = after(&close());
    assert_eq!(end, reason(4000, "bye", ClosedBy::Peer));
    assert!(server.session.is_open() && server.out.is_empty());
    server.session.answer(&mut server.out);
    assert_eq!(server.out, b"\x88\x02\x0f\xa0");
    assert!(!server.session.is_open());
    assert_eq!(finished(server.session.progress()), end);
    // Once.
    server.session.answer(&mut server.out);
    server.session.fail(1011, "", &mut server.out);
    assert!(!server.session.close(1000, "", &mut server.out));
    assert_eq!(server.out.len(), 4);
    assert_eq!(server.session.eof(), end);
}

#[test]
fn a_violation_too() {
    for (bytes, code) in [
        (b"\x81\x00".to_vec(), 1002),
        (to_server(Opcode::Text, b"\xff"), 1007),
        (to_server(Opcode::Close, b"\x03"), 1002),
    ] {
        let (mut server, end) = after(&bytes);
        assert_eq!((end.code, end.by), (code, ClosedBy::Violation));
        assert!(server.session.is_open() && server.out.is_empty());
        server.session.answer(&mut server.out);
        let (first, body) = server.out.split_at(4);
        assert_eq!(first[2..], code.to_be_bytes());
        assert_eq!(body, end.reason.as_bytes());
        assert_eq!(finished(server.session.progress()), end);
    }
}

#[test]
fn errors_outside_of_frames() {
    let mut server = End::new(Role::Server);
    server.session.end(1008, "too fast");
    let end = reason(1008, "too fast", ClosedBy::Violation);
    assert_eq!(server.session.progress(), Progress::Ended(end.clone()));
    // Only the first counts.
    server.session.end(1002, "");
    server.session.answer(&mut server.out);
    assert_eq!(server.out, b"\x88\x0a\x03\xf0too fast");
    assert_eq!(finished(server.session.progress()), end);
}

#[test]
fn errors_before_a_close_go_before_it() {
    let (mut server, _) = after(&close());
    server.session.end(1007, "not JSON");
    server.session.answer(&mut server.out);
    assert_eq!(server.out, b"\x88\x0a\x03\xefnot JSON");
    let end = reason(1007, "not JSON", ClosedBy::Violation);
    assert_eq!(finished(server.session.progress()), end);
}

#[test]
fn a_transport_that_ends_is_owed_nothing() {
    let mut server = End::new(Role::Server);
    let end = reason(1006, "", ClosedBy::Transport);
    assert_eq!(server.session.end_of_input(), Progress::Ended(end.clone()));
    assert!(server.session.is_open());
    let mut failed = End::new(Role::Server);
    failed.session.end_of_input();
    failed.session.fail(1011, "no more", &mut failed.out);
    server.session.answer(&mut server.out);
    assert!(server.out.is_empty() && failed.out.is_empty());
    assert_eq!(finished(server.session.progress()), end);
    assert_eq!(finished(failed.session.progress()), end);
}

#[test]
fn nothing_more_is_taken() {
    let (mut server, end) = after(&[close(), to_server(Opcode::Ping, b"late")].concat());
    let late = [
        to_server(Opcode::Text, b"late"),
        to_server(Opcode::Ping, b"late"),
    ]
    .concat();
    assert_eq!(server.receive_some(&late), Progress::Ended(end.clone()));
    assert_eq!(server.session.end_of_input(), Progress::Ended(end.clone()));
    assert_eq!(server.seen.events.len(), 1);
    assert!(server.out.is_empty());
    assert_eq!(server.session.eof(), end);
    server.session.answer(&mut server.out);
    assert!(server.out.is_empty());
}

#[test]
fn our_side_may_say_the_last_word() {
    let (mut server, end) = after(&close());
    assert!(server.session.close(4001, "mine", &mut server.out));
    assert_eq!(server.out, b"\x88\x06\x0f\xa1mine");
    assert_eq!(finished(server.session.progress()), end);

    let (mut server, end) = after(&close());
    server.session.fail(1011, "dead", &mut server.out);
    assert_eq!(server.out, b"\x88\x06\x03\xf3dead");
    assert_eq!(finished(server.session.progress()), end);
}

#[test]
fn behind_our_close_it_is_over_at_once() {
    let mut server = End::new(Role::Server);
    server.session.close(4001, "", &mut server.out);
    let sent = server.out.len();
    let end = finished(server.receive_some(&close()));
    assert_eq!(end, reason(4000, "bye", ClosedBy::Local));

    let mut server = End::new(Role::Server);
    server.session.close(4001, "", &mut server.out);
    let end = finished(server.session.end_of_input());
    assert_eq!((end.code, server.out.len()), (1006, sent));
}
