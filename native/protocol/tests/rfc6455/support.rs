//! A sink that remembers, and frames as a peer would send them.

use sockeye_protocol::deflate::Codecs;
use sockeye_protocol::frame::{self, Opcode};
use sockeye_protocol::{CloseReason, Kind, Limits, Payload, Progress, Role, Session, Sink};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Message(Kind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

pub(crate) fn text(text: &str) -> Event {
    Event::Message(Kind::Text, text.as_bytes().to_vec())
}

#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) events: Vec<Event>,
    pub(crate) borrowed: usize,
}

impl Sink for Recorder {
    fn message(&mut self, kind: Kind, payload: Payload<'_>) {
        self.borrowed += usize::from(matches!(payload, Payload::Borrowed(_)));
        self.events.push(Event::Message(kind, payload.into_vec()));
    }

    fn ping(&mut self, payload: &[u8]) {
        self.events.push(Event::Ping(payload.to_vec()));
    }

    fn pong(&mut self, payload: &[u8]) {
        self.events.push(Event::Pong(payload.to_vec()));
    }
}

/// One end of a connection with all that came out of it.
pub(crate) struct End {
    pub(crate) session: Session,
    pub(crate) limits: Limits,
    pub(crate) out: Vec<u8>,
    pub(crate) seen: Recorder,
}

impl End {
    pub(crate) fn new(role: Role) -> End {
        End::with_limits(role, Limits::default())
    }

    pub(crate) fn with_limits(role: Role, limits: Limits) -> End {
        End {
            session: Session::new(role),
            limits,
            out: Vec::new(),
            seen: Recorder::default(),
        }
    }

    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Progress {
        let mut input = bytes.to_vec();
        self.session
            .receive(&mut input, &self.limits, &mut self.out, &mut self.seen)
    }

    /// The same, when its end is not answered yet.
    pub(crate) fn receive_some(&mut self, bytes: &[u8]) -> Progress {
        let mut input = bytes.to_vec();
        let (progress, _) = self.session.receive_some(
            &mut input,
            &self.limits,
            &mut Codecs::default(),
            &mut self.out,
            &mut self.seen,
        );
        progress
    }

    /// Feeds the bytes in pieces of the given sizes, over and over.
    pub(crate) fn receive_cut(&mut self, bytes: &[u8], sizes: &[usize]) -> Progress {
        let mut rest = bytes;
        let mut progress = self.session.progress();
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*size).clamp(1, rest.len()));
            rest = after;
            progress = self.receive(piece);
        }
        progress
    }
}

/// What the peer of `role` masks with.
pub(crate) fn mask_for(role: Role) -> Option<[u8; 4]> {
    match role {
        Role::Server => Some([0xa1, 0x07, 0x5c, 0xff]),
        Role::Client => None,
    }
}

/// A frame for a receiver of `role`.
pub(crate) fn fragment(role: Role, op: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    frame::write_fragment(&mut wire, op, fin, payload, mask_for(role));
    wire
}

/// A whole message or control frame for a server.
pub(crate) fn to_server(op: Opcode, payload: &[u8]) -> Vec<u8> {
    fragment(Role::Server, op, true, payload)
}

/// The payload of a Close frame.
pub(crate) fn close_body(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason].concat()
}

pub(crate) fn finished(progress: Progress) -> CloseReason {
    match progress {
        Progress::Finished(reason) => reason,
        other => panic!("not finished: {other:?}"),
    }
}
