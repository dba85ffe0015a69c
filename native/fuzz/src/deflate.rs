//! Compression: what is agreed on, what any bytes inflate to, and messages there and back. miniz_oxide is the second opinion.

use sockeye_protocol::deflate::{Codecs, Params, Policy, accept, offer, verify};
use sockeye_protocol::frame::{self, Opcode};
use sockeye_protocol::{ClosedBy, Kind, Limits, Payload, Progress, Role, Session, Sink};

use crate::Choices;

/// The bound on messages, so that bombs are within reach of a short input.
const LIMIT: usize = 20_000;

/// Bytes 0 to 3 choose what each side wants, byte 4 what is done with the rest: it is inflated, sent, or a header; behind a NUL
/// a message with which whoever agrees to the header is met.
pub fn check(data: &[u8]) {
    let mut choices = Choices(data);
    let (server, client) = (policy(&mut choices), policy(&mut choices));
    let offered = offer(&client);
    let Some((agreed, answer)) = accept([offered.as_bytes()], &server) else {
        panic!("our own offer is not taken: {offered}");
    };
    // The server may keep its window smaller than it was asked to, but not the client's larger.
    assert_eq!(
        verify([answer.as_bytes()], &client),
        Ok(Some(agreed)),
        "{offered} {answer}"
    );
    let choice = choices.byte();
    match choice % 3 {
        0 => inflate(choices.0, agreed, Role::Server, usize::from(choice / 3) + 1),
        1 => there_and_back(
            choices.0,
            agreed,
            &server,
            &client,
            usize::from(choice / 3) + 1,
        ),
        _ => headers(choices.0, &server, &client),
    }
}

fn policy(choices: &mut Choices<'_>) -> Policy {
    let (bits, tuning) = (choices.byte(), choices.byte());
    let mut policy = Policy::default();
    policy.server_takeover = bits & 1 != 0;
    policy.client_takeover = bits & 2 != 0;
    policy.server_max_window_bits = 9 + (bits >> 2) % 7;
    policy.client_max_window_bits = 9 + (bits >> 5) % 7;
    policy.tuning.level = 1 + tuning % 9;
    policy.tuning.mem_level = 1 + (tuning >> 4) % 9;
    policy.tuning.threshold = usize::from(tuning & 1) * 64;
    policy
}

#[derive(Default)]
struct Seen(Vec<(Kind, Vec<u8>)>);

impl Sink for Seen {
    fn message(&mut self, kind: Kind, payload: Payload<'_>) {
        assert!(payload.len() <= LIMIT, "beyond the limit");
        if kind == Kind::Text {
            assert!(str::from_utf8(&payload).is_ok(), "text that is not UTF-8");
        }
        self.0.push((kind, payload.into_vec()));
    }
}

fn limits() -> Limits {
    Limits::default().max_message_size(LIMIT)
}

/// A compressed message to this end, `cut` into frames: the same as in one.
fn inflate(payload: &[u8], agreed: Params, role: Role, cut: usize) {
    let (whole, end) = received(payload, agreed, role, payload.len());
    let (parts, parts_end) = received(payload, agreed, role, cut.max(payload.len() / 1000 + 1));
    assert_eq!((&whole, &end), (&parts, &parts_end), "fragments change it");
    match &end {
        Progress::Finished(reason) => {
            assert_eq!(reason.by, ClosedBy::Violation);
            assert!([1007, 1009].contains(&reason.code), "{reason:?}");
        }
        _ => assert_eq!(whole.len(), 1),
    }
    // The end that the sender has cut off, and an empty last block.
    let mut stream = payload.to_vec();
    stream.extend_from_slice(&[0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff]);
    let theirs = miniz_oxide::inflate::decompress_to_vec_with_limit(&stream, LIMIT);
    if let (Some((_, ours)), Ok(theirs)) = (whole.first(), theirs) {
        // It stops at the first last block; a message may go on behind that. And where the sender keeps its window, a
        // message that ends within a block shows with the next one only: ours ends there, theirs reads the end as data.
        let takeover = match role {
            Role::Server => agreed.client_takeover,
            Role::Client => agreed.server_takeover,
        };
        let cut = takeover && theirs.starts_with(ours);
        assert!(
            cut || ours.starts_with(&theirs),
            "miniz_oxide reads something else"
        );
    }
}

fn received(
    payload: &[u8],
    agreed: Params,
    role: Role,
    cut: usize,
) -> (Vec<(Kind, Vec<u8>)>, Progress) {
    let mut session = Session::with_deflate(role, Some(agreed));
    let mask = (role == Role::Server).then_some([7, 0, 99, 255]);
    let (mut wire, mut out) = (Vec::new(), Vec::new());
    let (mut codecs, mut seen) = (Codecs::default(), Seen::default());
    let mut pieces = payload.chunks(cut.max(1)).peekable();
    let mut op = Opcode::Binary;
    while let Some(piece) = pieces.next() {
        let start = wire.len();
        frame::write_fragment(&mut wire, op, pieces.peek().is_none(), piece, mask);
        wire[start] |= if op == Opcode::Binary { 0x40 } else { 0 };
        op = Opcode::Continuation;
    }
    if payload.is_empty() {
        frame::write(&mut wire, Opcode::Binary, b"", mask);
        wire[0] |= 0x40;
    }
    let end = session.receive_with(&mut wire, &limits(), &mut codecs, &mut out, &mut seen);
    (seen.0, end)
}

/// Messages of some lengths, from both ends, with what one end compresses shared with nothing.
fn there_and_back(bytes: &[u8], agreed: Params, server: &Policy, client: &Policy, size: usize) {
    let (mut theirs, mut ours) = (
        Session::with_deflate(Role::Client, Some(agreed)),
        Session::with_deflate(Role::Server, Some(agreed)),
    );
    // The two share a thread, as a server's connections do.
    let mut codecs = Codecs::default();
    for piece in bytes.chunks(size * 97) {
        let mut sent = piece.repeat(1 + usize::from(piece[0]) % 9);
        sent.truncate(LIMIT);
        let kind = match str::from_utf8(&sent) {
            Ok(_) => Kind::Text,
            Err(_) => Kind::Binary,
        };
        passes(&mut theirs, &mut ours, kind, &sent, client, &mut codecs);
        passes(&mut ours, &mut theirs, kind, &sent, server, &mut codecs);
    }
}

fn passes(
    from: &mut Session,
    to: &mut Session,
    kind: Kind,
    sent: &[u8],
    policy: &Policy,
    codecs: &mut Codecs,
) {
    let (mut wire, mut out, mut seen) = (Vec::new(), Vec::new(), Seen::default());
    let compressed = from.encode(kind, sent, &policy.tuning, codecs, &mut wire);
    assert!(
        !compressed || wire.len() < sent.len() + 14,
        "larger than before"
    );
    let progress = to.receive_with(&mut wire, &limits(), codecs, &mut out, &mut seen);
    assert_eq!(progress, Progress::Open);
    assert!(out.is_empty());
    assert_eq!(seen.0, [(kind, sent.to_vec())]);
}

/// Whatever an extension header says, what the server answers is well-formed and no more than was offered, and what the client
/// takes is within what it has offered.
fn headers(bytes: &[u8], server: &Policy, client: &Policy) {
    let mut parts = bytes.splitn(2, |b| *b == 0);
    let bytes = parts.next().unwrap_or_default();
    let message = parts.next();
    let offered = |name: &str| {
        String::from_utf8_lossy(bytes)
            .to_ascii_lowercase()
            .contains(name)
    };
    if let Ok(Some(params)) = verify([bytes], client) {
        assert!(offered("permessage-deflate"));
        assert!(!params.server_takeover || client.server_takeover);
        assert!(!params.client_takeover || client.client_takeover);
        assert!(!params.server_takeover || !offered("server_no_context_takeover"));
        assert!(!params.client_takeover || !offered("client_no_context_takeover"));
        assert!((8..=client.server_max_window_bits).contains(&params.server_max_window_bits));
        assert!((8..=client.client_max_window_bits).contains(&params.client_max_window_bits));
        if let Some(message) = message {
            inflate(message, params, Role::Client, 7);
            sends(message, params, Role::Client, client);
        }
    }
    let lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
    let Some((params, answer)) = accept(lines.iter().copied(), server) else {
        return;
    };
    assert!(answer.starts_with("permessage-deflate") && answer.is_ascii());
    assert!(offered("permessage-deflate"));
    assert!(!params.server_takeover || server.server_takeover);
    assert!(!params.client_takeover || server.client_takeover);
    assert!((9..=server.server_max_window_bits).contains(&params.server_max_window_bits));
    assert!((8..=15).contains(&params.client_max_window_bits));
    assert!(!answer.contains("client_max_window_bits") || offered("client_max_window_bits"));
    if let Some(message) = message {
        inflate(message, params, Role::Server, 7);
        sends(message, params, Role::Server, server);
    }
}

/// What an end sends after it has agreed to this, the other one reads.
fn sends(message: &[u8], params: Params, role: Role, policy: &Policy) {
    let (mut from, mut to) = (
        Session::with_deflate(role, Some(params)),
        Session::with_deflate(role.other(), Some(params)),
    );
    let mut codecs = Codecs::default();
    let message = message.get(..LIMIT).unwrap_or(message);
    for _ in 0..2 {
        passes(
            &mut from,
            &mut to,
            Kind::Binary,
            message,
            policy,
            &mut codecs,
        );
    }
}
